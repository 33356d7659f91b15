"""The kernels' maths as plain array code.

The tests compare the kernels with it, and it is what runs on a GPU. The array functions
take thinc's `Ops`, so that the same code serves numpy and cupy.
"""

from typing import List, Tuple

import numpy
from numpy.typing import NDArray
from thinc.api import Ops
from thinc.types import Floats2d, Ints1d, Ints2d

MASK = 2**64 - 1
FNV_OFFSET = 14695981039346656037
FNV_PRIME = 1099511628211
GOLDEN = 0x9E3779B97F4A7C15


def unique_rows(rows: NDArray) -> Tuple[NDArray, NDArray]:
    """Distinct rows by first appearance: where each appears first, and the inverse."""
    _, first, inverse = numpy.unique(
        rows, axis=0, return_index=True, return_inverse=True
    )
    order = numpy.argsort(first)
    rank = numpy.empty_like(order)
    rank[order] = numpy.arange(len(order))
    return first[order].astype("i"), rank[inverse.reshape(-1)].astype("i")


def ngrams(word: str, min_n: int, max_n: int) -> List[str]:
    """The n-grams of a word by start, then length; the word if it has none."""
    found = [
        word[i : i + n]
        for i in range(len(word))
        for n in range(min_n, max_n + 1)
        if i + n <= len(word)
    ]
    return found or [word]


def ngram_row(ngram: str, k: int, n_rows: int) -> int:
    """Row k of an n-gram: SplitMix64's finaliser over FNV-1a (64 bit) of its UTF-8."""
    h = FNV_OFFSET
    for byte in ngram.encode("utf8", "surrogatepass"):
        h = ((h ^ byte) * FNV_PRIME) & MASK
    h = (h + k * GOLDEN) & MASK
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & MASK
    return (h ^ (h >> 31)) % n_rows


def gather_rows(ops: Ops, table: Floats2d, rows: Ints1d) -> Floats2d:
    """table[rows]: (V, O) and (N,) to (N, O)."""
    return table[rows]


def scatter_add_rows(ops: Ops, values: Floats2d, rows: Ints1d, n_rows: int) -> Floats2d:
    """Sum of the values by row: (N, O) and (N,) to (n_rows, O)."""
    out = ops.alloc2f(n_rows, values.shape[1], dtype=values.dtype)
    ops.scatter_add(out, rows, values)
    return out


def sum_rows(ops: Ops, table: Floats2d, rows: Ints1d, lengths: Ints1d) -> Floats2d:
    """Sum of the table rows of each segment: (V, O), (P,), (T,) to (T, O)."""
    segments = ops.xp.repeat(ops.xp.arange(len(lengths)), ops.to_numpy(lengths))
    return scatter_add_rows(ops, table[rows], segments, len(lengths))


def scatter_add_sums(
    ops: Ops, values: Floats2d, rows: Ints1d, lengths: Ints1d, n_rows: int
) -> Floats2d:
    """Gradient of sum_rows to the table: (T, O), (P,), (T,) to (n_rows, O)."""
    segments = ops.xp.repeat(ops.xp.arange(len(lengths)), ops.to_numpy(lengths))
    return scatter_add_rows(ops, values[segments], rows, n_rows)


def mean_rows(ops: Ops, table: Floats2d, rows: Ints1d, lengths: Ints1d) -> Floats2d:
    """Mean of the table rows of each segment: (V, O), (P,), (T,) to (T, O)."""
    counts = ops.xp.maximum(ops.asarray1i(lengths), 1).astype(table.dtype)
    return sum_rows(ops, table, rows, lengths) / counts[:, None]


def scatter_add_means(
    ops: Ops, values: Floats2d, rows: Ints1d, lengths: Ints1d, n_rows: int
) -> Floats2d:
    """Gradient of mean_rows to the table: (T, O), (P,), (T,) to (n_rows, O)."""
    counts = ops.xp.maximum(ops.asarray1i(lengths), 1).astype(values.dtype)
    return scatter_add_sums(ops, values / counts[:, None], rows, lengths, n_rows)


def max_rows(
    ops: Ops, table: Floats2d, rows: Ints1d, lengths: Ints1d
) -> Tuple[Floats2d, Ints2d]:
    """Largest value of each segment and its row: (V, O), (P,), (T,) to 2 x (T, O)."""
    counts = ops.asarray1i(lengths)
    filled = counts > 0
    out = ops.alloc2f(len(counts), table.shape[1], dtype=table.dtype)
    which = ops.alloc2i(*out.shape) - 1
    if len(rows):
        # thinc does not take segments of length 0.
        best, place = ops.reduce_max(ops.as_contig(table[rows]), counts[filled])
        starts = (counts.cumsum() - counts)[filled]
        out[filled], which[filled] = best, rows[place + starts[:, None]]
    return out, which


def scatter_add_maxes(
    ops: Ops, values: Floats2d, which: Ints2d, n_rows: int
) -> Floats2d:
    """Gradient of max_rows to the table: 2 x (T, O) to (n_rows, O)."""
    width = values.shape[1]
    out = ops.alloc1f(n_rows * width, dtype=values.dtype)
    entries = which * width + ops.xp.arange(width, dtype="i")
    ops.scatter_add(out, entries[which >= 0], values[which >= 0])
    return ops.reshape2f(out, n_rows, width)


def gather_windows(X: NDArray, centers: NDArray, w: int) -> NDArray:
    """The rows around each center, side by side: (M, O), (N,) to (N, (2w + 1) * O)."""
    windows = X[centers[:, None] + numpy.arange(-w, w + 1)]
    return windows.reshape(len(centers), (2 * w + 1) * X.shape[1])


def scatter_windows(dY: NDArray, centers: NDArray, w: int, n_rows: int) -> NDArray:
    """Gradient of gather_windows: (N, (2w + 1) * O), (N,) to (n_rows, O)."""
    blocks = dY.reshape(len(centers), 2 * w + 1, dY.shape[1] // (2 * w + 1))
    out = numpy.zeros((n_rows, blocks.shape[2]), dtype=dY.dtype)
    numpy.add.at(out, centers[:, None] + numpy.arange(-w, w + 1), blocks)
    return out


def sum_windows(products: NDArray, rows: NDArray, centers: NDArray, w: int) -> NDArray:
    """Sum of one block for each place: (T, (2w + 1) * Q), (M,), (N,) to (N, Q)."""
    blocks = products.reshape(len(products), 2 * w + 1, -1)
    places = numpy.arange(2 * w + 1)
    return blocks[rows[centers[:, None] + places - w], places].sum(axis=1)


def maxout_norm(Y: NDArray, bias: NDArray, width: int) -> NDArray:
    """Largest piece, to mean 0 and variance 1: (N, P * width), (P * width,)."""
    best = (Y + bias).reshape(len(Y), len(bias) // width, width).max(axis=1)
    centered = best - best.mean(axis=1, keepdims=True)
    return centered / numpy.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-8)
