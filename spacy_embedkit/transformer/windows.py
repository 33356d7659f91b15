"""Cut docs into windows: wordpieces that a transformer takes at once."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

from ..text.boundaries import even_cuts, sentence_starts, token_chars

# Of the rule by which docs are cut: what is kept of another can't be mixed with it.
RULE = 2


@dataclass(frozen=True)
class Window:
    """Wordpieces that are encoded as one text.

    ids: n IDs, without special ones. pieces, tokens: (M,) int64 pairs of a wordpiece, 0
        to n - 1, and a token that it covers, by its place among the tokens of all docs.
    """

    ids: Sequence[int]
    pieces: NDArray
    tokens: NDArray


def cut_windows(
    doc: Doc, encoding: Any, first_token: int, size: int, unknown: Optional[int]
) -> Iterator[Window]:
    """Yield the windows of a doc; none, if it has no wordpieces.

    encoding: Of the doc's text, by a fast tokenizer, without special wordpieces.
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
    For a wordpiece of nothing but space between tokens, or of no characters, the first
    token comes after the last.
    """
    starts, ends = token_chars(doc)
    # The first token that ends after the start, the last that starts before the end.
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
    covered = numpy.maximum.accumulate(last)
    is_start = numpy.concatenate([[True], first[1:] > covered[:-1], [True]])
    places = numpy.flatnonzero(is_start)
    sentence = numpy.searchsorted(sentence_starts(doc), first[places[:-1]], "right")
    sentences = numpy.flatnonzero(numpy.diff(sentence)) + 1
    cuts = [0, *places[even_cuts(places, size, sentences)].tolist(), n]
    for start, end in pairwise(cuts):
        # A token that is longer than a window is its first pieces.
        yield start, min(end, start + size)
