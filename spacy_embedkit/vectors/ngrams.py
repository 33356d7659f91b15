"""Which rows of a table the character n-grams of a word stand in."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Tuple

import numpy
from numpy.typing import NDArray

from . import _lookup

FLORET, FASTTEXT = "floret", "fasttext"


@dataclass(frozen=True)
class Ngrams:
    """How words are cut into n-grams, and n-grams hashed to rows.

    scheme: "floret": the word as a whole and its n-grams have hash_count rows each, by
        MurmurHash3 x64 128, as in spaCy (github.com/explosion/floret).
        "fasttext": the n-grams alone have one row each, by FNV-1a 32 (Bojanowski et
        al. 2017, arXiv:1607.04606).
    minn, maxn: Length of the n-grams in code points, 0 <= minn <= maxn; the marks of
        begin and end count. With maxn 0 there are none.
    hash_count: Rows of an n-gram, 1 to 4. hash_seed: 0 to 2**32 - 1.
    bow, eow: Marks put before and behind a word.
    """

    scheme: str
    minn: int
    maxn: int
    hash_count: int = 1
    hash_seed: int = 0
    bow: str = "<"
    eow: str = ">"

    def __post_init__(self) -> None:
        """Raise ValueError on settings that no table can have."""
        if (
            self.scheme not in (FLORET, FASTTEXT)
            or not 0 <= self.minn <= self.maxn
            or not 1 <= self.hash_count <= 4
            or not 0 <= self.hash_seed < 2**32
        ):
            raise ValueError(
                f"n-grams: {self} is not possible; scheme is floret or fasttext, "
                "0 <= minn <= maxn, hash_count is 1 to 4"
            )

    def to_dict(self) -> Dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def ngram_rows(
    ngrams: Ngrams, words: List[str], n_rows: int
) -> Tuple[NDArray, NDArray]:
    """Return the rows of the words' n-grams: (P,) int32 and starts (T + 1,) int32.

    words: T words. n_rows: Rows of the table, 1 or more.
    Word t has the rows starts[t]:starts[t + 1]; an empty word has none.
    """
    # What UTF-8 cannot hold, half of a surrogate pair, becomes a question mark.
    marked = [
        (ngrams.bow + word + ngrams.eow).encode("utf8", "replace") if word else b""
        for word in words
    ]
    text = numpy.frombuffer(b"".join(marked), dtype="uint8")
    ends = numpy.zeros(len(words) + 1, dtype="int64")
    numpy.cumsum([len(word) for word in marked], out=ends[1:])
    if ngrams.scheme == FLORET:
        settings = (ngrams.minn, ngrams.maxn, ngrams.hash_count, ngrams.hash_seed)
    else:
        settings = (ngrams.minn, ngrams.maxn, 0, 0)
    starts = numpy.zeros(len(words) + 1, dtype="i")
    total = _lookup.count_ngrams(text, ends, *settings, starts)
    rows = numpy.empty(total, dtype="i")
    _lookup.ngram_rows(text, ends, *settings, n_rows, starts, rows)
    return rows, starts
