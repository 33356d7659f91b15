"""The held-out part of a corpus: which documents, and the loss on them."""

import hashlib
import math
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from spacy.tokens import Doc
from thinc.api import Model

from ...checks import InputError
from ..masked_model import LossMeter
from .update import DIVERGED, ObjectiveAdapter

HASH_RANGE = 2**64
# A corpus of fewer documents has no held-out part.
MIN_DOCS = 10
# About the number of words of a batch of the evaluation.
BATCH_WORDS = 2000


def hash_text(text: str) -> int:
    """Return a number from 0 to below HASH_RANGE that depends on the text alone."""
    digest = hashlib.blake2b(text.encode("utf8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


class HeldOutSample:
    """The documents with the lowest hashes, up to a share of all and a number of words.

    So the choice depends on the texts alone, not on their order or the seed, and copies
    of a text are held out together.

    share: Of all documents, 0 to below 1.
    max_words: Maximum number of words of the sample.
    """

    def __init__(self, share: float, max_words: int) -> None:
        self._limit = int(share * HASH_RANGE)
        self._max_words = max_words
        self._docs: List[Tuple[int, Doc]] = []
        self._n_words = 0
        self._lowest: Optional[Tuple[int, Doc]] = None

    def offer(self, number: int, doc: Doc) -> None:
        """Keep a document if its hash is low enough."""
        if not self._limit or len(doc) > self._max_words:
            return
        if self._lowest is None or number < self._lowest[0]:
            self._lowest = number, doc
        if number >= self._limit:
            return
        self._docs.append((number, doc))
        self._n_words += len(doc)
        while self._n_words > self._max_words:
            self._limit = max(number for number, _ in self._docs)
            self._docs = [entry for entry in self._docs if entry[0] < self._limit]
            self._n_words = sum(len(doc) for _, doc in self._docs)

    def close(self, n_docs: int) -> Tuple[int, List[Doc]]:
        """Return the hash below which documents are held out, and these without copies.

        n_docs: Documents of the corpus; from MIN_DOCS on, at least one is held out.
        """
        if not self._docs and self._lowest is not None and n_docs >= MIN_DOCS:
            self._docs = [self._lowest]
            self._limit = self._lowest[0] + 1
        unique = dict(self._docs)
        return self._limit, [unique[number] for number in sorted(unique)]


def evaluate(
    model: Model, objective: ObjectiveAdapter, docs: Sequence[Doc]
) -> Dict[str, float]:
    """Return the loss per predicted token by head; per word for other objectives.

    The masks are the same in each call, and a call does not change what is learned or
    drawn later.
    Raises: InputError if a loss is NaN or infinite.
    """
    losses = LossMeter()
    with objective.fixed(docs):
        for batch in _batches(docs):
            loss, _ = model.attrs["loss"](model.ops, batch, model.predict(batch))
            objective.collect(losses, float(loss), batch)
    means = losses.means()
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise InputError(f"the held-out loss {name} is {mean}; {DIVERGED}")
    return means


def _batches(docs: Sequence[Doc]) -> Iterator[List[Doc]]:
    batch: List[Doc] = []
    for doc in docs:
        batch.append(doc)
        if sum(map(len, batch)) >= BATCH_WORDS:
            yield batch
            batch = []
    if batch:
        yield batch
