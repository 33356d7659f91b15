"""Vectors of words by their character n-grams: the rows, and their mean."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterator, List, Tuple, Union

import numpy
from numpy.typing import NDArray
from thinc.api import get_array_module
from thinc.backends import get_array_ops

from .. import ops
from . import _lookup
from .rows import DeviceRows, Float32Rows, Rows

FLORET, FASTTEXT = "floret", "fasttext"
# Words whose n-grams are looked up at a time, and n-grams unless one word has more.
BATCH_WORDS, BATCH_NGRAMS = 4096, 1 << 22
# Longest n-gram, and longest mark, in code points; positions are int32.
MAX_LENGTH, MAX_MARK, MAX_TOTAL = 100, 100, 2**31 - 1


@dataclass(frozen=True)
class Ngrams:
    """How words are cut into n-grams, and n-grams hashed to rows.

    scheme: "floret": the complete word and its n-grams have hash_count rows each, by
        MurmurHash3 x64 128, as in spaCy (github.com/explosion/floret).
        "fasttext": the n-grams alone have one row each, by FNV-1a 32 (Bojanowski et
        al. 2017, arXiv:1607.04606).
    minn, maxn: Length of the n-grams in code points, 0 <= minn <= maxn <= 100, bow and
        eow included. With maxn 0 there are none.
    hash_count: Rows of an n-gram, 1 to 4. hash_seed: 0 to 2**32 - 1.
    bow, eow: Marks put before and after a word, up to 100 code points.
    """

    scheme: str
    minn: int
    maxn: int
    hash_count: int = 1
    hash_seed: int = 0
    bow: str = "<"
    eow: str = ">"

    def __post_init__(self) -> None:
        """Raise ValueError on settings that are out of range."""
        numbers = (self.minn, self.maxn, self.hash_count, self.hash_seed)
        marks = (self.bow, self.eow)
        if (
            self.scheme not in (FLORET, FASTTEXT)
            or not all(type(number) is int for number in numbers)
            or not 0 <= self.minn <= self.maxn <= MAX_LENGTH
            or not 1 <= self.hash_count <= 4
            or not 0 <= self.hash_seed < 2**32
            or not all(isinstance(m, str) and len(m) <= MAX_MARK for m in marks)
        ):
            raise ValueError(
                f"n-grams: {str(self)[:300]} is not possible; scheme is floret or "
                f"fasttext, 0 <= minn <= maxn <= {MAX_LENGTH}, hash_count is 1 to 4"
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
    Raises: ValueError if the words have 2**31 n-grams or more.
    """
    if n_rows < 1:
        raise ValueError("n-grams: the table has no rows; make it again")
    # Half of a surrogate pair, which UTF-8 cannot hold, becomes a question mark.
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
    if max(total, len(text)) > MAX_TOTAL:
        raise ValueError(
            f"n-grams: the {len(words)} words, of {len(text)} bytes, have too many "
            f"n-grams of {ngrams.minn} to {ngrams.maxn} letters; split the longest word"
        )
    rows = numpy.empty(total, dtype="i")
    _lookup.ngram_rows(text, ends, *settings, n_rows, starts, rows)
    return rows, starts


def embed_words(ngrams: Ngrams, rows: Union[Rows, DeviceRows], words: List[str]) -> Any:
    """Return the mean of the rows of each word's n-grams: (T, O) float32.

    An empty word gets zeros.
    """
    if not words:
        return rows.take(numpy.empty(0, dtype="i"))
    parts: List[Any] = [_embed(ngrams, rows, part) for part in _split(ngrams, words)]
    if len(parts) == 1:
        return parts[0]
    return get_array_module(parts[0]).concatenate(parts)


def _split(ngrams: Ngrams, words: List[str]) -> Iterator[List[str]]:
    """Cut words into batches that take little memory, however long the words are."""
    per_letter = (ngrams.maxn - ngrams.minn + 1) * ngrams.hash_count
    n_letters = sum(map(len, words))
    if len(words) <= BATCH_WORDS and n_letters * per_letter < BATCH_NGRAMS:
        yield words
        return
    begin = total = 0
    for i, word in enumerate(words):
        n = (len(word) + 2) * per_letter
        if i > begin and (i - begin == BATCH_WORDS or total + n > BATCH_NGRAMS):
            yield words[begin:i]
            begin, total = i, 0
        total += n
    yield words[begin:]


def _embed(ngrams: Ngrams, rows: Union[Rows, DeviceRows], words: List[str]) -> Any:
    positions: Any
    positions, starts = ngram_rows(ngrams, words, len(rows))
    lengths: Any = numpy.diff(starts)
    if isinstance(rows, Float32Rows):
        table: Any = rows.as_array()
    else:
        # Decode each row once, however many n-grams share it.
        distinct, positions = numpy.unique(positions, return_inverse=True)
        table = rows.take(distinct)
    array_ops = get_array_ops(table)
    xp = array_ops.xp
    means = ops.sum_rows(
        array_ops,
        table,
        xp.asarray(positions.astype("i", copy=False)),
        xp.asarray(lengths),
    )
    means /= xp.asarray(numpy.maximum(1, lengths)[:, None].astype("f"))
    return means
