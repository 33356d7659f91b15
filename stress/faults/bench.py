"""Undisturbed runs to compare with, and what a try has to end as."""

import random
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Iterator, Optional

from .commands import Command, Result
from .place import Place
from .process import PLAIN, Options, run, start


class SkippedError(Exception):
    """A fault that is not possible for a command, or on this system."""


@dataclass(frozen=True)
class Reference:
    """An undisturbed run.

    place: Where it was made; is not changed. names: Of all files of the place.
    seconds: That it took. events: Changes that it made, see process.Events.
    """

    place: Place
    result: Result
    names: list[str]
    seconds: float
    events: int


class Bench:
    """Inputs, undisturbed runs by command, and a folder for each try."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder / "inputs"
        self._references: dict[tuple[str, int], Reference] = {}

    def reference(self, command: Command, which: int = 0) -> Reference:
        """Return the undisturbed run of a command."""
        key = command.name, which
        if key not in self._references:
            self._references[key] = self._run_reference(command, which)
        return self._references[key]

    def _run_reference(self, command: Command, which: int) -> Reference:
        results = []
        # The second one shows what differs without a fault.
        for i in range(2):
            name = f"{command.name} {which} {i}"
            place = Place(self.folder / "references" / name).make()
            began = time.monotonic()
            arguments = command.arguments(self.inputs, place, which)
            code = run(arguments, place, Options(forks=bool(i)))
            seconds = time.monotonic() - began
            if code:
                lines = place.messages("run").strip().splitlines() or ["no message"]
                raise RuntimeError(f"{command.name}: exit code {code}: {lines[-1]}")
            results.append((command.result(place.out), place.names()))
        if results[0] != results[1]:
            wrong = {*results[0][0].items()} ^ {*results[1][0].items()}
            names = sorted({key for key, _ in wrong})
            raise RuntimeError(f"{command.name}: two undisturbed runs differ: {names}")
        events = int((place.logs / "run.events").read_text())
        return Reference(place, *results[0], seconds, events)

    @contextmanager
    def place(self, earlier: Optional[Reference] = None) -> Iterator[Place]:
        """Make a folder for a try, with the result of an earlier run."""
        # A process that a killed command left may write there.
        temporary = tempfile.TemporaryDirectory(
            dir=self.folder, ignore_cleanup_errors=True
        )
        with temporary as name:
            place = Place(Path(name)).make()
            if earlier is not None:
                shutil.copytree(earlier.place.work, place.work, dirs_exist_ok=True)
            yield place


@dataclass
class Try:
    """One command, one fault, one place.

    earlier: The result that was there before, if there was one.
    """

    bench: Bench
    command: Command
    random: random.Random
    place: Place
    earlier: Optional[Reference] = None

    @property
    def reference(self) -> Reference:
        """The undisturbed run."""
        return self.bench.reference(self.command)

    def arguments(self, which: int = 0, place: Optional[Place] = None) -> list[str]:
        """Return the arguments of the command."""
        place = place or self.place
        return self.command.arguments(self.bench.inputs, place, which)

    def start(self, options: Options = PLAIN) -> BaseProcess:
        """Start the command."""
        return start(self.arguments(), self.place, options)

    def check_kept(self) -> list[str]:
        """Say what is lost before the command runs again."""
        if not self.command.replaces:
            return []
        found = self.command.result(self.place.out)
        before = self.earlier.result if self.earlier else {"": None}
        if found in (self.reference.result, before):
            return []
        return [f"the output is {'gone' if found == {'': None} else 'incomplete'}"]

    def check_again(self, which: int = 0) -> list[str]:
        """Run the command again, and say how the end differs."""
        code = run(self.arguments(which), self.place, Options("again"))
        if code:
            lines = self.place.messages("again").strip().splitlines()
            return [f"run again: exit code {code}: {lines[-1] if lines else ''}"]
        return self.check_end(which)

    def check_end(self, which: int = 0) -> list[str]:
        """Say how results and names of files differ from the undisturbed run."""
        troubles, expected = [], self.bench.reference(self.command, which)
        found = self.command.result(self.place.out)
        wrong = {*found.items()} ^ {*expected.result.items()}
        if wrong:
            names = sorted({key for key, _ in wrong})
            troubles.append(f"the result differs: {', '.join(names) or 'all'}")
        left = re.compile(self.command.left)
        names = [name for name in self.place.names() if not left.fullmatch(name)]
        if more := sorted({*names} - {*expected.names}):
            troubles.append(f"left over: {', '.join(more[:4])}")
        if less := sorted({*expected.names} - {*names}):
            troubles.append(f"missing: {', '.join(less[:4])}")
        return troubles
