"""Interrupts at a chosen line."""

import linecache
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass
class Interrupt:
    """Whether the interrupt has come."""

    happened: bool = False


@contextmanager
def interrupted(modules: Sequence[ModuleType], n_lines: int) -> Iterator[Interrupt]:
    """Raise KeyboardInterrupt at the n-th line of modules that is run, and catch it."""
    files = [module.__file__ for module in modules]
    seen, interrupt = 0, Interrupt()

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in files:
            return None
        # Python never interrupts between the body of `with` and the end of it.
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and "with self._lock" not in line:
            seen += 1
            if seen == n_lines:
                raise KeyboardInterrupt
        return trace

    # That of coverage, for one.
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield interrupt
    except KeyboardInterrupt:
        interrupt.happened = True
    finally:
        sys.settrace(before)
