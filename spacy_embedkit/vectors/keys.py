"""From words to rows, by sorted 64-bit IDs, and from rows to words."""

from collections.abc import Mapping
from typing import Any, Dict, Iterable, Iterator, List, Sequence

import numpy
from numpy.typing import NDArray

from ..checks import InputError
from . import _lookup
from .file_arrays import check_layout

KEY_ARRAYS = ("keys", "key_rows", "buckets")
# Entries of a table that are checked when it is opened: blocks of them.
N_SAMPLES, SAMPLE = 4, 1024


def samples(n: int) -> List[slice]:
    """Return some blocks of n entries, spread evenly, or one of all if they are few."""
    if n <= N_SAMPLES * SAMPLE:
        return [slice(0, n)]
    starts = numpy.linspace(0, n - SAMPLE, N_SAMPLES).astype("int64").tolist()
    return [slice(start, start + SAMPLE) for start in starts]


class KeyRows(Mapping[int, int]):
    """A dictionary of keys to rows, on arrays that may be mapped from files.

    arrays: "keys" (K,) uint64 ascending, spaCy's IDs of strings; "key_rows" (K,)
        int32; "buckets" (2**b + 1,) int32: the keys whose first b bits are i are
        keys[buckets[i]:buckets[i + 1]].
    n_rows: Rows of the table.
    Raises: ValueError if they do not fit together, as far as samples of them show.
    """

    def __init__(self, arrays: Dict[str, NDArray], n_rows: int) -> None:
        self.arrays = {name: numpy.asarray(array) for name, array in arrays.items()}
        self.n_rows = n_rows
        for name, dtype in (("keys", "u8"), ("key_rows", "i4"), ("buckets", "i4")):
            check_layout(name, arrays[name], dtype, 1)
        n_keys, n_buckets = len(arrays["keys"]), len(arrays["buckets"]) - 1
        if n_buckets < 2 or n_buckets & (n_buckets - 1):
            raise ValueError(f"there are {n_buckets} buckets, not a power of 2")
        if n_keys != len(arrays["key_rows"]):
            raise ValueError("there is not one row for each key")
        self._shift = 65 - n_buckets.bit_length()
        self.check(samples(n_keys))
        self._table = _lookup.KeyTable(
            self.arrays["keys"],
            self.arrays["key_rows"],
            self.arrays["buckets"],
            self._shift,
            n_rows,
        )

    def check(self, blocks: Iterable[slice]) -> None:
        """Raise ValueError if keys, rows or buckets are wrong in some of the keys.

        blocks: Where to look, ascending.
        """
        keys, rows, buckets = (self.arrays[name] for name in KEY_ARRAYS)
        if buckets[0] != 0 or buckets[-1] != len(keys):
            raise ValueError("the buckets do not hold all keys")
        last: Any = None
        for block in blocks:
            part = keys[block]
            if not (part[:-1] < part[1:]).all() or (len(part) and part[0] == last):
                raise ValueError("the keys are not sorted")
            last = part[-1] if len(part) else last
            if ((rows[block] < 0) | (rows[block] >= self.n_rows)).any():
                raise ValueError(f"a key has no row of 0 to {self.n_rows - 1}")
            at = numpy.arange(block.start, block.stop)
            bucket = (part >> numpy.uint64(self._shift)).astype("int64")
            if not ((buckets[bucket] <= at) & (at < buckets[bucket + 1])).all():
                raise ValueError("a key is not in its bucket")

    @classmethod
    def build(cls, keys: NDArray, rows: NDArray, n_rows: int) -> "KeyRows":
        """Sort the keys, (K,) distinct uint64, with their rows, (K,)."""
        order = numpy.argsort(keys, kind="stable")
        keys = numpy.ascontiguousarray(keys[order], dtype="uint64")
        bits = max(1, len(keys).bit_length() - 2)
        marks = numpy.arange(1 << bits, dtype="uint64") << numpy.uint64(64 - bits)
        buckets = numpy.full((1 << bits) + 1, len(keys), dtype="i")
        buckets[:-1] = numpy.searchsorted(keys, marks)
        arrays = {"keys": keys, "key_rows": rows[order].astype("i"), "buckets": buckets}
        return cls(arrays, n_rows)

    def find(self, ids: NDArray) -> NDArray:
        """Return the rows of keys, -1 where there is none: (N,) int32."""
        ids = numpy.ascontiguousarray(ids, dtype="uint64")
        out = numpy.empty(len(ids), dtype="i")
        bad = self._table.find(ids, out)
        if bad >= 0:
            raise self._damaged(int(ids[bad]))
        return out

    def get(self, key: int, default: Any = None) -> Any:
        """Return the row of a key, or the default."""
        row = self._table.find_one(key)
        if row == -2:
            raise self._damaged(key)
        return default if row < 0 else row

    def __getitem__(self, key: int) -> int:
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (int, numpy.integer)) and self.get(int(key)) is not None

    def __iter__(self) -> Iterator[int]:
        return map(int, self.arrays["keys"])

    def __len__(self) -> int:
        return len(self.arrays["keys"])

    def _damaged(self, key: int) -> InputError:
        return InputError(
            f"vectors: the entry of key {key} points outside of the table; its files "
            "are damaged, make them again"
        )


class Words(Sequence[str]):
    """The word of each row, as UTF-8 end to end.

    arrays: "words" (B,) uint8; "word_ends" (V,) int64, where each word ends.
    """

    def __init__(self, arrays: Dict[str, NDArray]) -> None:
        self.arrays = {name: numpy.asarray(array) for name, array in arrays.items()}
        for name, dtype in (("words", "u1"), ("word_ends", "i8")):
            check_layout(name, arrays[name], dtype, 1)
        if [0, *arrays["word_ends"][-1:]][-1] != len(arrays["words"]):
            raise ValueError("the last word does not end where the words end")
        self.check(samples(len(self)))

    def check(self, blocks: Iterable[slice]) -> None:
        """Raise ValueError if some of the words lie outside of the text.

        blocks: Where to look, ascending.
        """
        last = 0
        for block in blocks:
            ends = [last, *self.arrays["word_ends"][block].tolist()]
            if sorted(ends) != ends or ends[-1] > len(self.arrays["words"]):
                raise ValueError("the ends of the words are not in order")
            last = ends[-1]

    @classmethod
    def build(cls, words: Sequence[str]) -> "Words":
        """Encode a list of words."""
        encoded = encode(words)
        ends = numpy.cumsum([len(word) for word in encoded], dtype="int64")
        text = numpy.frombuffer(b"".join(encoded), dtype="uint8")
        return cls({"words": text, "word_ends": ends})

    def __len__(self) -> int:
        return len(self.arrays["word_ends"])

    def __getitem__(self, row: Any) -> Any:
        """Return the word of a row, or a list of words for a slice."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        ends = self.arrays["word_ends"]
        if not -len(ends) <= row < len(ends):
            raise IndexError(f"words: row {row}, but there are {len(ends)}")
        row = int(row) % len(ends)
        begin, end = int(ends[row - 1]) if row else 0, int(ends[row])
        if not 0 <= begin <= end <= len(self.arrays["words"]):
            raise InputError(
                f"vectors: the word of row {row} lies outside of the words; the files "
                "are damaged, make them again"
            )
        return self.arrays["words"][begin:end].tobytes().decode("utf8", "replace")


def encode(words: Sequence[str]) -> List[bytes]:
    """Encode words; half of a surrogate pair becomes a question mark."""
    return [word.encode("utf8", "replace") for word in words]
