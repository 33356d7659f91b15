"""Where sentences, paragraphs and words start, and where to cut between them.

A sentence ends with a mark, with the closing quotes and brackets that follow it without
space, or with a line break. The rule is written twice: for docs, and for characters of
texts that are too long to tokenize at once.
"""

import re
from itertools import pairwise
from typing import List, Tuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import IS_QUOTE, IS_RIGHT_PUNCT, IS_SPACE, LENGTH, ORTH, SPACY
from spacy.tokens import Doc, Span

# Closing marks that aren't right punctuation to spaCy.
CLOSERS = ("」", "』", "\uff09")
MARKS = (".", "!", "?", "…", "...", "?!", "!!", "。", "\uff01", "\uff1f", "।")
LINE_BREAKS = frozenset("\n\r\u2028\u2029")
# The rule for characters; the space after a sentence is part of it. After marks of
# scripts with spaces, a word may continue (3.5), unless white space follows.
SENTENCE_END = re.compile(
    r"[.!?…][\"'”’»)\]]*\s+|[。！？][\"'”’»)\]」』）]*\s*|\n\s*"  # noqa: RUF001
)
# Two line breaks with nothing but space between them, and the space that follows.
BLANK_LINE = re.compile(r"(?:(?>\r\n?|\n)[^\S\r\n]*(?>\r\n?|\n)|\u2029)\s*")
# Where no word starts.
NONE = numpy.zeros(0, dtype="int64")


def token_chars(doc: Doc) -> Tuple[NDArray, NDArray]:
    """Return the first character of each token and the one after it, (N,) int64."""
    columns = doc.to_array([LENGTH, SPACY]).astype("int64")
    after = numpy.cumsum(columns.sum(axis=1))
    return after - columns.sum(axis=1), after - columns[:, 1]


def word_starts(doc: Doc) -> NDArray:
    """Return the non-space tokens that follow white space: int64, sorted."""
    columns = doc.to_array([SPACY, IS_SPACE]).astype(bool)
    is_start = numpy.zeros(len(doc), dtype=bool)
    is_start[1:] = columns[:-1].any(axis=1) & ~columns[1:, 1]
    return numpy.flatnonzero(is_start)


def sentence_starts(doc: Doc) -> NDArray:
    """Return the tokens that start a sentence: int64, sorted; the first may be missing.

    They come from the doc's annotation, if it has any; else from the rule above.
    """
    if doc.has_annotation("SENT_START"):
        return numpy.flatnonzero(doc.to_array("SENT_START") == 1)
    columns = doc.to_array([ORTH, SPACY, IS_SPACE, IS_QUOTE, IS_RIGHT_PUNCT])
    is_space = columns[:, 2] == 1
    is_glued = numpy.concatenate([[False], columns[:-1, 1] == 0])
    is_closer = columns[:, 3:].any(axis=1) | _are(doc, columns[:, 0], CLOSERS)
    is_closing = is_closer & is_glued
    is_end = _are(doc, columns[:, 0], MARKS)
    for i in numpy.flatnonzero(is_space):
        is_end[i] = not LINE_BREAKS.isdisjoint(doc[int(i)].text)
    # What decides is the last token that isn't space or closing, or breaks the line.
    counts = is_end | ~(is_space | is_closing)
    last = numpy.maximum.accumulate(numpy.where(counts, numpy.arange(len(doc)), 0))
    is_start = numpy.zeros(len(doc), dtype=bool)
    is_start[1:] = is_end[last[:-1]] & ~(is_space | is_closing)[1:]
    return numpy.flatnonzero(is_start)


def paragraph_starts(doc: Doc) -> NDArray:
    """Return the tokens that start a paragraph after a blank line: int64, sorted.

    A blank line is two line breaks with nothing but spaces and tabs between them, or
    one U+2029. Its own tokens, and the space after it, end the paragraph before.
    """
    ends = [match.end() for match in BLANK_LINE.finditer(doc.text)]
    if not ends:
        return numpy.zeros(0, dtype="int64")
    first, _ = token_chars(doc)
    starts = numpy.unique(numpy.searchsorted(first, ends))
    return starts[(starts > 0) & (starts < len(doc))]


def cut_text(text: str, max_chars: int) -> int:
    """Return where to cut a text so that the first part has max_chars or fewer.

    After the last sentence in the second half of what fits; without one after the last
    white space that fits; without any, after max_chars. At least 1.
    """
    matches = SENTENCE_END.finditer(text, max_chars // 2, max_chars)
    if ends := [match.end() for match in matches]:
        return ends[-1]
    parts = text[:max_chars].rsplit(maxsplit=1)
    if text[max_chars - 1].isspace() or len(parts) < 2:
        return max_chars
    return max_chars - len(parts[1])


def choose_cut(
    sizes: NDArray,
    aim: float,
    low: int,
    high: int,
    sentences: NDArray,
    words: NDArray = NONE,
) -> int:
    """Return the best of the items low to high, both included, to cut before.

    That is the start of a sentence nearest to the aim; else the first start of a word
    at or after the aim, or the last one before it; else the first item at or after it.

    sizes: (N + 1,), sorted: what comes before each of the N items, and all of it.
    aim: What should come before the cut, in the unit of sizes.
    sentences, words: Items that start one, sorted.
    """
    near = _between(sentences, low, high)
    if len(near):
        return int(near[numpy.abs(sizes[near] - aim).argmin()])
    places = _between(words, low, high)
    if len(places):
        later = places[sizes[places] >= aim]
        return int(later[0] if len(later) else places[-1])
    return min(max(int(numpy.searchsorted(sizes, aim)), low), high)


def even_cuts(
    sizes: NDArray,
    max_size: int,
    sentences: NDArray,
    words: NDArray = NONE,
    context: int = 0,
) -> List[int]:
    """Cut N items into as few parts as fit, of about equal size: the inner cuts.

    A part is larger than max_size only if it is one item.

    sizes, sentences, words: As in choose_cut; cuts are in the second half of a part.
    context: What a part has in common with each neighbour; is kept free for it.
    """
    n, start, room = len(sizes) - 1, 0, max_size
    cuts: List[int] = []
    while sizes[n] - sizes[start] > room and n - start > 1:
        n_parts = max(2, -(-(sizes[n] - sizes[start]) // (max_size - 2 * context)))
        aim = sizes[start] + (sizes[n] - sizes[start]) / n_parts
        fits = numpy.searchsorted(sizes, sizes[start] + room - context, "right") - 1
        high = min(max(start + 1, int(fits)), n - 1)
        low = after_half(sizes, start, aim)
        start = choose_cut(sizes, aim, low, high, sentences, words)
        cuts.append(start)
        room = max_size - context
    return cuts


def after_half(sizes: NDArray, start: int, aim: float) -> int:
    """Return the first item after start in the second half of the way to the aim."""
    half = numpy.searchsorted(sizes, (sizes[start] + aim) / 2, side="right")
    return max(int(half), start + 1)


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


def _are(doc: Doc, ids: NDArray, texts: Tuple[str, ...]) -> NDArray:
    """Return which IDs of words are those of the texts, (N,) bool."""
    known = [doc.vocab.strings[text] for text in texts]
    return numpy.isin(ids, numpy.asarray(known, dtype="uint64"))


def _between(places: NDArray, low: int, high: int) -> NDArray:
    """Return those of the sorted places from low to high, both included."""
    return places[places.searchsorted(low) : places.searchsorted(high, side="right")]
