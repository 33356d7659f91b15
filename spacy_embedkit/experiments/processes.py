"""Processes that do the work of a comparison, and the folder that is theirs."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from ..checks import InputError
from ..locks import try_lock

LOCK, TRIALS, REPORT = ".lock", "trials", "report.json"
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES}
WORKER = (sys.executable, "-m", f"{__package__}.worker")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
STEP = re.compile(r"^ *\d+ +(\d+) ", re.MULTILINE)


@dataclass
class WorkerProcess:
    """A trial, or the timing, in a process of its own."""

    name: str
    folder: Path
    log: Path
    process: "subprocess.Popen[bytes]"

    def text(self) -> str:
        """Return what it has written."""
        text = self.log.read_text(encoding="utf8", errors="replace")
        return ESCAPES.sub("", text)

    def step(self) -> int:
        """Return the last step that a training has reported."""
        return max(map(int, STEP.findall(self.text())), default=0)

    def reason(self) -> str:
        """Say why it failed: the last line that it wrote."""
        lines = [line.strip() for line in self.text().splitlines() if line.strip()]
        last = lines[-1].removeprefix("error: ") if lines else "ended without a message"
        return f"{last}; see {self.log}"

    def stop(self) -> None:
        """Kill it, if it is not at its end."""
        self.process.kill()
        self.process.wait()


def start_worker(name: str, folder: Path, log: Path) -> WorkerProcess:
    """Start a process of one thread that does the job in a folder.

    It ends soon after this process does.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*WORKER, str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ONE_THREAD, "ANSI_COLORS_DISABLED": "1"},
        )
    return WorkerProcess(name, folder, log, process)


def check_folder(out: Path) -> None:
    """Raise InputError unless results can be put there, and no file of others is."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder to write")
    if (out / "cells").exists():
        raise InputError(
            f"{out}: holds results of `pretrain-report`, which are not read any more; "
            "name another output folder"
        )
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    if names and names.isdisjoint((LOCK, TRIALS, REPORT)):
        raise InputError(
            f"{out}: holds other files, such as {min(names)}; name a new folder, or "
            "that of an earlier comparison"
        )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes out of a folder; a killed one keeps nobody out."""
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as stream:
        try:
            is_free = try_lock(stream)
        except OSError:
            # The file system has no locks.
            is_free = True
        if not is_free:
            raise InputError(
                f"{out}: another command is at work there; wait for it, or stop it"
            )
        yield
