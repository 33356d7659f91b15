"""The corpus of a run, in epochs that can be read again exactly."""

from functools import partial
from itertools import islice
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training.pretrain import ensure_docs

from .held_out import hash_text
from .random_state import States, put_states, take_states
from .survey import Corpus, Item, Summary, check_same_texts, reading

Reader = Callable[[Language], Iterable[Item]]
Batcher = Callable[[Iterable[Item]], Iterable[List[Item]]]
# Documents that are read at once in the first pass.
CHUNK = 64


class TrainingData:
    """Batches of the documents that are not held out, epoch by epoch.

    Reader and batcher draw from random states of their own, so an epoch that is read
    again from the state it began with has the same batches.

    is_random: Whether the first pass drew random numbers.
    """

    def __init__(
        self, nlp: Language, reader: Reader, batcher: Batcher, states: States
    ) -> None:
        self._nlp = nlp
        self._reader = reader
        self._batcher, self._draws = _count_draws(batcher)
        self._states = states
        self._start: Dict[str, Any] = {}
        self.is_random = False
        self._mark_start()

    def to_dict(self) -> Dict[str, Any]:
        """Return the state the epoch began with."""
        return self._start

    def from_dict(self, state: Dict[str, Any]) -> None:
        """Go back to the beginning of an epoch; before anything is read."""
        self._states = {name: state[name] for name in ("python", "numpy")}
        for draws, n in zip(self._draws, state["draws"], strict=True):
            draws.skip(n)
        self._mark_start()

    def end_epoch(self) -> None:
        """Let the next epoch begin where this one ended."""
        self._mark_start()

    def items(self) -> Iterator[Item]:
        """Read all documents once, for the first pass."""
        start = self._states
        items = reading(partial(self._reader, self._nlp))
        chunks = iter(lambda: list(islice(items, CHUNK)), [])
        for chunk in self._isolated(lambda: chunks):
            yield from chunk
        self.is_random = not _same(start, self._states)
        self._states = start

    def epoch(self, corpus: Corpus) -> Iterator[List[Doc]]:
        """Read an epoch.

        Raises: InputError if it is not the corpus of the first pass, at its end.
        """
        found = Summary()

        def chosen() -> Iterator[Item]:
            for item in reading(partial(self._reader, self._nlp)):
                (doc,) = ensure_docs([item])
                text = doc.text
                if not text.strip():
                    continue
                number = hash_text(text)
                found.add(doc, number)
                if number >= corpus.limit or not corpus.held_out:
                    yield item

        for batch in self._isolated(lambda: self._batcher(chosen())):
            yield ensure_docs(batch)
        check_same_texts(found, corpus.summary)

    def _isolated(self, make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        iterator: Optional[Iterator[Any]] = None
        while True:
            outside = take_states(libraries=False)
            put_states(self._states)
            try:
                iterator = iter(make()) if iterator is None else iterator
                item = next(iterator, None)
            finally:
                self._states = take_states(libraries=False)
                put_states(outside)
            if item is None:
                return
            yield item

    def _mark_start(self) -> None:
        self._start = {**self._states, "draws": [draws.n for draws in self._draws]}


class _Draws:
    """A schedule that counts how far it has come."""

    def __init__(self, values: Iterator[Any]) -> None:
        self._values = values
        self.n = 0

    def __iter__(self) -> "_Draws":
        return self

    def __next__(self) -> Any:
        self.n += 1
        return next(self._values)

    def skip(self, n: int) -> None:
        while self.n < n:
            next(self)


def _count_draws(batcher: Batcher) -> Tuple[Batcher, List[_Draws]]:
    # The batchers of spaCy are partial functions; a schedule of sizes goes on over
    # the epochs.
    if not isinstance(batcher, partial):
        return batcher, []
    counted = {
        name: _Draws(value)
        for name, value in batcher.keywords.items()
        if hasattr(value, "__next__")
    }
    fresh = partial(batcher.func, *batcher.args, **{**batcher.keywords, **counted})
    return fresh, list(counted.values())


def _same(states: States, others: States) -> bool:
    return repr(states["python"]) == repr(others["python"]) and all(
        (a == b) if isinstance(a, (str, int, float)) else (a == b).all()
        for a, b in zip(states["numpy"], others["numpy"], strict=True)
    )
