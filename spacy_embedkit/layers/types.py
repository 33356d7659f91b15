"""From docs to their word types and back to tokens.

A type is a distinct row of token attributes. What an embedding layer computes
depends on nothing else, so it runs once a type, and each token takes a copy.
"""

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Sequence, Tuple, cast

import numpy
from spacy.attrs import ORTH
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d, Ints1d, Ints2d

from .. import ops


@dataclass
class Types:
    """The distinct words of a batch of docs.

    vocab: Vocabulary of the docs.
    columns: The A attribute IDs that tell types apart.
    keys: (T, A) uint64 on the CPU, values of these attributes.
    inverse: (N,) int32 on the device of the model, the type of each token.
    lengths: Number of tokens of each doc; they add up to N.
    """

    vocab: Vocab
    columns: List[int]
    keys: Ints2d
    inverse: Ints1d
    lengths: List[int]

    def __len__(self) -> int:
        return self.keys.shape[0]

    def column(self, attr: int) -> Ints1d:
        """Return the values of one attribute: (T,) uint64."""
        return self.keys[:, self.columns.index(attr)]

    def strings(self, attr: int) -> List[str]:
        """Return the texts behind a string attribute such as NORM, one a type."""
        return [self.vocab.strings[int(key)] for key in self.column(attr)]


def vectors_attr(vocab: Vocab) -> int:
    """Return the attribute ID that the vocab's vectors table is keyed by."""
    return getattr(vocab.vectors, "attr", ORTH)


def find_types(model: Model, docs: Sequence[Doc], columns: Sequence[int]) -> Types:
    """Collect the types of a batch that holds at least one token.

    columns: IDs of the attributes that tell types apart, without repeats.
    """
    # One column comes back as one dimension.
    shape = (-1, len(columns))
    rows = numpy.concatenate(
        [doc.to_array(list(columns)).reshape(shape) for doc in docs if len(doc)]
    )
    first, inverse = ops.unique_rows(cast(Ints2d, rows))
    return Types(
        vocab=docs[0].vocab,
        columns=list(columns),
        keys=cast(Ints2d, rows[first].astype("uint64", copy=False)),
        inverse=model.ops.asarray1i(inverse),
        lengths=[len(doc) for doc in docs],
    )


Embed = Callable[[Types], Tuple[Floats2d, Callable[[Floats2d], Any]]]


def run_per_type(
    model: Model,
    docs: Sequence[Doc],
    is_train: bool,
    *,
    columns: Sequence[int],
    embed: Embed,
    dropout: Optional[Model] = None,
) -> Tuple[List[Floats2d], Callable]:
    """Embed the types of the docs, then give every token its type's row.

    embed: Types to (Y, backprop) with Y (T, nO); called only if there are tokens.
    dropout: Applied to the tokens, not to the types: two tokens of one type get
        masks of their own, as they do in a layer that embeds each token.
    Returns one (len(doc), nO) array a doc, and the backprop, which sums the
        gradient by type.
    """
    lengths = [len(doc) for doc in docs]
    if not sum(lengths):
        nO = model.get_dim("nO")
        return [model.ops.alloc2f(0, nO) for _ in docs], lambda dYs: []
    types = find_types(model, docs, columns)
    Yt, backprop_types = embed(types)
    Y = ops.gather_rows(model.ops, Yt, types.inverse)
    backprop_dropout: Callable[[Floats2d], Floats2d] = _identity
    if dropout is not None:
        Y, backprop_dropout = dropout(Y, is_train)

    def backprop(dYs: List[Floats2d]) -> List[Doc]:
        dY = backprop_dropout(model.ops.flatten(dYs))
        backprop_types(ops.scatter_add_rows(model.ops, dY, types.inverse, len(types)))
        return []

    return _split(Y, lengths), backprop


def per_type(
    layer: Model[Types, Floats2d],
    columns: Sequence[int],
    *,
    include_static_vectors: bool,
    dropout: Optional[Model] = None,
) -> Model[List[Doc], List[Floats2d]]:
    """Make a layer over types into an embedding layer for docs.

    layer: Types to (T, nO).
    columns: IDs of the attributes that the layer reads.
    include_static_vectors: Whether it reads the attribute of the vectors table too.
    dropout: A layer for the tokens' rows, see run_per_type.
    """
    return Model(
        f"per_type({layer.name})",
        forward,
        init=init,
        layers=[layer] if dropout is None else [layer, dropout],
        dims={"nO": layer.maybe_get_dim("nO")},
        attrs={
            "columns": list(dict.fromkeys(columns)),
            "include_static_vectors": include_static_vectors,
        },
    )


def forward(
    model: Model[List[Doc], List[Floats2d]], docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Run the inner layer once a type."""
    layer, *rest = model.layers
    return run_per_type(
        model,
        docs,
        is_train,
        columns=_columns(model, docs),
        embed=lambda types: layer(types, is_train),
        dropout=rest[0] if rest else None,
    )


def init(
    model: Model[List[Doc], List[Floats2d]],
    X: Optional[List[Doc]] = None,
    Y: Optional[List[Floats2d]] = None,
) -> None:
    """Initialize the inner layer on the types of the sample."""
    has_tokens = X is not None and any(len(doc) for doc in X)
    types = find_types(model, X, _columns(model, X)) if X and has_tokens else None
    model.layers[0].initialize(X=types)
    model.set_dim("nO", model.layers[0].get_dim("nO"))


def _columns(model: Model, docs: Sequence[Doc]) -> List[int]:
    columns = list(model.attrs["columns"])
    if docs and model.attrs["include_static_vectors"]:
        columns.append(vectors_attr(docs[0].vocab))
    return list(dict.fromkeys(columns))


def _identity(dY: Floats2d) -> Floats2d:
    return dY


def _split(Y: Floats2d, lengths: List[int]) -> List[Floats2d]:
    ends = numpy.cumsum(lengths)
    return [Y[end - n : end] for end, n in zip(ends, lengths, strict=True)]
