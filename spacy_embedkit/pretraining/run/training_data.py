"""The corpus of a run: counted once, a part held out, read in reproducible epochs."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

import srsly
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.pretrain import ensure_docs
from spacy.util import minibatch

from ...checks import InputError, one_line
from .held_out import HASH_RANGE, HeldOutSample, hash_text
from .random_state import fork_rng, get_rng_state, set_rng_state

Item = Union[Doc, Example]
Reader = Callable[[Language], Iterable[Item]]
Batcher = Callable[[Iterable[Item]], Iterable[List[Item]]]

# Documents that are read at a time in the first pass.
CHUNK = 64
# Share of the documents that may be missing in an epoch of a reader that draws.
TOLERANCE = 0.1


class ReadError(InputError):
    """The corpus can't be read on; what was read before is right."""


@dataclass
class CorpusCounts:
    """What one pass over a corpus found.

    n_docs, n_words: Documents that have words, and their words.
    n_empty: Documents without words.
    longest: Words of the longest document.
    checksum: Sum of the hashes of the texts, which does not depend on their order.
    """

    n_docs: int = 0
    n_words: int = 0
    n_empty: int = 0
    longest: int = 0
    checksum: int = 0

    def add(self, doc: Doc) -> int:
        """Count a document that has words; return the hash of its text."""
        number = hash_text(doc.text)
        self.n_docs += 1
        self.n_words += len(doc)
        self.longest = max(self.longest, len(doc))
        self.checksum = (self.checksum + number) % HASH_RANGE
        return number


class TrainingData:
    """Batches of the documents that are not held out, epoch by epoch.

    Reader and batcher draw from random generators of their own, so an epoch that is
    read again has the same batches. After `survey`:

    counts: What is in the corpus.
    held_out: Documents that are not learned from.
    is_random: Whether the reader draws random numbers.
    prepared: What the targets of a teacher depend on; empty without one.
    """

    def __init__(
        self, nlp: Language, reader: Reader, batcher: Batcher, seed: int
    ) -> None:
        self._nlp = nlp
        self._reader = reader
        self._batcher, self._sizes = _count_draws(batcher)
        with fork_rng(seed):
            self._rng = get_rng_state(with_torch=False)
        self.counts = CorpusCounts()
        self.held_out: List[Doc] = []
        self.is_random = False
        self.prepared = ""
        self._limit = 0
        self.end_epoch()

    @property
    def n_words(self) -> int:
        """Words of an epoch; copies of held-out texts are counted, but not read."""
        return self.counts.n_words - sum(map(len, self.held_out))

    def to_dict(self) -> Dict[str, Any]:
        """Return the state at the beginning of the epoch."""
        return self._start

    def from_dict(self, state: Dict[str, Any]) -> None:
        """Go to the beginning of an epoch; nothing may have been read since survey.

        Raises: InputError if the batcher has other schedules.
        """
        draws = state["draws"]
        if len(draws) != len(self._sizes):
            raise InputError(
                "the checkpoint is that of a batcher with other schedules; use the "
                "spaCy and packages that it was made with"
            )
        self._rng = {name: state[name] for name in ("python", "numpy")}
        for sizes, n in zip(self._sizes, draws, strict=True):
            while sizes.n < n:
                next(sizes, None)
        self.end_epoch()

    def end_epoch(self) -> None:
        """Let the next epoch begin with the present state."""
        self._start = {**self._rng, "draws": [sizes.n for sizes in self._sizes]}

    def survey(
        self,
        sample: HeldOutSample,
        prepare: Optional[Callable[[Iterable[Doc]], Any]] = None,
    ) -> None:
        """Read the corpus once: count it, and choose the held-out part.

        prepare: Called with all documents, held-out ones included; what it returns is
            kept as `prepared`, if that is a text.
        Raises: InputError if the corpus has no words.
        """

        def all_docs() -> Iterator[Doc]:
            for chunk in self._isolated(minibatch(self._read(self.counts), CHUNK)):
                for _, doc, number in chunk:
                    sample.offer(number, doc)
                    yield doc

        start, docs = self._rng, all_docs()
        if prepare is not None:
            prepared = prepare(docs)
            self.prepared = prepared if isinstance(prepared, str) else ""
        for _ in docs:
            pass
        self.is_random = srsly.msgpack_dumps(start) != srsly.msgpack_dumps(self._rng)
        self._rng = start
        if not self.counts.n_docs:
            n = self.counts.n_empty
            raise InputError(
                "the corpus has no documents with words in them (found: "
                f"{f'{n} documents, all empty' if n else 'none'}); see path, "
                "min_length and max_length of the reader in [corpora]"
            )
        self._limit, self.held_out = sample.close(self.counts.n_docs)

    def epoch(self) -> Iterator[List[Doc]]:
        """Read an epoch.

        Raises: ReadError; InputError at the end if the corpus is another one now.
        """
        found = CorpusCounts()

        def batches() -> Iterator[List[Item]]:
            yield from self._batcher(
                item
                for item, _, number in self._read(found)
                if number >= self._limit or not self.held_out
            )

        for batch in self._isolated(batches()):
            yield ensure_docs(batch)
        first = self.counts
        if self.is_random:
            differs = found.n_docs < (1 - TOLERANCE) * first.n_docs
        else:
            differs = found.checksum != first.checksum
        if differs:
            raise InputError(
                f"the corpus has changed: it had {first.n_docs} documents with "
                f"{first.n_words} words, now {found.n_docs} with {found.n_words}; "
                "put back what was there, then --resume"
            )

    def _read(self, counts: CorpusCounts) -> Iterator[Tuple[Item, Doc, int]]:
        """Read the items that have words, with their docs and hashes."""
        try:
            for item in self._reader(self._nlp):
                (doc,) = ensure_docs([item])
                if doc.text.strip():
                    yield item, doc, counts.add(doc)
                else:
                    counts.n_empty += 1
        except InputError as err:
            raise ReadError(f"{err}; then --resume") from err
        except Exception as err:
            raise ReadError(
                f"the corpus can't be read ({type(err).__name__}: {one_line(err)}); "
                "fix it, then --resume"
            ) from err

    def _isolated(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """Iterate with the random generators of the data."""
        while True:
            with fork_rng(with_torch=False):
                set_rng_state(self._rng)
                try:
                    item = next(iterator, None)
                finally:
                    self._rng = get_rng_state(with_torch=False)
            if item is None:
                return
            yield item


class _CountedSizes:
    """A schedule of batch sizes that counts what was drawn."""

    def __init__(self, sizes: Iterator[Any]) -> None:
        self._sizes = sizes
        self.n = 0

    def __iter__(self) -> "_CountedSizes":
        return self

    def __next__(self) -> Any:
        self.n += 1
        return next(self._sizes)


def _count_draws(batcher: Batcher) -> Tuple[Batcher, List[_CountedSizes]]:
    # The batchers of spaCy are partial functions; a schedule of sizes continues in the
    # next epoch.
    if not isinstance(batcher, partial):
        return batcher, []
    counted = {
        name: _CountedSizes(value)
        for name, value in batcher.keywords.items()
        if hasattr(value, "__next__")
    }
    return partial(batcher, **counted), list(counted.values())
