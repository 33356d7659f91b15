"""One update of the weights, by an objective of any kind."""

import math
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence

from spacy.ml.models.multi_task import _RandomWords
from spacy.tokens import Doc
from thinc.api import Model, Optimizer

from ...checks import InputError
from ..masked_model import LossMeter
from ..masking import WordSample
from .random_state import fork_rng

DIVERGED = (
    "start again with a lower learn_rate or grad_clip in [pretraining.optimizer], or "
    "use the weights that were saved before"
)


class ObjectiveAdapter:
    """Access to the losses and random words of a pretraining model of any kind.

    The objectives of this package have a sample of words in `attrs["words"]` and the
    losses of their heads in `attrs["losses"]`; those of spaCy have random words in the
    closure of their forward function; one of the user's may have neither.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._stock_words: List[_RandomWords] = [
            cell.cell_contents
            for node in model.walk()
            for cell in getattr(node._func, "__closure__", None) or ()
            if isinstance(cell.cell_contents, _RandomWords)
        ]

    def collect(self, losses: LossMeter, loss: float, docs: Sequence[Doc]) -> None:
        """Add the loss of a batch to losses, by head where the model has heads."""
        meter: Optional[LossMeter] = self._model.attrs.get("losses")
        if meter is None:
            losses.add("loss", loss, sum(map(len, docs)))
            return
        for name, (part, n) in meter.take().items():
            losses.add(name, float(part), n)

    def total(self, means: Dict[str, float]) -> float:
        """Return the weighted sum of the mean losses of the heads."""
        heads = self._model.attrs.get("heads")
        if not heads:
            return sum(means.values())
        return sum(head.weight * means.get(head.name, 0.0) for head in heads)

    def to_dict(self) -> Dict[str, Any]:
        """Return the random words, for a checkpoint."""
        sample: Optional[WordSample] = self._model.attrs.get("words")
        return {
            "words": None if sample is None else list(sample.words),
            "n_seen": None if sample is None else sample.n_seen,
            "stock": [list(map(int, words._cache)) for words in self._stock_words],
        }

    def check(self, state: Dict[str, Any]) -> None:
        """Raise InputError unless from_dict can set the state of a checkpoint."""
        sample: Optional[WordSample] = self._model.attrs.get("words")
        words, n_seen = state["words"], state["n_seen"]
        fits = len(state["stock"]) == len(self._stock_words) and all(
            max(cache, default=-1) < len(known.words)
            for known, cache in zip(self._stock_words, state["stock"], strict=False)
        )
        if sample is not None and words is not None:
            fits &= n_seen is not None and len(words) == min(n_seen, sample.size)
        if not fits:
            raise InputError(
                "the random words of the checkpoint do not fit the objective; use the "
                "spaCy and packages that it was made with"
            )

    def from_dict(self, state: Dict[str, Any]) -> None:
        """Set the random words to what to_dict returned."""
        sample: Optional[WordSample] = self._model.attrs.get("words")
        if sample is not None and state["words"] is not None:
            sample.words, sample.n_seen = list(state["words"]), state["n_seen"]
        for words, cache in zip(self._stock_words, state["stock"], strict=True):
            words._cache[:] = cache

    @contextmanager
    def fixed(self, docs: Sequence[Doc], seed: int = 0) -> Iterator[None]:
        """Draw the same masks whenever the body is run, and leave no trace of it.

        docs: Random words are drawn from these.
        """
        attrs, state = self._model.attrs, self.to_dict()
        losses, sample = attrs.get("losses"), attrs.get("words")
        with fork_rng(seed):
            for words in self._stock_words:
                words._cache.clear()
            if losses is not None:
                attrs["losses"] = LossMeter()
            if sample is not None:
                attrs["words"] = WordSample(sample.size)
                attrs["words"].add([token.text for doc in docs for token in doc])
            try:
                yield
            finally:
                if losses is not None:
                    attrs["losses"] = losses
                if sample is not None:
                    attrs["words"] = sample
                self.from_dict(state)


def update(
    model: Model,
    objective: ObjectiveAdapter,
    optimizer: Optimizer,
    batches: Sequence[List[Doc]],
    losses: LossMeter,
) -> None:
    """Learn from the mean gradient of some batches, and step the schedules.

    losses: The losses of the batches are added to these.
    Raises: InputError if the loss is NaN or infinite; the weights are as before.
    """
    for docs in batches:
        predictions, backprop = model.begin_update(docs)
        loss, gradients = model.attrs["loss"](model.ops, docs, predictions)
        value = float(loss)
        if not math.isfinite(value):
            raise InputError(f"the loss is {value}; {DIVERGED}")
        if len(batches) > 1:
            gradients = _scaled(gradients, 1 / len(batches))
        backprop(gradients)
        objective.collect(losses, value, docs)
    model.finish_update(optimizer)
    optimizer.step_schedules()


def _scaled(gradients: Any, factor: float) -> Any:
    if isinstance(gradients, (list, tuple)):
        return type(gradients)(_scaled(part, factor) for part in gradients)
    return gradients * factor
