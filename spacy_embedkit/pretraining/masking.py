"""Masking of words for pretraining."""

from dataclasses import dataclass
from typing import Callable, List, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

# The rates of Devlin et al. 2019, arXiv:1810.04805, which spaCy uses too.
MASK_RATE = 0.15
MASK = "[MASK]"
# Of the masked tokens: replaced by MASK, then by a random word; the rest stay.
MASK_SHARE = 0.8
RANDOM_SHARE = 0.1


class WordSample:
    """A uniform random sample of the words read so far, in bounded memory.

    Words enter by their number of occurrences, so that drawing from the sample draws
    by the frequency of the words in the text. Uses numpy's global random state,
    which `spacy pretrain` seeds. Source: Vitter 1985, algorithm R,
    doi:10.1145/3147.3165.

    size: Number of words kept, 1 or more.
    """

    def __init__(self, size: int = 10_000) -> None:
        self.size = size
        self.n_seen = 0
        self.words: List[str] = []

    def add(self, words: Sequence[str]) -> None:
        """Let every occurrence of a word take its chance to be kept."""
        n_free = self.size - len(self.words)
        self.words.extend(words[:n_free])
        rest = words[n_free:]
        seen = self.n_seen + n_free + numpy.arange(1, len(rest) + 1)
        slots = (numpy.random.random(len(rest)) * seen).astype("int64")
        for i in numpy.flatnonzero(slots < self.size).tolist():
            self.words[slots[i]] = rest[i]
        self.n_seen += len(words)

    def draw(self, n: int) -> List[str]:
        """Draw n words with replacement; there has to be one in the sample."""
        return [self.words[i] for i in numpy.random.randint(len(self.words), size=n)]


# Chooses tokens to predict, and copies the docs with these tokens disguised. Takes the
# docs and a source of random words. Returns the copies, which have the words and spaces
# of the docs and no other annotation, and (M,) int32, the chosen among all tokens,
# ascending. A doc with no token chosen is copied too.
Masking = Callable[[Sequence[Doc], WordSample], Tuple[List[Doc], NDArray]]


@dataclass(frozen=True)
class TokenMasking:
    """Masks each token by itself.

    mask_rate: Chance of each token to be chosen, 0 to 1.
    mask_share, random_share: Of the chosen, those that are shown as MASK, and those
        that are shown as a random word; their sum is at most 1, the rest stay.
    """

    mask_rate: float = MASK_RATE
    mask_share: float = MASK_SHARE
    random_share: float = RANDOM_SHARE

    def __call__(
        self, docs: Sequence[Doc], sample: WordSample
    ) -> Tuple[List[Doc], NDArray]:
        """Choose tokens and disguise them."""
        n_tokens = sum(map(len, docs))
        chosen = numpy.flatnonzero(numpy.random.random(n_tokens) < self.mask_rate)
        return disguise(docs, chosen, sample, self.mask_share, self.random_share)


TOKEN_MASKING = TokenMasking()


def disguise(
    docs: Sequence[Doc],
    chosen: NDArray,
    sample: WordSample,
    mask_share: float,
    random_share: float,
) -> Tuple[List[Doc], NDArray]:
    """Copy the docs with the chosen tokens shown as MASK, a random word or as they are.

    chosen: (M,) their places among all tokens, ascending.
    """
    words = [token.text for doc in docs for token in doc]
    roll = numpy.random.random(len(chosen))
    is_random = (roll >= mask_share) & (roll < mask_share + random_share)
    for i in chosen[roll < mask_share]:
        words[i] = MASK
    if is_random.any():
        drawn = sample.draw(int(is_random.sum()))
        for i, word in zip(chosen[is_random], drawn, strict=True):
            words[i] = word
    return _rebuild(docs, words), chosen.astype("i")


def _rebuild(docs: Sequence[Doc], words: List[str]) -> List[Doc]:
    rebuilt, start = [], 0
    for doc in docs:
        end = start + len(doc)
        spaces = [bool(token.whitespace_) for token in doc]
        rebuilt.append(Doc(doc.vocab, words=words[start:end], spaces=spaces))
        start = end
    return rebuilt
