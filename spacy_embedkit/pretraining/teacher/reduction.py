"""What is regressed onto: rows of a teacher, standardised or turned to components."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional
from zipfile import BadZipFile

import numpy
from numpy.typing import NDArray

from ...checks import InputError

Kind = Literal["standardised", "pca"]
# Directions whose variance is less than this share of the largest become zeros.
LEAST_SHARE = 1e-7
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class ReductionSettings:
    """How rows are reduced.

    kind: "standardised": each number less its mean, over its standard deviation.
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
        the components with their factors.
    """

    mean: NDArray
    axes: NDArray

    def __call__(self, rows: NDArray) -> NDArray:
        """Reduce rows, (n, D) float32, to targets, (n, O) float16; NaN stays NaN."""
        width = self.axes.shape[-1]
        targets = numpy.empty((len(rows), width), dtype="float16")
        most = numpy.finfo("float16").max
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS] - self.mean
            block = block * self.axes if self.axes.ndim == 1 else block @ self.axes
            targets[start : start + BLOCK_ROWS] = block.clip(-most, most)
        return targets

    def save(self, path: Path) -> None:
        """Write the arrays to a file, unless another process has made it meanwhile."""
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with partial.open("wb") as file:
            numpy.savez(file, mean=self.mean, axes=self.axes)
        try:
            path.hardlink_to(partial)
        except FileExistsError:
            pass
        except OSError:
            # There are file systems without links.
            partial.replace(path)
        partial.unlink(missing_ok=True)


def load_reduction(path: Path, width: int, out_width: int) -> Reduction:
    """Read what Reduction.save wrote.

    width, out_width: Numbers in a row, and in a target.
    Raises: InputError, if it is damaged.
    """
    try:
        with path.open("rb") as file, numpy.load(file, allow_pickle=False) as arrays:
            found = Reduction(arrays["mean"], arrays["axes"])
    except (ValueError, KeyError, EOFError, OSError, BadZipFile) as err:
        raise InputError(
            f"{path}: is damaged ({err}); delete the folder, so that it is made again"
        ) from err
    if found.mean.shape != (width,) or found.axes.shape[-1] != out_width:
        raise InputError(
            f"{path}: is for other widths; delete the folder, so that it is made again"
        )
    return found


def fit(rows: NDArray, settings: ReductionSettings) -> Reduction:
    """Fit a reduction to rows, (n, D) float32, n 1 or more.

    The same rows give the same numbers, on one machine and one thread.
    """
    mean = rows.mean(axis=0, dtype="float64")
    if settings.kind == "standardised":
        return Reduction(mean.astype("f"), _inverse_roots(_variances(rows, mean)))
    covariance = numpy.zeros((rows.shape[1],) * 2)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS] - mean
        covariance += block.T @ block
    values, axes = numpy.linalg.eigh(covariance / len(rows))
    n = settings.out_width(rows.shape[1])
    values, axes = values[::-1][:n].clip(0), axes[:, ::-1][:, :n]
    if settings.whiten:
        factors = _inverse_roots(values)
    else:
        factors = numpy.repeat(_inverse_roots(values.mean(keepdims=True)), n)
    return Reduction(mean.astype("f"), (axes * factors).astype("f"))


def _variances(rows: NDArray, mean: NDArray) -> NDArray:
    sums = numpy.zeros(rows.shape[1])
    for start in range(0, len(rows), BLOCK_ROWS):
        sums += ((rows[start : start + BLOCK_ROWS] - mean) ** 2).sum(axis=0)
    return sums / len(rows)


def _inverse_roots(variances: NDArray) -> NDArray:
    """Return 1 / the standard deviation, zeros where that is next to nothing."""
    least = LEAST_SHARE * variances.max(initial=0.0)
    roots = numpy.sqrt(numpy.where(variances > least, variances, numpy.inf))
    return (1 / roots).astype("f")
