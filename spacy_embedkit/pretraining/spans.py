"""Masking of spans of words for pretraining."""

from dataclasses import dataclass
from typing import Iterator, List, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import ORTH
from spacy.tokens import Doc

from ..checks import check_positive
from .masking import (
    MASK_RATE,
    MASK_SHARE,
    RANDOM_SHARE,
    Masking,
    TokenMasking,
    WordSample,
    check_rates,
    check_share,
)

# The lengths of Joshi et al. 2020, arXiv:1907.10529.
STOP = 0.2
MAX_LENGTH = 10


@dataclass(frozen=True)
class SpanMasking(TokenMasking):
    """Mask spans of words within a doc; see build_span_masking_v1 for the settings.

    Spans never overlap. They are drawn until their tokens are mask_rate of the batch;
    the last one is kept with a probability that makes this exact on average.
    """

    stop: float = STOP
    max_length: int = MAX_LENGTH
    entities: bool = False

    def __call__(
        self, docs: Sequence[Doc], sample: WordSample
    ) -> Tuple[List[Doc], NDArray]:
        """Choose spans and disguise them."""
        spans = list(self._spans(docs))
        owner = numpy.full(sum(map(len, docs)), -1)
        for i, (begin, end) in enumerate(spans):
            owner[begin:end] = i
        chosen = numpy.flatnonzero(owner >= 0)
        # One roll per span: all of it is disguised in one way.
        roll = numpy.random.random(len(spans))[owner[chosen]]
        return self.disguise(docs, chosen, roll, sample)

    def _spans(self, docs: Sequence[Doc]) -> Iterator[Tuple[int, int]]:
        lengths = [len(doc) for doc in docs]
        n_tokens = sum(lengths)
        ends = numpy.repeat(numpy.cumsum(lengths), lengths)
        starts = numpy.random.permutation(n_tokens)
        reach = numpy.random.geometric(self.stop, n_tokens)
        stops = numpy.minimum(starts + reach.clip(max=self.max_length), ends[starts])
        begins = starts
        if self.entities:
            first, last = entity_runs(docs, self.max_length)
            is_run = first[starts] >= 0
            begins = numpy.where(is_run, first[starts], starts)
            stops = numpy.where(is_run, last[starts], stops)
        taken = bytearray(n_tokens)
        left = self.mask_rate * n_tokens
        for start, begin, stop in zip(
            starts.tolist(), begins.tolist(), stops.tolist(), strict=True
        ):
            if left <= 0:
                return
            if taken[start]:
                continue
            # Shrink it to the gap between the taken tokens on both sides.
            begin = max(begin, taken.rfind(1, begin, start) + 1)
            following = taken.find(1, start, stop)
            stop = stop if following < 0 else following
            if (stop - begin) * numpy.random.random() >= left:
                return
            taken[begin:stop] = b"\1" * (stop - begin)
            left -= stop - begin
            yield begin, stop


def entity_runs(docs: Sequence[Doc], max_length: int) -> Tuple[NDArray, NDArray]:
    """Find the runs of words that start with a capital or contain a digit.

    A run lies within a doc. Runs of more than max_length words, such as headlines in
    capitals and tables, are left out.
    Returns (first, end): (N,) int64 each, the run of each token, -1 outside.
    """
    n_tokens = sum(map(len, docs))
    first, end = numpy.full((2, n_tokens), -1)
    if not n_tokens:
        return first, end
    keys, inverse = numpy.unique(
        numpy.concatenate([doc.to_array([ORTH]) for doc in docs]), return_inverse=True
    )
    strings = docs[0].vocab.strings
    marks = numpy.asarray([_is_marked(strings[int(key)]) for key in keys])
    offset = 0
    for doc in docs:
        marked = marks[inverse[offset : offset + len(doc)]]
        edges = numpy.flatnonzero(numpy.diff(marked, prepend=False, append=False))
        for begin, stop in (edges + offset).reshape(-1, 2).tolist():
            if stop - begin <= max_length:
                first[begin:stop], end[begin:stop] = begin, stop
        offset += len(doc)
    return first, end


def _is_marked(word: str) -> bool:
    return word[:1].isupper() or any(char.isdigit() for char in word)


def build_span_masking_v1(
    mask_rate: float = MASK_RATE,
    mask_share: float = MASK_SHARE,
    random_share: float = RANDOM_SHARE,
    stop: float = STOP,
    max_length: int = MAX_LENGTH,
    entities: bool = False,
) -> Masking:
    """Mask spans of words, so that a word is not given away by its neighbours.

    mask_rate (float): Share of the words that are predicted; above 0, at most 1.
    mask_share (float): Share of the spans whose words are all replaced by [MASK], 0
        to 1.
    random_share (float): Share of the spans whose words are each replaced by a random
        word of the text read so far, 0 to 1. The sum of both shares is at most 1; the
        other spans stay as they are.
    stop (float): Probability that a span ends after each word; above 0, at most 1. 0.2
        gives spans of 3.8 words on average.
    max_length (int): Maximum number of words in a span; 1 or more.
    entities (bool): Whether a span that starts in a run of words with a capital first
        letter or a digit becomes that run, if it has at most max_length words.
    Raises: ValueError if a number is out of range.
    Source: Joshi et al. 2020, arXiv:1907.10529.
    """
    name = "span_masking.v1"
    check_rates(name, mask_rate, mask_share, random_share)
    check_share(name, "stop", stop, above_zero=True)
    check_positive(name, max_length=max_length)
    return SpanMasking(
        mask_rate, mask_share, random_share, stop, max_length, entities=entities
    )
