"""Commands in processes that start at once, and end where they are told to."""

import functools
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Optional, Sequence
from unittest import mock

from spacy_embedkit.experiments import worker
from tests.helpers import processes

from .place import Place

MAX_SECONDS = 600
start_process = functools.partial(
    processes.start_process, preloaded=[f"{__package__}.preload"]
)
# Events of the interpreter, see sys.addaudithook, before a change of a folder.
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Trap:
    """A signal that a process sends itself before its nth change of its folder."""

    event: int
    number: int


class Events:
    """Counts changes of a folder, as the interpreter announces them."""

    def __init__(self, folder: Path, trap: Optional[Trap]) -> None:
        self.folder = str(folder)
        self.trap = trap
        self.n = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count an event, and spring the trap."""
        if event != "open" and event not in CHANGES:
            return
        if event == "open" and not arguments[2] & WRITING:
            return
        paths = [p for p in arguments if isinstance(p, (str, bytes, os.PathLike))]
        # Inside of shutil.rmtree, names are relative to a handle.
        if any(
            self.folder in os.fsdecode(path) or event in ("os.remove", "os.rmdir")
            for path in paths
        ):
            self.n += 1
            if self.trap and self.n == self.trap.event:
                os.kill(os.getpid(), self.trap.number)


@dataclass(frozen=True)
class Options:
    """How a command is run: name of its messages, trap, largest file in bytes.

    forks: Whether compare forks its trials; new processes take ten seconds each.
    """

    name: str = "run"
    trap: Optional[Trap] = None
    max_bytes: Optional[int] = None
    forks: bool = True


PLAIN = Options()


class ForkedTrial:
    """A trial of compare in a forked process, with what it uses of Popen."""

    def __init__(self, events: Events, command: Sequence[str], **settings: Any) -> None:
        self.returncode: Optional[int] = None
        self.pid = os.fork()
        if self.pid == 0:
            # The signal is for the command.
            events.trap = None
            status = 1
            try:
                os.dup2(settings["stdout"].fileno(), 1)
                os.dup2(1, 2)
                # As Popen does: the lock of the folder is not theirs.
                os.closerange(3, 1024)
                os.environ.update(settings["env"])
                worker.main([*command[-2:]])
                status = 0
            finally:
                sys.stdout.flush()
                os._exit(status)

    def poll(self) -> Optional[int]:
        """Return the exit status, if it has ended."""
        return self._wait(os.WNOHANG)

    def wait(self) -> Optional[int]:
        """Wait for the end, and return the exit status."""
        return self._wait(0)

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _wait(self, options: int) -> Optional[int]:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def run_command(arguments: Sequence[str], place: Place, options: Options) -> None:
    """Run a command of spaCy, in a process of its own."""
    os.setsid()
    for number, stream in ((1, "out"), (2, "err")):
        path = place.logs / f"{options.name}.{stream}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    os.environ["TMPDIR"] = str(place.temporary)
    tempfile.tempdir = None
    if options.max_bytes is not None:
        limits = (options.max_bytes, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    events = Events(place.work, options.trap)
    if options.forks:
        forked = functools.partial(ForkedTrial, events)
        mock.patch.object(subprocess, "Popen", forked).start()
    try:
        call(arguments, place.logs / f"{options.name}.ready", events)
    finally:
        (place.logs / f"{options.name}.events").write_text(str(events.n))


def call(arguments: Sequence[str], ready: Path, events: Optional[Events]) -> None:
    """Run a command of spaCy as its command line does; SystemExit says how it ended."""
    from spacy.cli import app
    from spacy.util import registry
    from typer.main import get_command

    registry.cli.get_all()
    command = get_command(app)
    sys.argv = ["spacy", *arguments]
    if events is not None:
        sys.addaudithook(events)
    ready.touch()
    command([*arguments], prog_name="python -m spacy")


def start(
    arguments: Sequence[str], place: Place, options: Options = PLAIN
) -> BaseProcess:
    """Start a command; return when it begins to work."""
    ready = place.logs / f"{options.name}.ready"
    ready.unlink(missing_ok=True)
    process = start_process(run_command, arguments, place, options)
    while not ready.exists() and process.is_alive():
        time.sleep(0.002)
    return process


def exit_code(process: BaseProcess) -> int:
    """Wait for a process; return its exit code."""
    process.join(MAX_SECONDS)
    if process.exitcode is None:
        os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        return -signal.SIGALRM
    return process.exitcode


def is_at_work(process: BaseProcess) -> bool:
    """Return whether the command, or a process that it started, is still running.

    These get three seconds to see that the command is gone.
    """
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            os.killpg(process.pid or 0, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def run(arguments: Sequence[str], place: Place, options: Options = PLAIN) -> int:
    """Run a command to its end; return its exit code."""
    return exit_code(start(arguments, place, options))
