"""Turns texts into docs: tokenizes them, splits long ones and joins short ones."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import NORM, ORTH, SPACY
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from .boundaries import choose_cut, cut_text, sentence_starts
from .read import Piece

# Of a text to tokenize. Some tokenizers refuse 50,000 bytes.
MAX_CHARACTERS = 16_000
# The time of spaCy's tokenizer grows with more than the square of a run without white
# space: 16,000 exclamation marks take half a minute. Texts with a longer run are cut
# into parts of this many characters.
MAX_RUN = 2_000


@dataclass
class Counts:
    """Count what became of texts.

    texts: Texts that are not blank. docs, tokens: What they were turned into.
    split: Texts that were split into several docs. joined: Texts that were joined to
        the next one. blank: Texts of nothing but white space, which are left out.
    """

    texts: int = 0
    docs: int = 0
    tokens: int = 0
    split: int = 0
    joined: int = 0
    blank: int = 0

    def add(self, other: Dict[str, int]) -> None:
        """Add the counts that are given by their names."""
        for field in fields(self):
            value = getattr(self, field.name) + int(other.get(field.name, 0))
            setattr(self, field.name, value)

    def as_dict(self) -> Dict[str, int]:
        """Return the counts by their names."""
        return asdict(self)


@dataclass(frozen=True)
class Lengths:
    """Set how long docs are, in tokens.

    max_length: Longer texts are split; min_length or more.
    min_length: Shorter texts count as short; 0 or more.
    join_short: Whether a short text is joined to the next one.
    """

    max_length: int = 500
    min_length: int = 5
    join_short: bool = True


def make_docs(
    nlp: Language, pieces: Iterable[Piece], lengths: Lengths, counts: Counts
) -> Iterator[Doc]:
    """Tokenize the texts of a file, split long ones and join short ones.

    A text is split between sentences where possible, else between any tokens, into docs
    of max_length tokens or fewer, and of min_length or more where possible. A short
    text is joined to the next one by a space; the last one becomes a doc of its own.
    Only texts, and parts of them, that are nothing but white space are left out. The
    docs have words, spaces and norms.

    pieces: Texts of one file. counts: All but docs and tokens are added to.
    """
    short: Optional[Doc] = None
    is_split = False
    for text, starts in _bounded(pieces, min(MAX_CHARACTERS, nlp.max_length), counts):
        doc = nlp.make_doc(text)
        is_split = is_split and not starts
        if short is not None:
            counts.joined += starts
            doc = _join(short, doc, apart=starts)
            short = None
        if lengths.join_short and len(doc) < lengths.min_length:
            short = doc
            continue
        parts = list(_split(doc, lengths))
        if not is_split and (len(parts) > 1 or not starts):
            counts.split += 1
            is_split = True
        yield from parts
    if short is not None and len(short):
        yield short


def build_doc(vocab: Vocab, rows: NDArray) -> Doc:
    """Make a doc from ORTH, SPACY and NORM of each token, (N, 3) uint64."""
    spaces = rows[:, 1].astype(bool).tolist()
    doc = Doc(vocab, words=rows[:, 0].tolist(), spaces=spaces)
    # Tokenizers give some tokens a norm of their own, "not" for "n't".
    norms: Any = rows[:, 2]
    return doc.from_array([NORM], norms)


def doc_rows(doc: Doc) -> NDArray:
    """Return ORTH, SPACY and NORM of each token, (N, 3) uint64."""
    return doc.to_array([ORTH, SPACY, NORM]).reshape(-1, 3)


def _bounded(
    pieces: Iterable[Piece], max_chars: int, counts: Counts
) -> Iterator[Piece]:
    """Cut pieces that are too long for the tokenizer; leave out and count blank ones.

    A text starts with its first part that is not blank.
    """
    is_new = False
    for text, starts in pieces:
        counts.blank += starts and is_new
        is_new = is_new or starts
        for part in _parts(text, max_chars):
            run = max(map(len, part.split())) if len(part) > MAX_RUN else 0
            for small in _parts(part, MAX_RUN if run > MAX_RUN else max_chars):
                yield Piece(small, is_new)
                counts.texts += is_new
                is_new = False
    counts.blank += is_new


def _parts(text: str, max_chars: int) -> Iterator[str]:
    """Cut a text into parts of max_chars or fewer; leave out blank ones."""
    start = 0
    while start < len(text):
        end = start + max_chars
        if end < len(text):
            end = start + cut_text(text[start:end], max_chars)
        part = text[start:end]
        if not part.isspace():
            yield part
        start = end


def _join(first: Doc, second: Doc, apart: bool) -> Doc:
    rows = numpy.concatenate([doc_rows(first), doc_rows(second)])
    if apart and len(first) and not first[-1].is_space:
        rows[len(first) - 1, 1] = 1
    return build_doc(second.vocab, rows)


def _split(doc: Doc, lengths: Lengths) -> Iterator[Doc]:
    if len(doc) <= lengths.max_length:
        if len(doc):
            yield doc
        return
    rows = doc_rows(doc)
    for start, end in _cuts(doc, lengths):
        if not all(token.is_space for token in doc[start:end]):
            yield build_doc(doc.vocab, rows[start:end])


def _cuts(doc: Doc, lengths: Lengths) -> Iterator[Tuple[int, int]]:
    """Yield start and end of the parts of a doc, as long as they may be."""
    starts, sizes = sentence_starts(doc), numpy.arange(len(doc) + 1)
    start = 0
    while (rest := len(doc) - start) > lengths.max_length:
        # Leave enough for the rest not to be short either.
        longest = min(lengths.max_length, rest - lengths.min_length)
        shortest = max(1, min(longest, lengths.min_length))
        high = start + longest
        end = choose_cut(sizes, high, start + shortest, high, starts)
        yield start, end
        start = end
    yield start, len(doc)
