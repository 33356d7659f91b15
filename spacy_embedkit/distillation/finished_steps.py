"""What is done of a command of several steps, kept in one small file of its folder."""

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping

from ..checks import InputError
from ..io import write_atomic
from ..locks import exclusive

STATE = "distil.json"
Key = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """A step.

    name: In the state and in messages.
    key: All that its result depends on: values that go through JSON, by their names.
    """

    name: str
    key: Key


class FinishedSteps:
    """The steps of a folder: which are done, and of what.

    A step that has begun is noted before it writes anything, so that one of other
    inputs is never gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / STATE
        self.found = self._read()

    def _read(self) -> Dict[str, Any]:
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder}: is a file; name a folder to write")
        if not self.path.exists():
            names = [path.name for path in self.folder.glob("*")]
            others = sorted(name for name in names if not name.startswith("."))
            if others:
                raise InputError(
                    f"{self.folder}: holds other files, such as {others[0]}; name a "
                    "new folder, or that of an earlier run"
                )
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf8"))
            return {
                name: {**step, "key": dict(step["key"])} for name, step in found.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise InputError(
                f"{self.path}: is damaged; delete {self.folder} to start again"
            ) from err

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder, and keep other commands out while the body runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path):
            # Another command may have been at work until now.
            self.found = self._read()
            yield

    def check(self, steps: List[Step]) -> None:
        """Raise InputError naming what differs, if a step was made of other things."""
        for step in steps:
            found = self.differences(step)
            if found:
                more = f" and {len(found) - 3} more" if len(found) > 3 else ""
                raise InputError(
                    f"{self.folder}: its {step.name} was made with others: "
                    f"{'; '.join(found[:3])}{more}; give --force to make it again, or "
                    "name another folder"
                )

    def differences(self, step: Step) -> List[str]:
        """Return a text for each value that differs from that of a begun step."""
        if step.name not in self.found:
            return []
        old, new = self.found[step.name]["key"], json.loads(json.dumps(step.key))
        absent = object()
        return [
            f"{name} is {_short(old.get(name))} there and {_short(new.get(name))} here"
            for name in {**old, **new}
            if old.get(name, absent) != new.get(name, absent)
        ]

    def is_done(self, step: Step) -> bool:
        """Return whether the step is done, with the same key."""
        found = self.found.get(step.name, {})
        return "minutes" in found and not self.differences(step)

    @contextmanager
    def doing(self, step: Step) -> Iterator[Dict[str, Any]]:
        """Note that a step begins, and after the body that it is done.

        Yields: What the step wants to be kept about it, empty at first.
        """
        started, kept = time.monotonic(), dict[str, Any]()
        self._keep(step, {"key": step.key})
        yield kept
        minutes = round((time.monotonic() - started) / 60, 2)
        self._keep(step, {"key": step.key, **kept, "minutes": minutes})

    def _keep(self, step: Step, facts: Dict[str, Any]) -> None:
        self.found[step.name] = facts
        write_atomic(self.path, json.dumps(self.found, indent=1).encode())


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
