"""The rows nearest to a query, exactly, in bounded memory."""

from typing import TYPE_CHECKING, Any, Sequence, Tuple, Union

import numpy
from numpy.typing import NDArray
from spacy.strings import get_string_id

from ..checks import InputError

if TYPE_CHECKING:
    from .table import Table

# Rows decoded and compared at a time.
BLOCK = 1 << 14


def most_similar(
    table: "Table", queries: Any, n: int, batch_size: int = 1024
) -> Tuple[NDArray, NDArray]:
    """Find the n rows of the highest cosine for each query, among rows that have a key.

    queries: (Q, O) numbers; a query of zeros has cosine 0 to all.
    Returns (rows, scores): (Q, n) int32 and (Q, n) float32 from -1 to 1, descending.
    Raises: ValueError if the table has no keys, or fewer than n rows with one.
    """
    if table.keys is None:
        raise ValueError("most_similar: a table of n-grams has no words to return")
    queries = queries.get() if hasattr(queries, "get") else queries
    queries = unit_rows(numpy.array(queries, dtype="f", ndmin=2))
    candidates = numpy.unique(table.keys.arrays["key_rows"])
    if len(candidates) and not 0 <= candidates[0] <= candidates[-1] < len(table.rows):
        raise InputError(
            f"most_similar: a key has row {candidates[0]} or {candidates[-1]}, but "
            f"there are {len(table.rows)}; the table is damaged, make it again"
        )
    if not 1 <= n <= len(candidates):
        raise ValueError(
            f"most_similar: n is {n}, but it has to be 1 to {len(candidates)}, the "
            "number of rows that have a key"
        )
    best = [
        _most_similar(table, queries[i : i + batch_size], n, candidates)
        for i in range(0, max(1, len(queries)), batch_size)
    ]
    rows, scores = (numpy.concatenate(parts) for parts in zip(*best, strict=True))
    return rows, scores.clip(-1, 1)


def _most_similar(
    table: "Table", queries: NDArray, n: int, candidates: NDArray
) -> Tuple[NDArray, NDArray]:
    rows = numpy.empty((len(queries), 0), dtype="i")
    scores = numpy.empty((len(queries), 0), dtype="f")
    for start in range(0, len(candidates), BLOCK):
        block = candidates[start : start + BLOCK].astype("i")
        cosines = queries @ unit_rows(table.rows.take(block)).T
        scores = numpy.concatenate([scores, cosines], axis=1)
        rows = numpy.concatenate(
            [rows, numpy.broadcast_to(block, cosines.shape)], axis=1
        )
        if scores.shape[1] > n:
            kept = numpy.argpartition(-scores, n - 1, axis=1)[:, :n]
            scores = numpy.take_along_axis(scores, kept, axis=1)
            rows = numpy.take_along_axis(rows, kept, axis=1)
    # Equal scores in the order of the rows, so that the result is always the same.
    order = numpy.lexsort((rows, -scores), axis=1)
    return (
        numpy.take_along_axis(rows, order, axis=1),
        numpy.take_along_axis(scores, order, axis=1),
    )


def nearest_rows(kept: NDArray, queries: NDArray) -> NDArray:
    """Return the row of kept, (K, O), with the highest cosine to each query: (Q,)."""
    unit = unit_rows(kept)
    best = numpy.zeros(len(queries), dtype="int64")
    scores = numpy.full(len(queries), -numpy.inf, dtype="f")
    for start in range(0, len(unit), BLOCK):
        # The length of a query does not change which row is the nearest.
        cosines = queries @ unit[start : start + BLOCK].T
        found = cosines.argmax(axis=1)
        score = numpy.take_along_axis(cosines, found[:, None], axis=1)[:, 0]
        better = score > scores
        best[better], scores[better] = found[better] + start, score[better]
    return best


def unit_rows(X: NDArray) -> NDArray:
    """Divide each row by its length; rows of zeros stay."""
    norms = numpy.linalg.norm(X, axis=1, keepdims=True)
    return X / numpy.where(norms == 0, 1, norms)


def keys_of_rows(table: "Table", rows: Union[NDArray, Sequence[int]]) -> NDArray:
    """Return a key of each row, (N,) uint64; KeyError if a row has none."""
    assert table.keys is not None
    assert table.words is not None
    keys = numpy.zeros(len(rows), dtype="uint64")
    for i, row in enumerate(rows):
        key = get_string_id(table.words[int(row)])
        if table.keys.get(key) != row:
            # The word is not known, or is the key of another row: search all entries.
            [found] = numpy.nonzero(table.keys.arrays["key_rows"] == row)
            if not len(found):
                raise KeyError(f"vectors: row {row} has no key")
            key = table.keys.arrays["keys"][found[0]]
        keys[i] = key
    return keys
