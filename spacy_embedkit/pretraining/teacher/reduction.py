"""What is regressed onto: rows of a teacher, standardised or as components."""

from dataclasses import dataclass
from typing import Literal, Optional

import numpy
from numpy.typing import NDArray

from ...vectors.build.pca import BLOCK_ROWS, principal_axes

Kind = Literal["standardised", "pca"]
# Directions whose variance is less than this share of the largest become zeros.
MIN_VARIANCE_SHARE = 1e-7


@dataclass(frozen=True)
class ReductionSettings:
    """How rows are reduced.

    kind: "standardised": each number minus its mean, over its standard deviation.
        "pca": coordinates along the principal components.
    width: Components kept, the largest ones; None: all.
    whiten: Whether each component gets a variance of 1. If not, all are divided by one
        number, so that their mean variance is 1.
    """

    kind: Kind = "standardised"
    width: Optional[int] = None
    whiten: bool = False

    def out_width(self, width: int) -> int:
        """Return the numbers in a target, given those in a row."""
        return width if self.width is None else self.width


@dataclass(frozen=True)
class Reduction:
    """A fitted reduction.

    mean: (D,) float32. axes: (D,) float32, factors of the numbers; or (D, O) float32,
        the components times their factors.
    """

    mean: NDArray
    axes: NDArray

    def is_same(self, other: "Optional[Reduction]") -> bool:
        """Whether the other one gives the same targets."""
        return (
            other is not None
            and numpy.array_equal(self.mean, other.mean)
            and numpy.array_equal(self.axes, other.axes)
        )

    def __call__(self, rows: NDArray) -> NDArray:
        """Reduce rows, (n, D) float32, to targets, (n, O) float16; NaN stays NaN."""
        targets = numpy.empty((len(rows), self.axes.shape[-1]), dtype="float16")
        largest = numpy.finfo("float16").max
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS] - self.mean
            block = block * self.axes if self.axes.ndim == 1 else block @ self.axes
            targets[start : start + BLOCK_ROWS] = block.clip(-largest, largest)
        return targets


def fit(rows: NDArray, settings: ReductionSettings) -> Reduction:
    """Fit a reduction to rows, (n, D) float32, n 1 or more.

    The same rows give the same numbers, on one machine and one thread.
    """
    if settings.kind == "standardised":
        mean = rows.mean(axis=0, dtype="float64")
        return Reduction(mean.astype("f"), _inverse_roots(_variances(rows, mean)))
    mean, variances, axes = principal_axes(rows)
    n = settings.out_width(rows.shape[1])
    variances, axes = variances[:n], axes[:, :n]
    if settings.whiten:
        factors = _inverse_roots(variances)
    else:
        factors = numpy.repeat(_inverse_roots(variances.mean(keepdims=True)), n)
    return Reduction(mean.astype("f"), (axes * factors).astype("f"))


def _variances(rows: NDArray, mean: NDArray) -> NDArray:
    sums = numpy.zeros(rows.shape[1])
    for start in range(0, len(rows), BLOCK_ROWS):
        sums += ((rows[start : start + BLOCK_ROWS] - mean) ** 2).sum(axis=0)
    return sums / len(rows)


def _inverse_roots(variances: NDArray) -> NDArray:
    """Return 1 / the standard deviation, zeros where that is next to nothing."""
    smallest = MIN_VARIANCE_SHARE * variances.max(initial=0.0)
    roots = numpy.sqrt(numpy.where(variances > smallest, variances, numpy.inf))
    return (1 / roots).astype("f")
