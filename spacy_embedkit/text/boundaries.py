"""Where sentences, paragraphs and words of a doc start, and where spans meet."""

import re
from itertools import pairwise
from typing import List, Tuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import IS_QUOTE, IS_RIGHT_PUNCT, IS_SPACE, LENGTH, ORTH, SPACY
from spacy.tokens import Doc, Span

# Two line breaks with nothing but space between them, and the space that follows.
BLANK_LINE = re.compile(r"(?:(?>\r\n?|\n)[^\S\r\n]*(?>\r\n?|\n)|\u2029)\s*")
LINE_BREAKS = frozenset("\n\r\u2028\u2029")
SENTENCE_ENDS = (".", "!", "?", "…", "...", "?!", "!!", "。", "\uff01", "\uff1f", "।")


def token_chars(doc: Doc) -> Tuple[NDArray, NDArray]:
    """Return the first character of each token and the one behind it, (N,) int64."""
    columns = doc.to_array([LENGTH, SPACY]).astype("int64")
    behind = numpy.cumsum(columns.sum(axis=1))
    return behind - columns.sum(axis=1), behind - columns[:, 1]


def word_starts(doc: Doc) -> NDArray:
    """Return the tokens that stand behind white space and are none: int64, sorted."""
    columns = doc.to_array([SPACY, IS_SPACE]).astype(bool)
    is_start = numpy.zeros(len(doc), dtype=bool)
    is_start[1:] = columns[:-1].any(axis=1) & ~columns[1:, 1]
    return numpy.flatnonzero(is_start)


def sentence_starts(doc: Doc) -> NDArray:
    """Return the tokens that start a sentence: int64, sorted; the first may lack.

    Those of the doc's annotation, if it has any; else those behind a mark that ends
    sentences, with the closing quotes and brackets that follow it, or behind a line
    break.
    """
    if doc.has_annotation("SENT_START"):
        return numpy.flatnonzero(doc.to_array("SENT_START") == 1)
    attrs = [ORTH, SPACY, IS_SPACE, IS_QUOTE, IS_RIGHT_PUNCT]
    columns = doc.to_array(attrs)
    is_space = columns[:, 2] == 1
    is_glued = numpy.concatenate([[False], columns[:-1, 1] == 0])
    is_closing = columns[:, 3:].any(axis=1) & is_glued
    ends = [doc.vocab.strings[mark] for mark in SENTENCE_ENDS]
    is_end = numpy.isin(columns[:, 0], numpy.asarray(ends, dtype="uint64"))
    for i in numpy.flatnonzero(is_space):
        is_end[i] = not LINE_BREAKS.isdisjoint(doc[int(i)].text)
    # The last token that is no space or closing mark, unless it breaks the line.
    counts = is_end | ~(is_space | is_closing)
    last = numpy.maximum.accumulate(numpy.where(counts, numpy.arange(len(doc)), 0))
    is_start = numpy.zeros(len(doc), dtype=bool)
    is_start[1:] = is_end[last[:-1]] & ~(is_space | is_closing)[1:]
    return numpy.flatnonzero(is_start)


def paragraph_starts(doc: Doc) -> NDArray:
    """Return the tokens that start a paragraph behind a blank line: int64, sorted.

    A blank line is two line breaks with nothing but spaces and tabs between them, or
    one U+2029. Its own tokens, and the space behind it, end the paragraph before.
    """
    ends = [match.end() for match in BLANK_LINE.finditer(doc.text)]
    if not ends:
        return numpy.zeros(0, dtype="int64")
    first, _ = token_chars(doc)
    starts = numpy.unique(numpy.searchsorted(first, ends))
    return starts[(starts > 0) & (starts < len(doc))]


def pieces_between(starts: NDArray, n: int) -> List[Tuple[int, int]]:
    """Return start and end of the pieces of 0 to n that begin at starts, and at 0."""
    cuts = numpy.unique(numpy.concatenate([[0], starts, [n]])).astype("int64").tolist()
    return list(pairwise(cuts))


def cut_pieces(pieces: List[Tuple[int, int]], size: int) -> List[Tuple[int, int]]:
    """Cut each piece into those of size tokens and one of what is left."""
    return [
        (start, min(start + size, end))
        for first, end in pieces
        for start in range(first, end, size)
    ]


def pack_pieces(pieces: List[Tuple[int, int]], size: int) -> List[Tuple[int, int]]:
    """Join neighbours, from the first on, while they have up to size tokens."""
    packed: List[Tuple[int, int]] = []
    for start, end in pieces:
        if packed and end - packed[-1][0] <= size:
            packed[-1] = (packed[-1][0], end)
        else:
            packed.append((start, end))
    return packed


def core_ranges(spans: List[Span]) -> List[Tuple[int, int]]:
    """Return the tokens to count in each span of a doc, from start to end.

    spans: Sorted by start and by end, without gaps; they may overlap. Each token is in
        one range, that of the span whose edges are farther away: half of an overlap
        counts to each side, a token in its middle to the second.
    """
    cuts = [(left.end + right.start) // 2 for left, right in pairwise(spans)]
    edges = [spans[0].start, *cuts, spans[-1].end] if spans else []
    return list(pairwise(edges))
