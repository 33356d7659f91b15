"""From docs to their word types and back to tokens.

A type is a distinct row of token attributes. What an embedding layer computes
depends on nothing else, so it runs once a type, and each token takes a copy.
"""

from dataclasses import dataclass, replace
from typing import Any, Callable, List, Optional, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.attrs import ORTH
from spacy.tokens import Doc
from spacy.vectors import Mode, Vectors
from spacy.vocab import Vocab
from thinc.api import Model, NumpyOps
from thinc.types import Floats2d, Ints1d, Ints2d

from .. import _ops, ops
from ..row_cache import RowCache, params_of
from ..vectors.mapped import MappedVectors

# Types that a layer remembers if nobody says how many: 8 MB at a width of 96.
CACHE_ROWS = 20_000
# Attribute of a model that holds its RowCache.
MEMORY = "memory"


@dataclass
class Types:
    """The distinct words of a batch of docs.

    vocab: Vocabulary of the docs.
    columns: The A attribute IDs that tell types apart.
    keys: (T, A) uint64 on the CPU, values of these attributes.
    """

    vocab: Vocab
    columns: List[int]
    keys: Ints2d

    def __len__(self) -> int:
        return self.keys.shape[0]

    def column(self, attr: int) -> Ints1d:
        """Return the values of one attribute: (T,) uint64."""
        return self.keys[:, self.columns.index(attr)]

    def strings(self, attr: int) -> List[str]:
        """Return the texts behind a string attribute such as NORM, one a type."""
        return [self.vocab.strings[int(key)] for key in self.column(attr)]


class TokenRows(List[Floats2d]):
    """Embedded tokens, one (len(doc), nO) array a doc, that know their types.

    An encoder that computes per type too takes the types; to others this is a list.

    table: (T, nO), the rows of the types.
    inverse: (N,) int32, the type of each token.
    """

    def __init__(
        self, arrays: Sequence[Floats2d], table: Floats2d, inverse: Ints1d
    ) -> None:
        super().__init__(arrays)
        self.table = table
        self.inverse = inverse


def vectors_attr(vocab: Vocab) -> int:
    """Return the attribute ID that the vocab's vectors table is keyed by."""
    return getattr(vocab.vectors, "attr", ORTH)


def find_types(
    model: Model, docs: Sequence[Doc], columns: Sequence[int]
) -> Tuple[Types, Ints1d]:
    """Collect the types of a batch that holds at least one token.

    columns: IDs of the attributes that tell types apart, without repeats.
    Returns (types, inverse): inverse (N,) int32 on the device of the model, the type
        of each token.
    """
    # One column comes back as one dimension.
    shape = (-1, len(columns))
    rows = numpy.concatenate(
        [doc.to_array(list(columns)).reshape(shape) for doc in docs if len(doc)]
    )
    first, inverse = ops.unique_rows(cast(Ints2d, rows))
    keys = rows[first].astype("uint64", copy=False)
    types = Types(docs[0].vocab, list(columns), cast(Ints2d, keys))
    return types, model.ops.asarray1i(inverse)


Embed = Callable[[Types], Tuple[Floats2d, Callable[[Floats2d], Any]]]


def run_per_type(
    model: Model,
    docs: Sequence[Doc],
    is_train: bool,
    *,
    columns: Sequence[int],
    embed: Embed,
    reads_vectors: bool = False,
    dropout: Optional[Model] = None,
) -> Tuple[List[Floats2d], Callable]:
    """Embed the types of the docs, then give every token its type's row.

    In prediction, rows of types stay in the memory that model.attrs may hold.

    embed: Types to (Y, backprop) with Y (T, nO); called only if there are tokens.
    reads_vectors: Whether Y depends on the vectors of the vocab.
    dropout: Applied to the tokens, not to the types: two tokens of one type get
        masks of their own, as they do in a layer that embeds each token.
    Returns one (len(doc), nO) array a doc, and the backprop, which sums the
        gradient by type.
    """
    lengths = [len(doc) for doc in docs]
    if not sum(lengths):
        nO = model.get_dim("nO")
        return [model.ops.alloc2f(0, nO) for _ in docs], lambda dYs: []
    types, inverse = find_types(model, docs, columns)
    memory: Optional[RowCache] = model.attrs.get(MEMORY)
    if not is_train:
        table = _predict(model, types, embed, memory, reads_vectors)
        Y = ops.gather_rows(model.ops, table, inverse)
        return TokenRows(split(Y, lengths), table, inverse), lambda dYs: []
    if memory is not None:
        memory.forget()
    Yt, backprop_types = embed(types)
    Y = ops.gather_rows(model.ops, Yt, inverse)
    backprop_dropout: Callable[[Floats2d], Floats2d] = _identity
    if dropout is not None:
        Y, backprop_dropout = dropout(Y, is_train)

    def backprop(dYs: List[Floats2d]) -> List[Doc]:
        dY = backprop_dropout(model.ops.flatten(dYs))
        backprop_types(ops.scatter_add_rows(model.ops, dY, inverse, len(types)))
        return []

    return split(Y, lengths), backprop


def _predict(
    model: Model,
    types: Types,
    embed: Embed,
    memory: Optional[RowCache],
    reads_vectors: bool,
) -> Floats2d:
    if memory is None or not memory.max_rows or not isinstance(model.ops, NumpyOps):
        return embed(types)[0]

    def compute(positions: NDArray) -> NDArray:
        return cast(
            Any, embed(replace(types, keys=cast(Any, types.keys)[positions]))[0]
        )

    keys: Any = types.keys
    arrays = params_of(model)
    if reads_vectors:
        table = types.vocab.vectors
        if isinstance(table, MappedVectors):
            # Its rows stay as they are.
            arrays.append(table.identity)
        elif not isinstance(table, Vectors):
            return embed(types)[0]
        elif table.mode == Mode.default:
            # Anybody may change a row, by vocab.set_vector: it is part of the key.
            keys = numpy.column_stack([keys, _vector_sums(types)])
        else:
            arrays.append(table.data)
    return cast(Floats2d, memory.find(keys, arrays, compute))


def _vector_sums(types: Types) -> NDArray:
    table = types.vocab.vectors
    rows = table.find(keys=types.column(vectors_attr(types.vocab)))
    V = numpy.ascontiguousarray(table.data[rows], dtype="f")
    sums = numpy.empty(len(V), dtype="uint64")
    _ops.checksum_rows(V.view("uint32"), sums)
    sums[rows < 0] = 0
    return sums


def per_type(
    layer: Model[Types, Floats2d],
    columns: Sequence[int],
    *,
    include_static_vectors: bool,
    cache_rows: int,
    dropout: Optional[Model] = None,
) -> Model[List[Doc], List[Floats2d]]:
    """Make a layer over types into an embedding layer for docs.

    layer: Types to (T, nO).
    columns: IDs of the attributes that the layer reads.
    include_static_vectors: Whether it reads the attribute of the vectors table too.
    cache_rows: Types remembered in prediction, 0 or more.
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
            MEMORY: RowCache(cache_rows),
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
        reads_vectors=model.attrs["include_static_vectors"],
        dropout=rest[0] if rest else None,
    )


def init(
    model: Model[List[Doc], List[Floats2d]],
    X: Optional[List[Doc]] = None,
    Y: Optional[List[Floats2d]] = None,
) -> None:
    """Initialize the inner layer on the types of the sample."""
    has_tokens = X is not None and any(len(doc) for doc in X)
    types = find_types(model, X, _columns(model, X))[0] if X and has_tokens else None
    model.layers[0].initialize(X=types)
    model.set_dim("nO", model.layers[0].get_dim("nO"))


def _columns(model: Model, docs: Sequence[Doc]) -> List[int]:
    columns = list(model.attrs["columns"])
    if docs and model.attrs["include_static_vectors"]:
        columns.append(vectors_attr(docs[0].vocab))
    return list(dict.fromkeys(columns))


def _identity(dY: Floats2d) -> Floats2d:
    return dY


def split(Y: Floats2d, lengths: Sequence[int]) -> List[Floats2d]:
    """Cut the rows of all tokens into one array a doc."""
    ends = numpy.cumsum(lengths)
    return [Y[end - n : end] for end, n in zip(ends, lengths, strict=True)]
