"""Masking of single words for pretraining."""

from dataclasses import dataclass
from typing import Callable, List, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import ORTH, SPACY
from spacy.strings import StringStore
from spacy.tokens import Doc

# The rates of Devlin et al. 2019, arXiv:1810.04805, which spaCy uses too.
MASK_RATE = 0.15
MASK = "[MASK]"
# Shares of the chosen tokens that are replaced by MASK, and by a random word.
MASK_SHARE = 0.8
RANDOM_SHARE = 0.1


class WordSample:
    """A uniform random sample of the words read so far, in bounded memory.

    Each occurrence of a word counts, so words are drawn by their frequency in the text.
    Uses numpy's global random state, which `spacy pretrain` seeds.
    Source: Vitter 1985, algorithm R, doi:10.1145/3147.3165.

    size: Maximum number of words in the sample, 1 or more.
    """

    def __init__(self, size: int = 10_000) -> None:
        self.size = size
        self.n_seen = 0
        self.words: List[str] = []

    def add(self, words: Sequence[str]) -> None:
        """Add the next words of the text."""
        self._add(len(words), words.__getitem__)

    def add_keys(self, keys: NDArray, strings: StringStore) -> None:
        """Add the next words of the text by their hashes, (N,) uint64."""
        self._add(len(keys), lambda i: strings[int(keys[i])])

    def _add(self, n_words: int, word: Callable[[int], str]) -> None:
        n_free = min(self.size - len(self.words), n_words)
        self.words.extend(map(word, range(n_free)))
        seen = self.n_seen + numpy.arange(n_free + 1, n_words + 1)
        slots = (numpy.random.random(len(seen)) * seen).astype("int64")
        for i in numpy.flatnonzero(slots < self.size).tolist():
            self.words[slots[i]] = word(n_free + i)
        self.n_seen += n_words

    def draw(self, n: int) -> List[str]:
        """Draw n words with replacement; the sample must not be empty."""
        return [self.words[i] for i in numpy.random.randint(len(self.words), size=n)]


# Takes docs and a source of random words; returns copies of the docs with the tokens to
# predict disguised, and (M,) int32, the places of these among all tokens, ascending.
# The copies have the words and spaces of the docs and no other annotation.
Masking = Callable[[Sequence[Doc], WordSample], Tuple[List[Doc], NDArray]]


@dataclass(frozen=True)
class TokenMasking:
    """Mask each token independently; see build_token_masking_v1 for the settings."""

    mask_rate: float = MASK_RATE
    mask_share: float = MASK_SHARE
    random_share: float = RANDOM_SHARE

    def __call__(
        self, docs: Sequence[Doc], sample: WordSample
    ) -> Tuple[List[Doc], NDArray]:
        """Choose tokens and disguise them."""
        n_tokens = sum(map(len, docs))
        chosen = numpy.flatnonzero(numpy.random.random(n_tokens) < self.mask_rate)
        roll = numpy.random.random(len(chosen))
        return self.disguise(docs, chosen, roll, sample)

    def disguise(
        self, docs: Sequence[Doc], chosen: NDArray, roll: NDArray, sample: WordSample
    ) -> Tuple[List[Doc], NDArray]:
        """Copy the docs, with the chosen tokens masked, replaced or left as they are.

        chosen: (M,) their places among all tokens, ascending.
        roll: (M,) 0 to 1; below mask_share for MASK, then below the sum of both shares
            for a random word.
        """
        # Doc finds a lexeme by its hash in half the time that it takes by its text.
        arrays = [doc.to_array([ORTH, SPACY]) for doc in docs if len(doc)]
        tokens = numpy.concatenate([numpy.zeros((0, 2), dtype="uint64"), *arrays])
        is_mask = roll < self.mask_share
        is_random = ~is_mask & (roll < self.mask_share + self.random_share)
        n_random = int(numpy.count_nonzero(is_random))
        if len(chosen):
            strings = docs[0].vocab.strings
            tokens[chosen[is_mask], 0] = strings.add(MASK)
            drawn = sample.draw(n_random) if n_random else []
            tokens[chosen[is_random], 0] = [strings.add(word) for word in drawn]
        ends = numpy.cumsum([len(doc) for doc in docs])
        masked = []
        for doc, end in zip(docs, ends, strict=True):
            words, spaces = tokens[end - len(doc) : end].T.tolist()
            masked.append(Doc(doc.vocab, words=words, spaces=spaces))
        return masked, chosen.astype("i")


TOKEN_MASKING = TokenMasking()


def build_token_masking_v1(
    mask_rate: float = MASK_RATE,
    mask_share: float = MASK_SHARE,
    random_share: float = RANDOM_SHARE,
) -> Masking:
    """Mask words independently of each other, as spaCy and BERT do.

    mask_rate (float): Probability that a word is predicted; above 0, at most 1.
    mask_share (float): Share of the predicted words that are replaced by [MASK], 0 to
        1.
    random_share (float): Share of the predicted words that are replaced by a random
        word of the text read so far, 0 to 1. The sum of both shares is at most 1; the
        other predicted words stay as they are.
    Raises: ValueError if a number is out of range.
    Source: Devlin et al. 2019, arXiv:1810.04805.
    """
    check_rates("token_masking.v1", mask_rate, mask_share, random_share)
    return TokenMasking(mask_rate, mask_share, random_share)


def check_rates(
    name: str, mask_rate: float, mask_share: float, random_share: float
) -> None:
    """Raise ValueError unless the rates are what build_token_masking_v1 allows."""
    check_share(name, "mask_rate", mask_rate, above_zero=True)
    check_share(name, "mask_share", mask_share)
    check_share(name, "random_share", random_share)
    # The sum of such shares may be a little above 1 by rounding.
    if mask_share + random_share > 1 + 1e-9:
        raise ValueError(
            f"{name}: mask_share is {mask_share} and random_share {random_share}, but "
            "their sum has to be 1 or less; lower one of them"
        )


def check_share(
    name: str, setting: str, value: float, *, above_zero: bool = False
) -> None:
    """Raise ValueError unless value is 0 to 1, and not 0 if above_zero."""
    low = "above 0 and at most 1" if above_zero else "0 to 1"
    if not 0 <= value <= 1 or (above_zero and value == 0):
        raise ValueError(f"{name}: {setting} is {value}, but it has to be {low}")
