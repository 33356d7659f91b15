"""The vocab's vectors table, projected to the width of the network."""

from typing import Any, Callable, List, Optional, Tuple, cast

import numpy
from spacy.tokens import Doc
from spacy.vectors import Mode, Vectors
from spacy.vocab import Vocab
from thinc.api import Model, Ops
from thinc.initializers import glorot_uniform_init
from thinc.types import Floats1d, Floats2d, Ints1d, Ragged

from ..row_cache import CACHE
from ..vectors.mapped import MappedVectors
from .per_type import run_per_type
from .stock_nodes import stock
from .types import Types, vectors_attr


def static_vectors(
    nO: int, nM: Optional[int] = None, *, learn_unseen: bool = False
) -> Model[Types, Floats2d]:
    """Embed each type as its row of the vocab's vectors table, projected.

    The table is read from the vocab and not trained. A word without a row gets what
    the table returns for it, usually zeros, which add nothing to the gradient of W.

    nO (int): Width of an output row.
    nM (Optional[int]): Width that the table must have; None takes what it has.
    learn_unseen (bool): Let words without a row share an output row that is learned.
    Shapes: T types -> (T, nO) float32; W (nO, nM), unseen (nO,).
    Raises: ValueError at initialization, if the vocab has no vectors or the table
        has another width.
    """
    return Model(
        "static_vectors",
        forward,
        init=init,
        dims={"nO": nO, "nM": nM},
        params={"W": None, "unseen": None} if learn_unseen else {"W": None},
        attrs={"dropout_rate": 0.0},
    )


def forward(
    model: Model[Types, Floats2d], types: Types, is_train: bool
) -> Tuple[Floats2d, Callable]:
    """Project the vectors of the types."""
    V, missing = find_vectors(model, types)
    if isinstance(types.vocab.vectors, Vectors):
        # It returns its last row for these; a MappedVectors returns what it should.
        V[missing] = 0.0
    if "unseen" not in model.param_names:
        return project(model, V, is_train)
    V[missing] = 0.0
    Y, backprop_W = project(model, V, is_train)
    Y[missing] = cast(Floats1d, model.get_param("unseen"))

    def backprop(dY: Floats2d) -> List[Any]:
        model.inc_grad("unseen", dY[missing].sum(axis=0))
        return backprop_W(dY)

    return Y, backprop


def embed_stock(
    model: Model, types: Types, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Any]]:
    """Project the vectors of the types as spaCy's StaticVectors does.

    That layer zeroes the output of words without a vector, but lets their gradient
    reach W through the table's last row; our own, forward, does not.
    """
    V, missing = find_vectors(model, types)
    Y, backprop = project(model, V, is_train)
    if isinstance(types.vocab.vectors, Vectors):
        Y[missing] = 0.0
    return Y, backprop


def predict_forward(
    model: Model[List[Doc], Ragged], docs: List[Doc], is_train: bool
) -> Tuple[Ragged, Callable]:
    """Run spaCy's StaticVectors, predicting once per word type."""
    if is_train:
        model.attrs[CACHE].invalidate()
    if is_train or not any(len(doc) for doc in docs):
        return stock.staticvectors(model, docs, is_train)
    Ys, backprop = run_per_type(
        model,
        docs,
        is_train,
        nO=model.get_dim("nO"),
        columns=[vectors_attr(docs[0].vocab)],
        embed=lambda types: embed_stock(model, types, is_train),
        reads_vectors=True,
    )
    lengths = model.ops.asarray1i([len(doc) for doc in docs])
    return Ragged(model.ops.flatten(Ys), lengths), backprop


def init(
    model: Model[Types, Floats2d],
    X: Optional[Types] = None,
    Y: Optional[Floats2d] = None,
) -> None:
    """Take the width from the table, and draw W."""
    if X is not None:
        model.set_dim("nM", check_vectors(X.vocab, model.maybe_get_dim("nM")))
    if model.has_dim("nM") is None:
        raise ValueError(
            "static_vectors: initialized without docs, so the width of the vectors "
            "is unknown; pass a sample of docs as X"
        )
    shape = (model.get_dim("nO"), model.get_dim("nM"))
    model.set_param("W", glorot_uniform_init(model.ops, shape))
    if "unseen" in model.param_names:
        model.set_param("unseen", model.ops.alloc1f(shape[0]))


def check_vectors(vocab: Vocab, width: Optional[int] = None) -> int:
    """Return the width of the vectors table, or raise ValueError.

    width: Width that the table must have, if any.
    """
    shape = vocab.vectors.shape
    if 0 in shape:
        raise ValueError(
            f"static vectors: the vocab's vectors table has shape {tuple(shape)}, but "
            "at least one row and one column are needed; set `vectors` in "
            "[initialize] to a folder made by `spacy embedkit vectors convert`, with "
            'its `@vectors = "spacy-embedkit.Vectors.v1"` in [nlp.vectors], or by '
            "`spacy init vectors`, or leave static vectors out"
        )
    if width is not None and width != shape[1]:
        raise ValueError(
            f"static vectors: the layer takes vectors {width} wide, but the vocab's "
            f"table has shape {tuple(shape)}; load the table that the layer was made "
            "for, or change the width in the config"
        )
    return shape[1]


def find_vectors(model: Model, types: Types) -> Tuple[Floats2d, Ints1d]:
    """Look the types up in the table of their vocab.

    Returns (V, missing): V (T, nM) float32, a copy; missing (M,), the types without
        a row, whose rows of V are undefined if the table is spaCy's.
    """
    check_vectors(types.vocab, model.get_dim("nM"))
    return look_up(model.ops, types.vocab, types.column(vectors_attr(types.vocab)))


def look_up(ops: Ops, vocab: Vocab, keys: Ints1d) -> Tuple[Floats2d, Ints1d]:
    """Look keys up in the table of a vocab; returns (V, missing), see find_vectors.

    keys: (T,) uint64, values of the attribute that the table is keyed by.
    """
    table = vocab.vectors
    missing = ops.alloc1i(0)
    if isinstance(table, Vectors) and table.mode == Mode.default:
        rows = table.find(keys=keys)
        missing = ops.xp.flatnonzero(rows < 0)
        V = table.data[rows]
    else:
        V = table.get_batch(keys)
        if isinstance(table, MappedVectors) and table.mode == Mode.default:
            found: Any = table.find_rows(cast(Any, keys))
            missing = ops.asarray1i(cast(Any, numpy.flatnonzero(found < 0)))
    V = ops.as_contig(ops.asarray(V), dtype="f")
    return cast(Floats2d, V), missing


def project(
    model: Model, V: Floats2d, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], List[Any]]]:
    """Multiply with W, (T, nM) to (T, nO), with dropout by output column."""
    W = cast(Floats2d, model.ops.as_contig(model.get_param("W")))
    Y = model.ops.gemm(V, W, trans2=True)
    rate = model.attrs["dropout_rate"]
    rate = rate if is_train else 0.0
    mask = cast(Floats1d, model.ops.get_dropout_mask((W.shape[0],), rate))
    Y *= mask

    def backprop(dY: Floats2d) -> List[Any]:
        model.inc_grad("W", model.ops.gemm(dY * mask, V, trans1=True))
        return []

    return Y, backprop
