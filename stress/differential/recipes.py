"""What docs are made of, so that two pipelines can make the same ones."""

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy
from spacy.language import Language
from spacy.tokens import Doc

# Letters from many scripts, marks, joiners, controls, and planes beyond the first.
ODD = (
    "é\u0301\u0336ß\u017f\ufb01\u0131İΣςَשّคำ한글東京\u3000🙂\U0001f469\u200d\U0001f52c\U0001f1eb\u200b"
    "\u202e\ufeff\ufffd\x00\x07\x7f\u2028\U0010ffff\ud7ff\ue000~`<>&%\\\"'"
)
# No spaCy word is empty, but these are close to it.
ODD_WORDS = (
    " ",
    "\n",
    "\t \r\n",
    "\u00a0",
    "\u200b",
    "''",
    "...",
    "x" * 3000,
    "0",
    "-",
)


@dataclass(frozen=True)
class Recipe:
    """A document before any pipeline has seen it.

    text: Goes through the tokenizer; None if words, with a space after each or not,
    make the doc. norms: NORM of tokens by their place. merges: Spans of tokens,
    first and last + 1, that become one each.
    """

    text: str | None = None
    words: tuple[str, ...] = ()
    spaces: tuple[bool, ...] = ()
    norms: dict[int, str] = field(default_factory=dict)
    merges: tuple[tuple[int, int], ...] = ()

    def make(self, nlp: Language) -> Doc:
        """Make the doc of a pipeline."""
        if self.text is not None:
            return nlp.make_doc(self.text)
        doc = Doc(nlp.vocab, words=list(self.words), spaces=list(self.spaces))
        if self.merges:
            with doc.retokenize() as retokenizer:
                for start, end in self.merges:
                    retokenizer.merge(doc[start:end])
        for i, norm in self.norms.items():
            if i < len(doc):
                doc[i].norm_ = norm
        return doc


class Writer:
    """Makes up documents; the same seed makes the same ones.

    texts: Lines to take documents from instead, in turn.
    """

    def __init__(self, seed: list[int], texts: list[str] | None = None) -> None:
        self.random = numpy.random.default_rng(seed)
        self.texts = texts or []
        self._pool = [self._word() for _ in range(3000)]
        self._n_new = 0
        self._n_texts = 0

    def _word(self) -> str:
        places = self.random.integers(0, 26, self.random.integers(2, 8))
        word = "".join(string.ascii_lowercase[place] for place in places.tolist())
        return word.title() if self.random.random() < 0.15 else word

    def usual(self, n: int) -> list[Recipe]:
        """Make short docs of words that come up again, some far more often."""
        if self.texts:
            return [self._next_text() for _ in range(n)]
        lengths = self.random.integers(5, 16, n)
        ranks = self.random.zipf(1.3, int(lengths.sum())) % len(self._pool)
        words = iter([self._pool[rank] for rank in ranks.tolist()])
        docs = [tuple(next(words) for _ in range(k)) for k in lengths.tolist()]
        return [Recipe(words=doc, spaces=(True,) * len(doc)) for doc in docs]

    def _next_text(self) -> Recipe:
        self._n_texts += 1
        return Recipe(text=self.texts[self._n_texts % len(self.texts)])

    def new(self, n: int) -> list[Recipe]:
        """Make docs of words that have not been seen before."""
        docs = []
        for k in self.random.integers(5, 16, n).tolist():
            first, self._n_new = self._n_new, self._n_new + k
            words = tuple(_new_word(i) for i in range(first, self._n_new))
            docs.append(Recipe(words=words, spaces=(True,) * k))
        return docs

    def odd(self, n: int) -> list[Recipe]:
        """Make docs that no tokenizer would: empty, merged, oddly spaced or spelt."""
        return [self._odd() for _ in range(n)]

    def _odd(self) -> Recipe:
        random = self.random
        if random.random() < 0.1:
            return Recipe(text="" if random.random() < 0.5 else self._odd_word())
        size = int(random.integers(0, 12)) if random.random() < 0.95 else 400
        words = tuple(
            self._odd_word()
            if random.random() < 0.3
            else self._pool[random.integers(len(self._pool))]
            for _ in range(size)
        )
        spaces = tuple(bool(space) for space in random.random(size) < 0.6)
        norms, merges = {}, []
        for i in range(size):
            if random.random() < 0.15:
                norms[i] = self._odd_word() if random.random() < 0.5 else "norm"
        at = 0
        while random.random() < 0.4 and at + 2 <= size:
            start = int(random.integers(at, size - 1))
            at = min(size, start + int(random.integers(2, 4)))
            merges.append((start, at))
        return Recipe(words=words, spaces=spaces, norms=norms, merges=tuple(merges))

    def _odd_word(self) -> str:
        if self.random.random() < 0.2:
            return ODD_WORDS[self.random.integers(len(ODD_WORDS))]
        places = self.random.integers(0, len(ODD), self.random.integers(1, 6))
        return "".join(ODD[place] for place in places.tolist())


def _new_word(number: int) -> str:
    """Write a number in letters, one in seven with a capital."""
    letters, rest = "", number
    while rest or len(letters) < 2:
        rest, digit = divmod(rest, 26)
        letters += string.ascii_lowercase[digit]
    return letters.title() if number % 7 == 0 else letters


def read_lines(path: Path | None) -> list[str]:
    """Read the lines of a file that hold text."""
    if path is None:
        return []
    lines = path.read_text(encoding="utf8").splitlines()
    return [line for line in lines if line.strip()]


def batches(total: int, size: int) -> Iterator[int]:
    """Cut a number of docs into batches."""
    while total > 0:
        yield min(size, total)
        total -= size
