"""Arithmetic of the layers: check the input, then run a kernel or array code.

No other module chooses. The kernels serve every CPU backend of thinc; other backends
run reference_ops. If the kernels were not built, the import fails: there is no silent
fallback.
"""

from typing import Any, List, Optional, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from thinc.api import NumpyOps, Ops
from thinc.types import Floats2d, Ints1d, Ints2d

from . import _ops, reference_ops


def has_kernels(ops: Ops) -> bool:
    """Return whether these ops run the kernels, as all ops for the CPU do."""
    return isinstance(ops, NumpyOps)


def unique_rows(rows: Ints2d) -> Tuple[Ints1d, Ints1d]:
    """Find the distinct rows of an array in O(N).

    rows: (N, A) uint64 on the CPU; N and A may be 0.
    Returns (first, inverse): first (U,) int32, where each distinct row appears
        first, in that order; inverse (N,) int32, the number of each row, 0..U-1.
    """
    keys = numpy.ascontiguousarray(rows, dtype="uint64")
    n = keys.shape[0]
    first = numpy.empty(n, dtype="i")
    inverse = numpy.empty(n, dtype="i")
    n_unique = _ops.unique_rows(keys, empty_slots(n), first, inverse)
    return cast(Ints1d, first[:n_unique]), cast(Ints1d, inverse)


def empty_slots(n_rows: int) -> NDArray:
    """Make the hash table that lets find_rows find up to n_rows rows."""
    return numpy.full(1 << max(3, (2 * n_rows).bit_length()), -1, dtype="i")


def add_rows(table: NDArray, begin: int, end: int, slots: NDArray) -> None:
    """Let find_rows find the table rows begin..end-1, all of them distinct.

    table: (V, A) uint64, contiguous; slots: made by empty_slots, changed in place.
    """
    _ops.add_rows(table, begin, end, slots)


def find_rows(rows: NDArray, table: NDArray, slots: NDArray) -> NDArray:
    """Return the table row that is equal to each row, or -1: (N, A) to (N,) int32."""
    out = numpy.full(len(rows), -1, dtype="i")
    if rows.shape[1] == table.shape[1]:
        _ops.find_rows(numpy.ascontiguousarray(rows), table, slots, out)
    return out


def checksums(arrays: Sequence[NDArray], n_samples: Optional[int] = None) -> List[int]:
    """Hash the bits of each array: all, or about n_samples words of 32 spread evenly.

    Arrays may have any dtype and shape.
    """
    return _ops.checksums([*map(numpy.ascontiguousarray, arrays)], n_samples or 0)


def checksum_rows(array: NDArray) -> NDArray:
    """Hash each row: (N, O) float32 to (N,) uint64."""
    out = numpy.empty(len(array), dtype="uint64")
    _ops.checksum_rows(numpy.ascontiguousarray(array, dtype="f").view("uint32"), out)
    return out


def ngram_rows(
    words: Sequence[str], min_n: int, max_n: int, n_hashes: int, n_rows: int
) -> Tuple[Ints1d, Ints1d]:
    """Hash the character n-grams of words to table rows.

    An n-gram is a run of min_n to max_n code points. A word shorter than min_n,
    the empty one too, is its own one n-gram. Row k of an n-gram is SplitMix64's
    finaliser of (FNV-1a + k * 0x9E3779B97F4A7C15), 64 bits, modulo n_rows; FNV-1a
    runs over the n-gram's UTF-8 bytes.

    Returns (rows, lengths): rows (P,) int32, n_hashes entries for each n-gram,
        n-grams by start, then by length; lengths (T,) int32, entries of each word.
    Raises: ValueError if n_rows is below 1, or if there are 2**31 entries or more.
    Sources: Bojanowski et al. 2017 (n-grams), arXiv:1607.04606; Svenstrup et al.
        2017 (several hashes into one table), arXiv:1709.03933; draft-eastlake-fnv;
        Steele, Lea and Flood 2014 (SplitMix64).
    """
    if n_rows < 1:
        raise ValueError(f"ngram_rows: n_rows is {n_rows}, but 1 or more are needed")
    counts = _count_ngrams(words, min_n, max_n) * n_hashes
    encoded = [word.encode("utf8", "surrogatepass") for word in words]
    total = max(int(counts.sum()), sum(map(len, encoded)))
    if total >= 1 << 31:
        longest = max(map(len, words))
        raise ValueError(
            f"ngram_rows: {len(words)} words, the longest of {longest} letters, have "
            f"{total} n-grams or bytes, but less than 2**31 are possible; lower max_n, "
            f"which is {max_n}, or give shorter texts"
        )
    starts = numpy.zeros(len(words) + 1, dtype="i")
    numpy.cumsum([len(word) for word in encoded], out=starts[1:])
    rows = numpy.empty((int(counts.sum()) // n_hashes, n_hashes), dtype="i")
    text = b"".join(encoded)
    # No word is longer, and the kernel takes 32 bits.
    min_n, max_n = min(min_n, len(text) + 1), min(max_n, len(text) + 1)
    _ops.ngram_rows(text, starts, min_n, max_n, n_rows, rows)
    return cast(Ints1d, rows.reshape(-1)), cast(Ints1d, counts.astype("i"))


def _count_ngrams(words: Sequence[str], min_n: int, max_n: int) -> NDArray:
    """Count the n-grams of each word, at least 1: (T,) int64."""
    lengths = numpy.fromiter(map(len, words), dtype="int64", count=len(words))
    longest = numpy.minimum(lengths, max_n)
    # Each length n has len(word) - n + 1 of them.
    sizes = longest - min_n + 1
    counts = sizes * (lengths - longest + lengths - min_n + 2) // 2
    return numpy.where(sizes > 0, counts, 1)


def gather_rows(ops: Ops, table: Floats2d, rows: Ints1d) -> Floats2d:
    """Copy one table row for each item: (V, O) and (N,) int32 to (N, O).

    Raises IndexError naming the entry if a row number is not in 0..V-1.
    """
    if not has_kernels(ops):
        return reference_ops.gather_rows(ops, table, rows)
    E = numpy.ascontiguousarray(table)
    index = _as_index("gather_rows", rows, len(E))
    out = numpy.empty((len(index), E.shape[1]), dtype=E.dtype)
    _ops.gather_rows(E, index, out)
    return cast(Floats2d, out)


def scatter_add_rows(ops: Ops, values: Floats2d, rows: Ints1d, n_rows: int) -> Floats2d:
    """Sum the values that share a row: (N, O) and (N,) int32 to (n_rows, O).

    The gradient of gather_rows to its table. Raises ValueError if there is not one
    row number for each value, IndexError if one is not in 0..n_rows-1.
    """
    if not has_kernels(ops):
        return reference_ops.scatter_add_rows(ops, values, rows, n_rows)
    dY = numpy.ascontiguousarray(values)
    index = _as_index("scatter_add_rows", rows, n_rows)
    _check_length("scatter_add_rows", "values", len(dY), "rows", len(index))
    out = numpy.zeros((n_rows, dY.shape[1]), dtype=dY.dtype)
    _ops.scatter_add_rows(dY, index, out)
    return cast(Floats2d, out)


def sum_rows(ops: Ops, table: Floats2d, rows: Ints1d, lengths: Ints1d) -> Floats2d:
    """Sum the table rows of each segment.

    table: (V, O); rows: (P,) int32, entries 0..V-1; lengths: (T,) int32, sum P.
    Returns (T, O), zeros for a segment of length 0.
    Raises ValueError on lengths that do not add up to P, IndexError on a bad row.
    """
    if not has_kernels(ops):
        return reference_ops.sum_rows(ops, table, rows, lengths)
    E, index, starts = _segments("sum_rows", table, rows, lengths)
    out = numpy.zeros((len(lengths), E.shape[1]), dtype=E.dtype)
    _ops.sum_rows(E, index, starts, out)
    return cast(Floats2d, out)


def scatter_add_sums(
    ops: Ops, values: Floats2d, rows: Ints1d, lengths: Ints1d, n_rows: int
) -> Floats2d:
    """Gradient of sum_rows to its table.

    values: (T, O); rows: (P,) int32, entries 0..n_rows-1; lengths: (T,), sum P.
    Returns (n_rows, O). Raises ValueError and IndexError as sum_rows does.
    """
    if not has_kernels(ops):
        return reference_ops.scatter_add_sums(ops, values, rows, lengths, n_rows)
    return _scatter_add(_ops.scatter_add_sums, values, rows, lengths, n_rows)


def mean_rows(ops: Ops, table: Floats2d, rows: Ints1d, lengths: Ints1d) -> Floats2d:
    """Average the table rows of each segment; otherwise like sum_rows."""
    if not has_kernels(ops):
        return reference_ops.mean_rows(ops, table, rows, lengths)
    E, index, starts = _segments("mean_rows", table, rows, lengths)
    out = numpy.empty((len(lengths), E.shape[1]), dtype=E.dtype)
    _ops.mean_rows(E, index, starts, out)
    return cast(Floats2d, out)


def scatter_add_means(
    ops: Ops, values: Floats2d, rows: Ints1d, lengths: Ints1d, n_rows: int
) -> Floats2d:
    """Gradient of mean_rows to its table; otherwise like scatter_add_sums."""
    if not has_kernels(ops):
        return reference_ops.scatter_add_means(ops, values, rows, lengths, n_rows)
    return _scatter_add(_ops.scatter_add_means, values, rows, lengths, n_rows)


def max_rows(
    ops: Ops, table: Floats2d, rows: Ints1d, lengths: Ints1d
) -> Tuple[Floats2d, Ints2d]:
    """Take the largest of each column over the table rows of each segment.

    Takes and raises what sum_rows does.
    Returns (Y, which): Y (T, O), zeros for a segment of length 0; which (T, O) int32,
        the table row that each value is from, the first of equal ones; -1 if none.
    """
    if not has_kernels(ops):
        return reference_ops.max_rows(ops, table, rows, lengths)
    E, index, starts = _segments("max_rows", table, rows, lengths)
    out = numpy.empty((len(lengths), E.shape[1]), dtype=E.dtype)
    which = numpy.empty(out.shape, dtype="i")
    _ops.max_rows(E, index, starts, out, which)
    return cast(Floats2d, out), cast(Ints2d, which)


def scatter_add_maxes(
    ops: Ops, values: Floats2d, which: Ints2d, n_rows: int
) -> Floats2d:
    """Gradient of max_rows to its table: (T, O) and the `which` it gave to (n_rows, O).

    Raises ValueError if the shapes differ, IndexError on an entry not in -1..n_rows-1.
    """
    if values.shape != which.shape:
        raise ValueError(
            f"scatter_add_maxes: values are {values.shape} and which is {which.shape}; "
            "give one entry of which for each value"
        )
    if not has_kernels(ops):
        return reference_ops.scatter_add_maxes(ops, values, which, n_rows)
    dY = numpy.ascontiguousarray(values)
    source = numpy.ascontiguousarray(which, dtype="i")
    if source.min(initial=-1) < -1 or source.max(initial=-1) >= n_rows:
        raise IndexError(
            f"scatter_add_maxes: which is {source.min()} to {source.max()}, but the "
            f"table has {n_rows} rows; give entries of -1 to {n_rows - 1}"
        )
    out = numpy.zeros((n_rows, dY.shape[1]), dtype=dY.dtype)
    _ops.scatter_add_maxes(dY, source, out)
    return cast(Floats2d, out)


def _segments(
    name: str, table: Floats2d, rows: Ints1d, lengths: Ints1d
) -> Tuple[NDArray, NDArray, NDArray]:
    """Check what sum_rows takes; return table, rows and starts for the kernels."""
    index = _as_index(name, rows, len(table))
    starts = segment_starts(name, lengths, len(index))
    return numpy.ascontiguousarray(table), index, starts


def _scatter_add(
    kernel: Any, values: Floats2d, rows: Ints1d, lengths: Ints1d, n_rows: int
) -> Floats2d:
    """Check what scatter_add_sums takes, and run the kernel of that name."""
    name, dY = kernel.__name__, numpy.ascontiguousarray(values)
    index = _as_index(name, rows, n_rows)
    _check_length(name, "values", len(dY), "lengths", len(lengths))
    starts = segment_starts(name, lengths, len(index))
    out = numpy.zeros((n_rows, dY.shape[1]), dtype=dY.dtype)
    kernel(dY, index, starts, out)
    return cast(Floats2d, out)


def _as_index(name: str, rows: Ints1d, n_rows: int) -> NDArray:
    """Return row numbers as int32, or raise IndexError if one is not 0..n_rows-1."""
    index = numpy.ascontiguousarray(rows, dtype="i")
    bad = _ops.first_outside(index, n_rows)
    if bad >= 0:
        raise IndexError(
            f"{name}: rows[{bad}] is {rows[bad]}, but the table has {n_rows} rows; "
            "take row numbers modulo the number of rows"
        )
    return index


def _check_length(name: str, what: str, n: int, other: str, n_other: int) -> None:
    if n != n_other:
        raise ValueError(
            f"{name}: {n} {what} were given with {n_other} {other}; give one of "
            f"{other} for each of {what}"
        )


def segment_starts(name: str, lengths: Ints1d, total: int) -> NDArray:
    """Where each segment starts, and the end: (T,) lengths to (T + 1,) int32."""
    counts = numpy.asarray(lengths, dtype="int64")
    if counts.sum() != total or (counts < 0).any():
        raise ValueError(
            f"{name}: the lengths add up to {counts.sum()}, the smallest is "
            f"{counts.min(initial=0)}, but there are {total} rows; give lengths of 0 "
            "or more that add up to the number of rows"
        )
    starts = numpy.zeros(len(counts) + 1, dtype="i")
    numpy.cumsum(counts, out=starts[1:])
    return starts
