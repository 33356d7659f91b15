"""Pooling: one row for each sequence of rows, zeros for an empty sequence.

thinc's layers of the same names give the same for sequences that have rows. Its max,
first and last raise on empty ones, such as a token without wordpieces.
"""

from typing import Any, Callable, Literal, Optional, Tuple, cast

import numpy
from thinc.api import Model, Ops
from thinc.types import Floats1d, Floats2d, Ints1d, Ragged

from .. import ops as kernels
from ..checks import check_positive

Kind = Literal["sum", "mean", "max", "first", "last"]
Backprop = Callable[[Floats2d], Floats2d]


def build_reduce_sum_v1() -> Model[Ragged, Floats2d]:
    """Sum the rows of each sequence.

    Shapes: rows (M, W) of N sequences, their lengths (N,) -> (N, W), float32 or
        float64; N, M, W and any length may be 0.
    Gradient: dX (M, W).
    Raises: ValueError or TypeError, naming what is wrong with the rows or lengths.
    """
    return _reduction("sum")


def build_reduce_mean_v1() -> Model[Ragged, Floats2d]:
    """Average the rows of each sequence; shapes and errors as in reduce_sum.v1."""
    return _reduction("mean")


def build_reduce_max_v1() -> Model[Ragged, Floats2d]:
    """Take the largest value of each column; shapes and errors as in reduce_sum.v1.

    Gradient: to the first of the rows that have the largest value.
    """
    return _reduction("max")


def build_reduce_first_v1() -> Model[Ragged, Floats2d]:
    """Take the first row of each sequence; shapes and errors as in reduce_sum.v1."""
    return _reduction("first")


def build_reduce_last_v1() -> Model[Ragged, Floats2d]:
    """Take the last row of each sequence; shapes and errors as in reduce_sum.v1."""
    return _reduction("last")


def build_reduce_attention_v1(nO: Optional[int] = None) -> Model[Ragged, Floats2d]:
    """Average the rows of each sequence, weighted by a learned query Q, (nO,).

    The weights are the softmax of X @ Q over each sequence. Q is zeros at first, so
    that training starts from the mean.

    nO (Optional[int]): Width of the rows, 1 or more. None takes that of the first rows.
    Shapes: As in reduce_sum.v1, W being nO. Gradient: dX (M, W), and to Q.
    Raises: As reduce_sum.v1, and ValueError if nO is below 1 or rows are not nO wide.
    Source: Yang et al. 2016, "Hierarchical Attention Networks for Document
        Classification", without their hidden layer; thinc's ParametricAttention.
    """
    check_positive("reduce_attention.v1", nO=nO)
    return Model(
        "reduce_attention",
        attention_forward,
        init=attention_init,
        dims={"nO": nO},
        params={"Q": None},
    )


def pool_rows(
    ops: Ops, table: Floats2d, index: Ints1d, lengths: Ints1d, kind: Kind
) -> Tuple[Floats2d, Backprop]:
    """Pool table rows by their numbers, without copying them first on the CPU.

    table: (R, W) float32 or float64.
    index: (M,) int32, entries 0..R-1, in any order, with or without repeats.
    lengths: (N,) int32, 0 or more, sum M: the number of entries of each sequence.
    Returns (Y, backprop): Y (N, W), zeros for a sequence of length 0; backprop takes
        dY (N, W) to the gradient of the table, (R, W).
    Raises: ValueError on shapes and lengths that do not fit, IndexError on a row
        outside the table, TypeError on other dtypes.
    """
    check_table("pool_rows", table)
    # The kernels check the lengths again, but first and last do not pass all of them.
    kernels.segment_starts("pool_rows", cast(Ints1d, ops.to_numpy(lengths)), len(index))
    n_rows = len(table)
    if kind == "max":
        Y, which = kernels.max_rows(ops, table, index, lengths)
    else:
        if kind in ("first", "last"):
            index, lengths = _ends(ops, index, lengths, kind)
        pool = kernels.mean_rows if kind == "mean" else kernels.sum_rows
        Y = pool(ops, table, index, lengths)
    shape = Y.shape

    def backprop(dY: Floats2d) -> Floats2d:
        check_gradient("pool_rows", dY, shape)
        if kind == "max":
            return kernels.scatter_add_maxes(ops, dY, which, n_rows)
        if kind == "mean":
            return kernels.scatter_add_means(ops, dY, index, lengths, n_rows)
        return kernels.scatter_add_sums(ops, dY, index, lengths, n_rows)

    return Y, backprop


def forward(
    model: Model[Ragged, Floats2d], Xr: Ragged, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Ragged]]:
    """Pool each sequence by the kind that the model has."""
    X = cast(Floats2d, Xr.dataXd)
    check_table(f"{model.name}.v1", X)
    index = cast(Ints1d, model.ops.xp.arange(len(X), dtype="i"))
    Y, backprop_rows = pool_rows(model.ops, X, index, Xr.lengths, model.attrs["kind"])

    def backprop(dY: Floats2d) -> Ragged:
        return Ragged(backprop_rows(dY), Xr.lengths)

    return Y, backprop


def attention_forward(
    model: Model[Ragged, Floats2d], Xr: Ragged, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Ragged]]:
    """Pool each sequence by the weights that the query gives its rows."""
    ops, lengths, X = model.ops, Xr.lengths, cast(Floats2d, Xr.dataXd)
    check_table("reduce_attention.v1", X)
    starts = kernels.segment_starts(
        "reduce_attention.v1", cast(Ints1d, ops.to_numpy(lengths)), len(X)
    )
    index = ops.xp.arange(len(X), dtype="i")
    repeated: Any = numpy.repeat(numpy.arange(len(lengths)), numpy.diff(starts))
    # The sequence of each row.
    sequence: Any = ops.asarray1i(repeated)
    Q = _query(model, X)
    scores = ops.reshape2f(X @ Q, len(X), 1)
    top, _ = kernels.max_rows(ops, scores, index, lengths)
    weights = ops.xp.exp(scores - top[sequence])
    weights /= kernels.sum_rows(ops, weights, index, lengths)[sequence]
    Y = kernels.sum_rows(ops, X * weights, index, lengths)

    def backprop(dY: Floats2d) -> Ragged:
        check_gradient("reduce_attention.v1", dY, Y.shape)
        dX = dY[sequence]
        d_weights = (X * dX).sum(axis=1, keepdims=True) * weights
        totals = kernels.sum_rows(ops, d_weights, index, lengths)
        d_scores = d_weights - weights * totals[sequence]
        if len(X):
            model.inc_grad("Q", cast(Floats1d, (X * d_scores).sum(axis=0)))
        return Ragged(dX * weights + d_scores * Q, lengths)

    return Y, backprop


def attention_init(
    model: Model[Ragged, Floats2d],
    X: Optional[Ragged] = None,
    Y: Optional[Floats2d] = None,
) -> None:
    """Make a query of zeros, if the width is known."""
    if model.has_dim("nO") is None and X is not None and len(X.dataXd):
        model.set_dim("nO", cast(Floats2d, X.dataXd).shape[1])
    if model.has_dim("nO"):
        model.set_param("Q", model.ops.alloc1f(model.get_dim("nO")))


def check_table(name: str, table: Any) -> None:
    """Raise ValueError unless rows are 2d, TypeError unless the kernels take them."""
    if table.ndim != 2:
        raise ValueError(
            f"{name}: the rows are {table.ndim}d, of shape {table.shape}; give (rows, "
            "width)"
        )
    if isinstance(table, numpy.ndarray) and table.dtype not in ("float32", "float64"):
        raise TypeError(
            f"{name}: the rows are {table.dtype}; give float32 or float64, such as by "
            'astype("float32")'
        )


def check_gradient(name: str, dY: Any, shape: Tuple[int, ...]) -> None:
    """Raise ValueError unless the gradient has the shape of the output."""
    if dY.shape != shape:
        raise ValueError(
            f"{name}: the gradient is {dY.shape}, but the output was {shape}; give one "
            "of that shape"
        )


def _reduction(kind: Kind) -> Model[Ragged, Floats2d]:
    return Model(f"reduce_{kind}", forward, attrs={"kind": kind})


def _ends(
    ops: Ops, index: Ints1d, lengths: Ints1d, kind: Kind
) -> Tuple[Ints1d, Ints1d]:
    # With one entry for each sequence, the sum is that row.
    counts = ops.asarray1i(lengths)
    ends = counts.cumsum()
    places = ends - 1 if kind == "last" else ends - counts
    filled = counts > 0
    return index[places[filled]], filled.astype("i")


def _query(model: Model[Ragged, Floats2d], X: Floats2d) -> Floats1d:
    """Return the query; make it here if a parent did not initialize its layers."""
    width = X.shape[1]
    if not len(X) and (model.has_dim("nO") is None or model.get_dim("nO") != width):
        # Without rows the width may be unknown, and is not needed.
        return model.ops.alloc1f(width)
    if model.has_dim("nO") is None:
        model.set_dim("nO", width)
    if model.get_dim("nO") != width:
        raise ValueError(
            f"reduce_attention.v1: the rows are {width} wide, but the query is "
            f"{model.get_dim('nO')}; give rows of that width, or leave nO out"
        )
    if not model.has_param("Q"):
        model.set_param("Q", model.ops.alloc1f(width))
    return cast(Floats1d, model.get_param("Q"))
