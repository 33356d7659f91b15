"""Docs as the wordpieces of a transformer, in windows that it takes at once."""

from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

SENTENCE_ENDS = frozenset([".", "!", "?", "…", "。", "\uff01", "\uff1f", "\n", "\n\n"])


@dataclass(frozen=True)
class Window:
    """Wordpieces that are encoded as one text.

    ids: n IDs. pieces, tokens: (M,) int64 pairs of a wordpiece, 0 to n - 1, and a token
        that it covers, by its place among the tokens of all docs.
    """

    ids: Sequence[int]
    pieces: NDArray
    tokens: NDArray


def cut_windows(
    doc: Doc, encoding: Any, first_token: int, size: int, unknown: Optional[int]
) -> Iterator[Window]:
    """Yield the windows of a doc; none, if it has no wordpieces.

    encoding: Of the doc's text, by a fast tokenizer, without marks.
    first_token: Place of the doc's first token. size: Wordpieces of a window, 1 or
        more. unknown: ID of the wordpiece that counts for no token.
    """
    ids = numpy.asarray(encoding.ids, dtype="int64")
    if not len(ids):
        return
    first, last = align(doc, numpy.asarray(encoding.offsets, dtype="int64"))
    for start, end in _cuts(doc, first, last, size):
        n_covered = numpy.maximum(last[start:end] - first[start:end] + 1, 0)
        n_covered[ids[start:end] == unknown] = 0
        pieces = numpy.repeat(numpy.arange(end - start), n_covered)
        nth = numpy.arange(len(pieces)) - numpy.repeat(
            numpy.cumsum(n_covered) - n_covered, n_covered
        )
        tokens = first[start:end][pieces] + nth + first_token
        yield Window(encoding.ids[start:end], pieces, tokens)


def align(doc: Doc, offsets: NDArray) -> Tuple[NDArray, NDArray]:
    """Return the first and the last token that each wordpiece covers, (n,) int64 each.

    offsets: (n, 2) int64, characters of the doc's text from start to end.
    Those of a wordpiece that is nothing but space between tokens, or of no characters,
    cross: its first token is behind its last.
    """
    starts = numpy.asarray([token.idx for token in doc], dtype="int64")
    ends = starts + [len(token) for token in doc]
    # The first token that ends behind the start, the last that starts before the end.
    first = numpy.searchsorted(ends, offsets[:, 0], side="right")
    last = numpy.searchsorted(starts, offsets[:, 1], side="left") - 1
    last[offsets[:, 0] >= offsets[:, 1]] = -1
    return first, last


def _cuts(
    doc: Doc, first: NDArray, last: NDArray, size: int
) -> Iterator[Tuple[int, int]]:
    """Yield start and end of each window among the n wordpieces."""
    n = len(first)
    if n <= size:
        yield 0, n
        return
    # A window may start at a piece that has no token in common with any before.
    behind = numpy.maximum.accumulate(last)
    is_start = numpy.concatenate([[True], first[1:] > behind[:-1], [True]])
    places = numpy.flatnonzero(is_start)
    ends = numpy.asarray([token.text in SENTENCE_ENDS for token in doc])
    is_end = numpy.concatenate([[False], ends[numpy.maximum(behind, 0)]]) & is_start
    start = 0
    while start < n:
        stop = _next_cut(places, is_end, start, n, size)
        yield start, min(stop, start + size)
        start = stop


def _next_cut(places: NDArray, is_end: NDArray, start: int, n: int, size: int) -> int:
    """Return where the next window starts: all that are left are of like length."""
    if n - start <= size:
        return n
    n_windows = -(-(n - start) // size)
    aim = start + -(-(n - start) // n_windows)
    low = numpy.searchsorted(places, start, side="right")
    high = numpy.searchsorted(places, start + size, side="right")
    allowed = places[low:high]
    if not len(allowed):
        # One token is longer than the window.
        return int(places[low])
    sentences = allowed[is_end[allowed] & (allowed > (start + aim) // 2)]
    if len(sentences):
        return int(sentences[numpy.abs(sentences - aim).argmin()])
    later = allowed[allowed >= aim]
    return int(later[0] if len(later) else allowed[-1])
