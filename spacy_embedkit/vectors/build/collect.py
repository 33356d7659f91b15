"""The first pass of a conversion: write rows and words of a source, and check them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Literal, Optional

import numpy
from numpy.typing import NDArray
from preshed.maps import PreshMap
from spacy.strings import get_string_id
from tqdm import tqdm

from ...checks import InputError
from ..keys import encode
from ..sources.source import Batch, Source
from .npy import NpyWriter

# Halves of pairs, which UTF-8 can't hold.
_SURROGATE = re.compile("[\ud800-\udfff]")

Duplicates = Literal["error", "first", "mean"]


@dataclass
class Collected:
    """The rows that were written, and counts of those left out.

    ids: (V,) uint64, spaCy's ID of the word of each row; none in a table of n-grams.
    total: (O,) float64, the sum of all rows.
    counts: Rows left out or merged, by the reason.
    """

    ids: NDArray
    total: NDArray
    n_rows: int
    counts: Dict[str, int] = field(default_factory=dict)


def collect(
    source: Source,
    folder: Path,
    *,
    normalise: bool = False,
    truncate: Optional[int] = None,
    duplicates: Duplicates = "error",
    skip_bad: bool = False,
) -> Collected:
    """Write rows.npy, words.npy and word_ends.npy, reading the source once.

    normalise: Divide each row by its length. truncate: Rows to keep, from the start.
    duplicates: For a repeated word: stop, leave the row out, or take the mean.
    skip_bad: Leave out rows that hold NaN or infinity or have no word; else stop.
    Raises: InputError naming the place in the source.
    """
    return _Collector(source, folder, normalise, duplicates, skip_bad).run(truncate)


class _Collector:
    def __init__(
        self,
        source: Source,
        folder: Path,
        normalise: bool,
        duplicates: Duplicates,
        skip_bad: bool,
    ) -> None:
        self.source, self.folder = source, folder
        self.normalise, self.duplicates = normalise, duplicates
        self.skip_bad = skip_bad
        # A source with keys of its own may have rows whose word is not known.
        self.has_words = source.ngrams is None and source.keys is None
        self.seen = _Seen()
        self.counts: Dict[str, int] = {}
        self.total = numpy.zeros(source.width)
        self.repeats: List[NDArray] = []
        self.repeated_rows: List[NDArray] = []

    def run(self, truncate: Optional[int]) -> Collected:
        with (
            NpyWriter(self.folder / "rows.npy", "f", (self.source.width,)) as rows,
            NpyWriter(self.folder / "words.npy", "u1", ()) as text,
            NpyWriter(self.folder / "word_ends.npy", "i8", ()) as ends,
        ):
            for batch in self._batches(truncate):
                rows.append(batch.rows)
                words = encode(batch.words)
                sizes = numpy.array([len(word) for word in words], dtype="int64")
                ends.append(text.n_rows + numpy.cumsum(sizes))
                text.append(numpy.frombuffer(b"".join(words), dtype="u1"))
                self.total += batch.rows.sum(axis=0, dtype="float64")
        if self.source.ngrams is not None:
            text.path.unlink()
            ends.path.unlink()
        if not rows.n_rows:
            raise InputError(f"{self.source.path}: has no usable rows")
        self._merge()
        ids = self.seen.ids()[: rows.n_rows]
        return Collected(ids, self.total, rows.n_rows, self.counts)

    def _batches(self, truncate: Optional[int]) -> Iterator[Batch]:
        left = truncate
        goal = self.source.n_rows
        if goal is not None and truncate is not None:
            goal = min(goal, truncate)
        with tqdm(total=goal, desc="reading", unit=" rows", disable=None) as bar:
            for batch in self.source.batches:
                batch = self._check(batch)
                if left is not None:
                    batch = _pick(batch, numpy.arange(min(left, len(batch.rows))))
                    left -= len(batch.rows)
                bar.update(len(batch.rows))
                yield batch
                if left == 0:
                    return

    def _check(self, batch: Batch) -> Batch:
        batch = self._drop_not_finite(batch)
        if self.normalise:
            norms = numpy.linalg.norm(batch.rows, axis=1, keepdims=True)
            rows = batch.rows / numpy.where(norms == 0, 1, norms)
            batch = Batch(batch.words, rows, batch.where)
        return self._drop_repeated(batch) if self.has_words else batch

    def _drop_not_finite(self, batch: Batch) -> Batch:
        good = numpy.isfinite(batch.rows).all(axis=1)
        if good.all():
            return batch
        place = self._place(batch, int(numpy.argmin(good)))
        if not self.has_words:
            raise InputError(
                f"{place}: holds NaN or infinity, and no row can be left out here; "
                "make the table again"
            )
        if not self.skip_bad:
            raise InputError(
                f"{place}: holds NaN or infinity; fix it, or pass --skip-bad to leave "
                "such rows out"
            )
        self._count("with NaN or infinity left out", int((~good).sum()))
        return _pick(batch, numpy.flatnonzero(good))

    def _drop_repeated(self, batch: Batch) -> Batch:
        good = numpy.array([_is_word(word) for word in batch.words], dtype=bool)
        if not good.all():
            place = self._place(batch, int(numpy.argmin(good)))
            if not self.skip_bad:
                raise InputError(
                    f"{place}: the word is empty or holds a NUL, or half of a "
                    "surrogate pair; fix it, or pass --skip-bad to leave such rows out"
                )
            self._count("without a word left out", int((~good).sum()))
            batch = _pick(batch, numpy.flatnonzero(good))
        ids = [get_string_id(word) for word in batch.words]
        first = self.seen.add(numpy.array(ids, dtype="uint64"))
        new = first < 0
        if new.all():
            return batch
        if self.duplicates == "error":
            i = int(numpy.argmin(new))
            raise InputError(
                f"{self._place(batch, i)}: the word {batch.words[i]!r} occurred "
                f"before (row {first[i] + 1}); pass --duplicates first to keep the "
                "first one, or --duplicates mean to merge them"
            )
        self._count(
            "merged" if self.duplicates == "mean" else "of repeated words left out",
            int((~new).sum()),
        )
        if self.duplicates == "mean":
            self.repeats.append(batch.rows[~new])
            self.repeated_rows.append(first[~new])
        return _pick(batch, numpy.flatnonzero(new))

    def _merge(self) -> None:
        # Rows of repeated words become the mean of all of them.
        if not self.repeats:
            return
        table = numpy.load(self.folder / "rows.npy", mmap_mode="r+")
        rows = numpy.concatenate(self.repeated_rows)
        keep = rows < len(table)
        values, rows = numpy.concatenate(self.repeats)[keep], rows[keep]
        distinct, inverse, counts = numpy.unique(
            rows, return_inverse=True, return_counts=True
        )
        sums = table[distinct].astype("float64")
        self.total -= sums.sum(axis=0)
        numpy.add.at(sums, inverse, values)
        table[distinct] = sums / (counts[:, None] + 1)
        self.total += table[distinct].sum(axis=0, dtype="float64")
        table.flush()

    def _place(self, batch: Batch, i: int) -> str:
        return f"{self.source.path}: {batch.where(i)}"

    def _count(self, reason: str, n: int) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + n


def _is_word(word: str) -> bool:
    return bool(word) and "\0" not in word and not _SURROGATE.search(word)


def _pick(batch: Batch, kept: NDArray) -> Batch:
    if len(kept) == len(batch.rows):
        return batch
    words = [batch.words[i] for i in kept] if batch.words else []
    return Batch(words, batch.rows[kept], lambda i: batch.where(int(kept[i])))


class _Seen:
    """The IDs so far, each with its number."""

    def __init__(self) -> None:
        self._numbers = PreshMap()
        self._new: List[NDArray] = []

    def ids(self) -> NDArray:
        """Return all of them: (V,)."""
        return numpy.concatenate([numpy.empty(0, dtype="uint64"), *self._new])

    def add(self, ids: NDArray) -> NDArray:
        """Return the number that each ID has from before, or -1, and add the new."""
        numbers = self._numbers
        found = numpy.full(len(ids), -1, dtype="i")
        for i, key in enumerate(ids.tolist()):
            number = numbers[key]
            if number is None:
                numbers[key] = len(numbers)
            else:
                found[i] = number
        self._new.append(ids[found < 0])
        return found
