"""What is said while a grid is being done."""

import re
import time
from pathlib import Path
from typing import Sequence

from tqdm import tqdm

from .jobs import Job

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Progress:
    """A bar over the updates of all runs, and a line when a run has ended."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.left = len(jobs)
        self.steps_done = 0
        self.started = time.monotonic()
        total = sum(job.steps for job in jobs)
        self.bar = tqdm(total=total, unit=" steps", disable=None)
        self.steps_left = total

    def show(self, running: Sequence[Job]) -> None:
        """Show which runs go on."""
        names = ", ".join(job.cell.name for job in running)
        self.bar.set_description(names, refresh=False)

    def close(self) -> None:
        """End the bar."""
        self.bar.close()

    def done(self, job: Job, text: str) -> None:
        """Count a run that has ended, and say what came of it and what is left."""
        self.steps_done += job.steps
        self.bar.update(job.steps)
        self._end(job, text)

    def skipped(self, job: Job, text: str) -> None:
        """Count a run that was not started."""
        self._end(job, text)

    def _end(self, job: Job, text: str) -> None:
        self.left -= 1
        self.steps_left -= job.steps
        said = f"{job.cell.name}: {text}; runs left: {self.left}"
        if self.left and self.steps_done:
            pace = (time.monotonic() - self.started) / self.steps_done
            said += f", about {pace * self.steps_left / 60:.0f} min"
        tqdm.write(said)


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    text = ESCAPES.sub("", log.read_text(encoding="utf8", errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "ended without a word"
