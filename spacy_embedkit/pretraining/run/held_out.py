"""The part of a corpus that is not learned from: which documents, and their loss."""

import hashlib
import math
from typing import Dict, Iterator, List, Sequence, Tuple

from spacy.tokens import Doc
from thinc.api import Model

from ...checks import InputError
from .objective_state import Losses, ObjectiveState

# Documents below which none is held out.
MIN_DOCS = 10
# Words of a batch of the evaluation, about.
BATCH_WORDS = 2000
HASH_RANGE = 2**64


def hash_text(text: str) -> int:
    """Return a number from 0 to below HASH_RANGE that the text alone decides."""
    digest = hashlib.blake2b(text.encode("utf8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


class HeldOut:
    """Documents with the lowest hashes, as many as the share and the words allow.

    So which ones they are depends on the texts alone, not on order or seed, and copies
    of a text are all held out or none.

    share: Of all documents, 0 to below 1.
    max_words: Words of them, at most.
    """

    def __init__(self, share: float, max_words: int) -> None:
        self._limit = int(share * HASH_RANGE)
        self._max_words = max_words
        self._kept: List[Tuple[int, int, Doc]] = []
        self._smallest: Tuple[int, int, Doc] | None = None
        self._n_words = 0

    def offer(self, number: int, doc: Doc) -> None:
        """Keep a document if its hash is low enough."""
        if not self._limit or len(doc) > self._max_words:
            return
        entry = (number, len(doc), doc)
        if self._smallest is None or number < self._smallest[0]:
            self._smallest = entry
        if number >= self._limit:
            return
        self._kept.append(entry)
        self._n_words += len(doc)
        while self._n_words > self._max_words:
            self._limit = max(self._kept, key=lambda entry: entry[0])[0]
            self._kept = [entry for entry in self._kept if entry[0] < self._limit]
            self._n_words = sum(n for _, n, _ in self._kept)

    def close(self, n_docs: int) -> Tuple[int, List[Doc]]:
        """Return the hash below which documents are held out, and these.

        n_docs: How many there were. A corpus of MIN_DOCS gives one at least.
        """
        if not self._kept and self._smallest is not None and n_docs >= MIN_DOCS:
            self._kept = [self._smallest]
            self._limit = self._smallest[0] + 1
        # A text that comes up twice is scored once.
        unique = {number: doc for number, _, doc in self._kept}
        return self._limit, [unique[number] for number in sorted(unique)]


def evaluate(
    model: Model, objective: ObjectiveState, docs: Sequence[Doc]
) -> Dict[str, float]:
    """Return the loss per predicted token by head; per word for foreign objectives.

    The masks are the same in each call, and what is learned and drawn later does not
    depend on the call.
    Raises: InputError if a loss is NaN or infinite.
    """
    sums: Losses = {}
    with objective.fixed(docs):
        for batch in _batches(docs):
            loss, _ = model.attrs["loss"](model.ops, batch, model.predict(batch))
            n_words = sum(map(len, batch))
            for name, (part, n) in objective.take_losses(float(loss), n_words).items():
                total, n_total = sums.get(name, (0.0, 0))
                sums[name] = total + float(part), n_total + n
    means = {name: total / max(1, n) for name, (total, n) in sums.items()}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise InputError(
                f"the held-out loss {name} is {mean}; begin anew with a lower "
                "learn_rate or grad_clip in [pretraining.optimizer], or use what was "
                "kept before"
            )
    return means


def _batches(docs: Sequence[Doc]) -> Iterator[List[Doc]]:
    batch: List[Doc] = []
    n_words = 0
    for doc in docs:
        batch.append(doc)
        n_words += len(doc)
        if n_words >= BATCH_WORDS:
            yield batch
            batch, n_words = [], 0
    if batch:
        yield batch
