"""Runs of a grid, some at a time; what is finished is not done again."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from ..checks import InputError
from ..io import remove, try_lock
from .jobs import Job, make_jobs, write_subsets
from .nested_config import content_hash, differences, fingerprint
from .plan import Grid
from .progress_bar import Progress, last_line

CELLS, LOGS, MODELS, RUNNING, DATA = "cells", "logs", "models", "running", "data"
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES}
# Seconds between looks at the runs.
PAUSE = 0.1


@dataclass
class Outcome:
    """What came of a grid: results by cell, and why cells failed or were left out."""

    results: Dict[str, Dict[str, Any]]
    failed: Dict[str, str] = field(default_factory=dict)
    left: List[str] = field(default_factory=list)


@dataclass
class _Run:
    job: Job
    folder: Path
    process: "subprocess.Popen[bytes]"
    log: Path


def run_grid(
    grid: Grid,
    out: Path,
    *,
    workers: int = 1,
    max_minutes: Optional[float] = None,
    only: str = "*",
    keep_models: bool = False,
) -> Outcome:
    """Do the runs that have no result yet.

    out: Folder for results, logs and models.
    workers: Runs at a time, each in a process of one thread.
    max_minutes: No run is started after that; those that go on are waited for.
    only: Pattern of the cells to do.
    Raises InputError before anything is done if a result in out was made with other
        settings, or another process is at work there.
    """
    with _locked(out):
        jobs = make_jobs(grid, out / DATA)
        results = read_results(jobs, out)
        todo = [
            job
            for job in jobs
            if job.cell.name not in results and fnmatchcase(job.cell.name, only)
        ]
        for name in (CELLS, LOGS, MODELS):
            (out / name).mkdir(exist_ok=True)
        if todo:
            write_subsets(grid, out / DATA)
        runner = _Runner(grid, out, keep_models)
        end = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        try:
            runner.run(todo, workers, end)
        finally:
            remove(out / RUNNING)
        results = read_results(jobs, out)
    done = {**results, **runner.failed}
    left = [job.cell.name for job in jobs if job.cell.name not in done]
    return Outcome(results, runner.failed, left)


def read_grid_results(grid: Grid, out: Path) -> Outcome:
    """Return what is there of a grid, as run_grid does."""
    jobs = make_jobs(grid, out / DATA)
    results = read_results(jobs, out)
    names = [job.cell.name for job in jobs]
    return Outcome(results, left=[name for name in names if name not in results])


def read_results(jobs: Sequence[Job], out: Path) -> Dict[str, Dict[str, Any]]:
    """Return the results that are there, in the order of the jobs.

    Raises InputError naming the settings that differ, if one belongs to another run.
    """
    results = {}
    for job in jobs:
        path = out / CELLS / f"{job.cell.name}.json"
        if not path.exists():
            continue
        try:
            result = json.loads(path.read_text(encoding="utf8"))
            there = dict(result["settings"])
        except (ValueError, KeyError, TypeError) as err:
            raise InputError(f"{path}: is no result of a run; delete it") from err
        here = all_settings(job)
        if "weights" not in here:
            # The file is gone; what was learned from it is still true.
            there.pop("weights", None)
        if found := differences(there, here):
            raise InputError(
                f"{path}: was made with other settings: {'; '.join(found[:3])}"
                f"{f' and {len(found) - 3} more' if len(found) > 3 else ''}; delete "
                "the file, or name another output folder"
            )
        results[job.cell.name] = result
    return results


def all_settings(job: Job) -> Dict[str, Any]:
    """Return the settings of a job with the hash of its weights, if they are there."""
    if job.weights is None:
        return {**job.settings, "weights": None}
    if not job.weights.exists():
        return job.settings
    return {**job.settings, "weights": content_hash(job.weights)}


class _Runner:
    """Starts runs and waits for them."""

    def __init__(self, grid: Grid, out: Path, keep_models: bool) -> None:
        self.grid = grid
        self.out = out
        self.keep_models = keep_models
        self.failed: Dict[str, str] = {}

    def run(self, jobs: Sequence[Job], workers: int, end: Optional[float]) -> None:
        """Do the jobs in order; none is started after the end."""
        self.progress = Progress(jobs)
        waiting, active = list(jobs), list[_Run]()
        try:
            while waiting or active:
                if end is not None and time.monotonic() > end:
                    waiting.clear()
                while waiting and len(active) < workers:
                    active += self._start(waiting.pop(0))
                self.progress.show([run.job for run in active])
                time.sleep(PAUSE)
                for run in list(active):
                    if run.process.poll() is not None:
                        active.remove(run)
                        self._finish(run)
        finally:
            self.progress.close()
            for run in active:
                run.process.kill()
                run.process.wait()

    def _start(self, job: Job) -> List[_Run]:
        """Start a run; return nothing if it can't be."""
        name = job.cell.name
        if job.weights is not None and not job.weights.is_file():
            self.failed[name] = f"{job.weights}: no such file; pretrain first"
            self.progress.skipped(job, f"failed: {self.failed[name]}")
            return []
        folder = self.out / RUNNING / name
        remove(folder)
        folder.mkdir(parents=True)
        self._describe(job, folder)
        log = self.out / LOGS / f"{name}.txt"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.cell", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ONE_THREAD, "ANSI_COLORS_DISABLED": "1"},
            )
        return [_Run(job, folder, process, log)]

    def _describe(self, job: Job, folder: Path) -> None:
        """Write what cell.run reads."""
        cell, settings = job.cell, all_settings(job)
        job.config.to_disk(folder / "config.cfg", interpolate=False)
        facts = {
            "cell": cell.name,
            "weights": cell.weights.name,
            "docs": cell.amount.docs,
            "seed": cell.seed,
            "fingerprint": fingerprint(settings),
            "settings": settings,
        }
        description = {
            "test": str(self.grid.test),
            "result": str(self.out / CELLS / f"{cell.name}.json"),
            "code": self.grid.code and str(self.grid.code),
            "facts": facts,
        }
        (folder / "job.json").write_text(json.dumps(description), encoding="utf8")

    def _finish(self, run: _Run) -> None:
        name = run.job.cell.name
        if run.process.returncode:
            self.failed[name] = f"{last_line(run.log)}; see {run.log}"
            self.progress.done(run.job, f"failed: {self.failed[name]}")
        else:
            if self.keep_models:
                target = self.out / MODELS / name
                remove(target)
                (run.folder / "model-best").replace(target)
            self.progress.done(run.job, "done")
        remove(run.folder)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other processes out of a folder; a killed one keeps nobody out."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder to write")
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as stream:
        if not try_lock(stream):
            raise InputError(
                f"{out}: another command is at work there; wait for it, or stop it"
            )
        yield
