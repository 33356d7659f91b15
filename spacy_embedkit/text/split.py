"""Makes docs of a good length out of texts: splits long ones, joins short ones."""

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

# Characters that are tokenized at once. Some tokenizers refuse 50,000 bytes.
MOST_CHARACTERS = 16_000
# spaCy's tokenizer takes time by the square of a run without whitespace and more: for
# 16,000 exclamation marks half a minute. Texts with a longer run are cut as short.
LONGEST_RUN = 2_000


@dataclass
class Counts:
    """What became of texts.

    texts, docs, tokens: Texts that are not blank, and what was made of them.
    split, joined: Texts that were cut into several docs; that were joined to the next.
    blank: Texts of nothing but whitespace, which make no doc.
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
    """How long docs are to be, in tokens.

    max_length: No doc is longer; min_length or more.
    min_length: A text that is shorter is short, 0 or more.
    join_short: Whether a short text is joined to the next one.
    """

    max_length: int = 500
    min_length: int = 5
    join_short: bool = True


def make_docs(
    nlp: Language, pieces: Iterable[Piece], lengths: Lengths, counts: Counts
) -> Iterator[Doc]:
    """Tokenize the texts of a file, split what is long and join what is short.

    A text is split after sentences, else anywhere, into docs of min_length to
    max_length tokens where it can be. A short one goes before the next, with a space
    between; at the end of the file it is a doc. No token is lost but for parts and
    texts of nothing but whitespace. The docs have words, spaces and norms.
    counts: Is added to, but for docs and tokens.
    """
    short: Optional[Doc] = None
    is_split = False
    for text, starts in _bounded(pieces, min(MOST_CHARACTERS, nlp.max_length), counts):
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
    """Make a doc of uint64 (N, 3): ORTH, SPACY, and NORM or 0 for that of the word."""
    spaces = rows[:, 1].astype(bool).tolist()
    doc = Doc(vocab, words=rows[:, 0].tolist(), spaces=spaces)
    # Tokenizers give some tokens a norm of their own, "not" for "n't".
    norms: Any = rows[:, 2]
    return doc.from_array([NORM], norms) if norms.any() else doc


def doc_rows(doc: Doc) -> NDArray:
    """Return ORTH, SPACY and NORM of each token, (N, 3) uint64."""
    return doc.to_array([ORTH, SPACY, NORM]).reshape(-1, 3)


def _bounded(pieces: Iterable[Piece], most: int, counts: Counts) -> Iterator[Piece]:
    """Cut pieces that are too long for the tokenizer; leave out and count blank ones.

    A text whose first parts are blank starts with the next.
    """
    is_new = False
    for text, starts in pieces:
        counts.blank += starts and is_new
        is_new = is_new or starts
        for part in _parts(text, most):
            run = max(map(len, part.split())) if len(part) > LONGEST_RUN else 0
            for small in _parts(part, LONGEST_RUN if run > LONGEST_RUN else most):
                yield Piece(small, is_new)
                counts.texts += is_new
                is_new = False
    counts.blank += is_new


def _parts(text: str, most: int) -> Iterator[str]:
    """Cut a text into parts of `most` characters or less; leave out blank ones."""
    start = 0
    while start < len(text):
        end = start + most
        if end < len(text):
            end = start + cut_text(text[start:end], most)
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
        # The rest should not be short either.
        longest = min(lengths.max_length, rest - lengths.min_length)
        shortest = max(1, min(longest, lengths.min_length))
        high = start + longest
        end = choose_cut(sizes, high, start + shortest, high, starts)
        yield start, end
        start = end
    yield start, len(doc)
