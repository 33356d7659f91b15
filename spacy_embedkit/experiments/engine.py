"""Runs the trials of a plan, some at a time; what is finished is not done again."""

import json
import shutil
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from tqdm import tqdm

from ..checks import InputError
from ..io import atomic_folder, remove
from .plan import Plan
from .processes import TRIALS, WorkerProcess, locked, start_worker
from .results import DATA, SPEED, Outcome, Result, read_results
from .trials import (
    Trial,
    content_hash,
    make_trials,
    pipeline_folder,
    trial_name,
    write_subsets,
)

LOGS, MODELS, RUNNING, BEST = "logs", "models", "running", "best"
# What a trial leaves in its folder.
MODEL, RESULT = "model-best", "result.json"
# Seconds between looks at the processes.
PAUSE = 0.1


def run_plan(
    plan: Plan,
    out: Path,
    *,
    jobs: int = 1,
    max_minutes: Optional[float] = None,
    only: str = "*",
    keep_models: bool = False,
    force: bool = False,
) -> Outcome:
    """Run the trials that have no result yet, and time the variants.

    The variants are timed at the end of a run that is not of some trials only.

    out: Folder for results, logs and models.
    jobs: Trials at a time, each in a process of one thread.
    max_minutes: No trial is started after that; those that go on are waited for.
    only: Pattern of the trials to run.
    force: Run trials again whose result was made with other settings.
    Raises InputError before anything is done if there are such results and no force,
        or another process is at work in out.
    """
    with locked(out):
        trials = make_trials(plan, out / DATA)
        results = read_results(trials, out, skip_others=force)
        keep_models = keep_models or plan.keeps_models
        todo = [
            trial
            for trial in trials
            if fnmatchcase(trial.name, only)
            and not (
                trial.name in results
                and (
                    not keep_models
                    or trial.variant.pipeline
                    or (out / MODELS / trial.name).is_dir()
                )
            )
        ]
        if todo:
            write_subsets(plan, todo, out / DATA)
        # A trial of a killed command may write there for another second.
        shutil.rmtree(out / RUNNING, ignore_errors=True)
        for name in (TRIALS, LOGS, MODELS, RUNNING):
            (out / name).mkdir(exist_ok=True)
        runner = _Runner(plan, out, keep_models)
        end = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        try:
            runner.run(todo, jobs, end)
            results = read_results(trials, out, skip_others=force)
            speeds = runner.measure_speeds() if plan.speed and only == "*" else {}
        finally:
            shutil.rmtree(out / RUNNING, ignore_errors=True)
        _keep_best(plan, results, out)
    done = {**results, **runner.failed}
    left = [trial.name for trial in trials if trial.name not in done]
    return Outcome(results, runner.failed, left, speeds)


def models_to_time(plan: Plan, out: Path) -> Dict[str, str]:
    """Return the model of each variant's first seed, by variant."""
    found = {}
    for variant, amount, seed in plan.trials():
        folder = out / MODELS / trial_name(variant.name, amount.docs, seed)
        if variant.pipeline:
            found[variant.name] = variant.pipeline
        elif seed == plan.seeds_of(variant)[0] and folder.is_dir():
            found[variant.name] = str(folder)
    return found


def _keep_best(plan: Plan, results: Mapping[str, Result], out: Path) -> None:
    """Copy the variant's model with the best dev score; test scores play no part."""
    mine = [
        name
        for name, result in results.items()
        if result["variant"] == plan.best and (out / MODELS / name).is_dir()
    ]
    if mine:
        best = max(mine, key=lambda name: results[name]["best_dev_score"])
        with atomic_folder(out / BEST) as partial:
            shutil.copytree(out / MODELS / best, partial, dirs_exist_ok=True)


def keep_trial(name: str, folder: Path, out: Path, keep_model: bool) -> None:
    """Move the result of a trial to its place, and its model, if it is to be kept.

    The result comes last: if it is there, so is its own model, and no other one.
    """
    result, model = out / TRIALS / f"{name}.json", out / MODELS / name
    result.unlink(missing_ok=True)
    remove(model)
    if keep_model:
        (folder / MODEL).replace(model)
    (folder / RESULT).replace(result)


class _Runner:
    """Starts processes and waits for them."""

    def __init__(self, plan: Plan, out: Path, keep_models: bool) -> None:
        self.plan = plan
        self.out = out
        self.keep_models = keep_models
        self.running = Path(tempfile.mkdtemp(dir=out / RUNNING))
        self.failed: Dict[str, str] = {}

    def run(self, trials: Sequence[Trial], jobs: int, end: Optional[float]) -> None:
        """Run the trials in order; none is started after the end."""
        steps = {trial.name: trial.steps for trial in trials}
        waiting, active, done = list(trials), list[WorkerProcess](), 0
        bar = tqdm(total=sum(steps.values()), unit=" steps", disable=None)
        try:
            while waiting or active:
                if end is not None and time.monotonic() > end:
                    waiting.clear()
                while waiting and len(active) < jobs:
                    active += self._start_trial(waiting.pop(0))
                time.sleep(PAUSE)
                for process in list(active):
                    if process.process.poll() is not None:
                        active.remove(process)
                        done += steps[process.name]
                        self._finish(process)
                names = ", ".join(process.name for process in active)
                bar.set_description(names, refresh=False)
                if not bar.disable:
                    bar.update(done + sum(p.step() for p in active) - bar.n)
        finally:
            bar.close()
            for process in active:
                process.stop()

    def measure_speeds(self) -> Dict[str, List[float]]:
        """Time the models, unless these have been timed in the same way before."""
        assert self.plan.speed
        models = models_to_time(self.plan, self.out)
        if not models:
            return {}
        target = self.out / f"{SPEED}.json"
        job = {
            "task": SPEED,
            "result": str(target),
            "models": models,
            "docs": str(self.plan.judge[1]),
            **self.plan.speed.model_dump(),
            "key": {
                "models": {
                    name: content_hash(pipeline_folder(p)) for name, p in models.items()
                },
                "docs": content_hash(self.plan.judge[1]),
                **self.plan.speed.model_dump(),
            },
        }
        if target.exists():
            found = json.loads(target.read_text(encoding="utf8"))
            if found["key"] == job["key"]:
                return dict(found["words_per_second"])
        tqdm.write(f"timing {', '.join(models)}")
        process = self._start(SPEED, job)
        try:
            if process.process.wait():
                raise InputError(f"speed: {process.reason()}")
        finally:
            process.stop()
        return dict(json.loads(target.read_text())["words_per_second"])

    def _start_trial(self, trial: Trial) -> List[WorkerProcess]:
        """Start a trial; return nothing if it can't be."""
        if trial.missing:
            reason = f"{trial.missing[0]}: no such file; make it first"
            self.failed[trial.name] = reason
            tqdm.write(f"{trial.name}: failed: {reason}")
            return []
        job = {
            "task": "trial",
            "dev": str(self.plan.dev),
            "test": self.plan.test and str(self.plan.test),
            "pipeline": trial.variant.pipeline,
            "code": self.plan.code and str(self.plan.code),
            "result": str(self.running / trial.name / RESULT),
            "facts": {
                "trial": trial.name,
                "variant": trial.variant.name,
                "docs": trial.docs,
                "seed": trial.seed,
                "steps": trial.steps,
                "inputs": trial.hashes(),
                "settings": trial.settings,
            },
        }
        return [self._start(trial.name, job, trial)]

    def _start(
        self, name: str, job: Dict[str, Any], trial: Optional[Trial] = None
    ) -> WorkerProcess:
        """Start a process that does a job in a new folder."""
        folder = self.running / name
        folder.mkdir()
        if trial:
            trial.config.to_disk(folder / "config.cfg", interpolate=False)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf8")
        return start_worker(name, folder, self.out / LOGS / f"{name}.txt")

    def _finish(self, process: WorkerProcess) -> None:
        name = process.name
        if process.process.returncode:
            self.failed[name] = process.reason()
            tqdm.write(f"{name}: failed: {self.failed[name]}")
        else:
            has_model = (process.folder / MODEL).is_dir()
            keep_trial(name, process.folder, self.out, self.keep_models and has_model)
            tqdm.write(f"{name}: done")
        remove(process.folder)
