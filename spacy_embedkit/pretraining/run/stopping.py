"""Ctrl-C and SIGTERM as a wish to stop at the next good moment."""

import signal
import threading
from types import FrameType
from typing import Any, Dict, Optional

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While entered, the first signal is noted; a second one interrupts at once.

    number: Of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.number: Optional[int] = None
        self._before: Dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
