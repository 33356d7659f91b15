"""Principal components of rows, by blocks, so that no copy of all of them is made."""

from typing import Tuple

import numpy
from numpy.typing import NDArray

BLOCK_ROWS = 8192


def principal_axes(rows: NDArray) -> Tuple[NDArray, NDArray, NDArray]:
    """Return the mean, variances and axes of rows, (n, D) float32; all are float64.

    Returns: mean (D,); variances (D,) along the axes, the largest first; axes (D, D),
        one per column, of length 1 and any sign.
    """
    mean = rows.mean(axis=0, dtype="float64")
    covariance = numpy.zeros((rows.shape[1],) * 2)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS] - mean
        covariance += block.T @ block
    variances, axes = numpy.linalg.eigh(covariance / len(rows))
    return mean, variances[::-1].clip(0), axes[:, ::-1]
