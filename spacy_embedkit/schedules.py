"""Settings that may change from update to update."""

from itertools import count
from typing import Any, Dict, Generic, Iterable, Iterator, Optional, TypeVar, Union

from .checks import check_not_negative, check_positive

Value = TypeVar("Value", int, float)


class Scheduled(Generic[Value]):
    """A number, or the values of a schedule, one for each update.

    When a schedule ends, its last value stays. A copy, pickled or not, keeps the value
    of the moment, since the generators that schedules are can't be copied.

    value: That of the coming update.
    """

    def __init__(self, setting: Union[Value, Iterable[Value]]) -> None:
        self._values: Optional[Iterator[Value]] = None
        if isinstance(setting, (int, float)):
            self.value: Value = setting
        else:
            self._values = iter(setting)
            self.advance()

    @property
    def is_constant(self) -> bool:
        """Whether the value never changes."""
        return self._values is None

    def advance(self) -> None:
        """Go on to the next update."""
        if self._values is not None:
            self.value = next(self._values, getattr(self, "value", 0))

    def __getstate__(self) -> Dict[str, Any]:
        return {"value": self.value, "_values": None}


def build_unfreeze_v1(frozen_steps: int, steps_per_layer: int = 1) -> Iterable[int]:
    """Give the number of layers that learn, more and more, from the top.

    For `trained_layers` of TransformerModel.v1: none in the first updates, then one
    more after each steps_per_layer, until all do.

    frozen_steps (int): Updates without any, 0 or more.
    steps_per_layer (int): Updates between two layers, 1 or more.
    Source: Howard and Ruder 2018, arXiv:1801.06146.
    """
    check_not_negative("unfreeze.v1", "frozen_steps", frozen_steps)
    check_positive("unfreeze.v1", "steps_per_layer", steps_per_layer)
    return _unfreeze(frozen_steps, steps_per_layer)


def _unfreeze(frozen_steps: int, steps_per_layer: int) -> Iterator[int]:
    for step in count(-frozen_steps):
        yield max(0, step // steps_per_layer + 1)
