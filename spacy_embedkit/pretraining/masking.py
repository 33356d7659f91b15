"""Masking of words for pretraining."""

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
        self._add(len(words), words.__getitem__)

    def add_keys(self, keys: NDArray, strings: StringStore) -> None:
        """Add words by their hashes: (N,) uint64."""
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
        roll = numpy.random.random(len(chosen))
        return disguise(docs, chosen, roll, sample, self.mask_share, self.random_share)


TOKEN_MASKING = TokenMasking()


def disguise(
    docs: Sequence[Doc],
    chosen: NDArray,
    roll: NDArray,
    sample: WordSample,
    mask_share: float,
    random_share: float,
) -> Tuple[List[Doc], NDArray]:
    """Copy the docs with the chosen tokens shown as MASK, a random word or as they are.

    chosen: (M,) their places among all tokens, ascending.
    roll: (M,) 0 to 1, below mask_share for MASK, then below the sum for random words.
    """
    # A lexeme that Doc finds by its hash takes half the time of one by its text.
    arrays = [doc.to_array([ORTH, SPACY]) for doc in docs if len(doc)]
    tokens = numpy.concatenate([numpy.zeros((0, 2), dtype="uint64"), *arrays])
    is_random = (roll >= mask_share) & (roll < mask_share + random_share)
    n_random = int(numpy.count_nonzero(is_random))
    if len(chosen):
        strings = docs[0].vocab.strings
        tokens[chosen[roll < mask_share], 0] = strings.add(MASK)
        drawn = sample.draw(n_random) if n_random else []
        tokens[chosen[is_random], 0] = [strings.add(word) for word in drawn]
    ends = numpy.cumsum([len(doc) for doc in docs])
    shown = []
    for doc, end in zip(docs, ends, strict=True):
        words, spaces = tokens[end - len(doc) : end].T.tolist()
        shown.append(Doc(doc.vocab, words=words, spaces=spaces))
    return shown, chosen.astype("i")


def build_token_masking_v1(
    mask_rate: float = MASK_RATE,
    mask_share: float = MASK_SHARE,
    random_share: float = RANDOM_SHARE,
) -> Masking:
    """Mask words one by one, as spaCy and BERT do.

    mask_rate (float): Chance of each word to be predicted; above 0, at most 1.
    mask_share (float): Share of these that are shown as [MASK], 0 to 1.
    random_share (float): Share of these that are shown as a random word of the text
        read so far, 0 to 1; what both leave of 1 is shown as it is.
    Raises: ValueError on a number that is not allowed.
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
    # 0.9 + 0.1 is a little more than 1 for some such pairs.
    if mask_share + random_share > 1 + 1e-9:
        raise ValueError(
            f"{name}: mask_share is {mask_share} and random_share {random_share}, but "
            "their sum has to be 1 or less; lower one of them"
        )


def check_share(
    name: str, setting: str, value: float, *, above_zero: bool = False
) -> None:
    """Raise ValueError unless value is 0 to 1, and above 0 if that is asked for."""
    low = "above 0 and at most 1" if above_zero else "0 to 1"
    if not 0 <= value <= 1 or (above_zero and value == 0):
        raise ValueError(f"{name}: {setting} is {value}, but it has to be {low}")
