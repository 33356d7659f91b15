"""Settings of a transformer that may change from update to update."""

from typing import Any, Dict, Generic, Iterable, Iterator, Optional, TypeVar, Union

Value = TypeVar("Value", int, float)


class Scheduled(Generic[Value]):
    """A number, or the values of a schedule, one for each update.

    When a schedule ends, its last value stays. A copy, pickled or not, keeps the
    current value for good, since generators, which schedules are, can't be copied.

    value: The value for the coming update.
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
