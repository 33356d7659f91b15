"""What an objective remembers besides its weights, and what it says of its losses."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from spacy.ml.models.multi_task import _RandomWords
from spacy.tokens import Doc
from thinc.api import Model

from ..masked_model import LossMeter
from ..masking import WordSample
from .random_state import set_aside

# Loss, and number of tokens it is about, by head.
Losses = Dict[str, Tuple[float, int]]


class ObjectiveState:
    """Reaches into a pretraining model of any kind.

    The objectives of this package keep their random words in `attrs["words"]` and the
    losses of their heads in `attrs["losses"]`; those of spaCy keep random words in the
    closure of their forward function; one of the user's may have neither.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._stock_words = _find_stock_words(model)

    def take_losses(self, loss: float, n_words: int) -> Losses:
        """Return the losses of the batches since last asked.

        loss, n_words: What is returned, as "loss", where the model counts nothing.
        """
        meter: Optional[LossMeter] = self._model.attrs.get("losses")
        return {"loss": (loss, n_words)} if meter is None else meter.take()

    def total(self, means: Dict[str, float]) -> float:
        """Return the weighted sum of the mean losses of the heads."""
        heads = self._model.attrs.get("heads")
        if not heads:
            return sum(means.values())
        return sum(head.weight * means.get(head.name, 0.0) for head in heads)

    def to_dict(self) -> Dict[str, Any]:
        """Return what is remembered, for a checkpoint."""
        sample: Optional[WordSample] = self._model.attrs.get("words")
        return {
            "words": None if sample is None else list(sample.words),
            "n_seen": None if sample is None else sample.n_seen,
            "stock": [list(map(int, words._cache)) for words in self._stock_words],
        }

    def from_dict(self, state: Dict[str, Any]) -> None:
        """Take over what to_dict returned."""
        sample: Optional[WordSample] = self._model.attrs.get("words")
        if sample is not None and state["words"] is not None:
            sample.words, sample.n_seen = list(state["words"]), state["n_seen"]
        for words, cache in zip(self._stock_words, state["stock"], strict=True):
            words._cache[:] = cache

    @contextmanager
    def fixed(self, docs: Sequence[Doc], seed: int = 0) -> Iterator[None]:
        """Let the body see the same masks each time, and change nothing by it.

        docs: Whose words masks may show.
        """
        attrs = self._model.attrs
        before: Dict[str, Any] = {
            name: attrs[name] for name in ("words", "losses") if name in attrs
        }
        caches = [list(words._cache) for words in self._stock_words]
        with set_aside(seed):
            for words in self._stock_words:
                words._cache.clear()
            if "words" in before:
                attrs["words"] = sample = WordSample(before["words"].size)
                sample.add([token.text for doc in docs for token in doc])
            if "losses" in before:
                attrs["losses"] = LossMeter()
            try:
                yield
            finally:
                attrs.update(before)
                for words, cache in zip(self._stock_words, caches, strict=True):
                    words._cache[:] = cache


def _find_stock_words(model: Model) -> List[_RandomWords]:
    return [
        cell.cell_contents
        for node in model.walk()
        for cell in getattr(node._func, "__closure__", None) or ()
        if isinstance(cell.cell_contents, _RandomWords)
    ]
