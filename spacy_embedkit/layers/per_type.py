"""A layer over word types as an embedding layer for docs."""

from dataclasses import replace
from typing import Any, Callable, List, Optional, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.vectors import Mode, Vectors
from thinc.api import Dropout, Model
from thinc.types import Floats2d

from .. import ops
from ..row_cache import CACHE, RowCache
from ..vectors.mapped import MappedVectors
from .types import TokenRows, Types, find_types, split, vectors_attr

# Types that a layer caches by default: 8 MB at a width of 96.
CACHE_ROWS = 20_000

Embed = Callable[[Types], Tuple[Floats2d, Callable[[Floats2d], Any]]]


def run_per_type(
    model: Model,
    docs: Sequence[Doc],
    is_train: bool,
    *,
    nO: int,
    columns: Sequence[int],
    embed: Embed,
    reads_vectors: bool = False,
    dropout: Optional[Model] = None,
) -> Tuple[List[Floats2d], Callable]:
    """Embed the types of the docs, then give every token its type's row.

    In prediction, rows of types are kept in the RowCache that model.attrs may hold.

    nO: Width of the output.
    embed: Types to (Y, backprop) with Y (T, nO); called only if there are tokens.
    reads_vectors: Whether Y depends on the vectors of the vocab.
    dropout: Applied to the tokens, not to the types: two tokens of one type get
        masks of their own, as they do in a layer that embeds each token.
    Returns one (len(doc), nO) array per doc, and the backprop, which sums the
        gradient by type.
    """
    lengths = [len(doc) for doc in docs]
    if not sum(lengths):
        return [model.ops.alloc2f(0, nO) for _ in docs], lambda dYs: []
    types, inverse = find_types(model, docs, columns)
    cache: Optional[RowCache] = model.attrs.get(CACHE)
    if not is_train:
        table = _predict(model, types, embed, cache, reads_vectors)
        Y = ops.gather_rows(model.ops, table, inverse)
        return TokenRows(split(Y, lengths), table, inverse), lambda dYs: []
    if cache is not None:
        cache.invalidate()
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
    cache: Optional[RowCache],
    reads_vectors: bool,
) -> Floats2d:
    if cache is None or not cache.max_rows or not ops.has_kernels(model.ops):
        return embed(types)[0]

    def compute(positions: NDArray) -> NDArray:
        return cast(
            Any, embed(replace(types, keys=cast(Any, types.keys)[positions]))[0]
        )

    keys: Any = types.keys
    arrays = cache.tree(model).params()
    if reads_vectors:
        table = types.vocab.vectors
        if isinstance(table, MappedVectors):
            # Its rows never change.
            arrays.append(table.identity)
        elif not isinstance(table, Vectors):
            return embed(types)[0]
        elif table.mode == Mode.default:
            # vocab.set_vector may change a row, so its numbers are part of the key.
            keys = numpy.column_stack([keys, _vector_sums(types)])
        else:
            arrays.append(table.data)
    return cast(Floats2d, cache.get(keys, arrays, compute))


def _vector_sums(types: Types) -> NDArray:
    table = types.vocab.vectors
    if not len(table.data):
        # The layer says what is wrong with it.
        return numpy.zeros(len(types), dtype="uint64")
    rows = table.find(keys=types.column(vectors_attr(types.vocab)))
    sums = ops.checksum_rows(table.data[rows])
    sums[rows < 0] = 0
    return sums


def per_type(
    layer: Model[Types, Floats2d],
    columns: Sequence[int],
    *,
    include_static_vectors: bool,
    cache_rows: int,
) -> Model[List[Doc], List[Floats2d]]:
    """Make a layer over types into an embedding layer for docs.

    layer: Types to (T, nO).
    columns: IDs of the attributes that the layer reads.
    include_static_vectors: Whether it reads the attribute of the vectors table too.
    cache_rows: Types whose rows are cached in prediction, 0 or more.
    Dropout, off until somebody sets its rate, applies to tokens, see run_per_type.
    """
    return Model(
        f"per_type({layer.name})",
        forward,
        init=init,
        layers=[layer, Dropout(0.0)],
        dims={"nO": layer.maybe_get_dim("nO")},
        attrs={
            "columns": list(dict.fromkeys(columns)),
            "include_static_vectors": include_static_vectors,
            CACHE: RowCache(cache_rows),
        },
    )


def forward(
    model: Model[List[Doc], List[Floats2d]], docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Run the inner layer once per type."""
    layer, dropout = model.layers
    return run_per_type(
        model,
        docs,
        is_train,
        nO=model.get_dim("nO"),
        columns=_columns(model, docs),
        embed=lambda types: layer(types, is_train),
        reads_vectors=model.attrs["include_static_vectors"],
        dropout=dropout,
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
