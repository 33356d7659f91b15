"""Trains each recipe with each seed by `spacy train`, two runs at a time."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import (
    ONE_THREAD,
    ProjectError,
    parser_for,
    positive,
    remove,
    replace,
    run_main,
    sha256,
    whole_output,
)
from tqdm import tqdm

TROUBLE = re.compile(r"Error|✘|\[E\d+\]")
STEP = re.compile(r"^ *\d+ +(\d+) ", re.MULTILINE)


@dataclass
class Run:
    """One training run: its name, its command line without output, its process."""

    name: str
    recipe: str
    seed: int
    arguments: list[str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        """Where the run writes until it has finished."""
        return self.folder / f".{self.name}.partial"

    def facts(self) -> dict[str, Any]:
        """What a finished run must have in common with this one to stand for it."""
        return {"arguments": self.arguments, "inputs": self.inputs}


def hash_inputs(arguments: list[str]) -> dict[str, str]:
    """Map each argument that is a file or folder to the hash of its content."""
    result = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_file():
            result[argument] = sha256(path)
        elif path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            lines = [f"{file.relative_to(path)} {sha256(file)}" for file in files]
            result[argument] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return result


def check_names(names: list[str]) -> None:
    """Refuse two recipes of one name: their runs would share folders."""
    for name in names:
        if names.count(name) > 1:
            raise ProjectError(f"--recipe {name!r} is given twice; name each anew")


def plan_runs(args: Namespace) -> list[Run]:
    """List the runs, recipes side by side, so that both meet the same load."""
    common = [*args.common, "--training.max_steps", str(args.steps)]
    common += ["--training.eval_frequency", str(args.eval_every)]
    recipes = [shlex.split(recipe) for recipe in args.recipe]
    check_names([name for name, *_ in recipes])
    runs = []
    for seed in range(args.seeds):
        for name, *own in recipes:
            arguments = [*own, *common, "--system.seed", str(seed)]
            folder = args.out / "runs"
            runs.append(Run(f"{name}-{seed}", name, seed, arguments, folder))
    hashes = hash_inputs(list({word for run in runs for word in run.arguments}))
    for run in runs:
        run.inputs = {word: hashes[word] for word in run.arguments if word in hashes}
    return runs


def is_finished(run: Run) -> bool:
    """Tell whether the same run, on the same inputs, has already been done."""
    path = run.folder / run.name / "run.json"
    if not path.is_file():
        return False
    facts = json.loads(path.read_text(encoding="utf-8"))
    return all(facts.get(key) == value for key, value in run.facts().items())


def start(run: Run) -> None:
    """Start `spacy train` with one thread, its messages in a file."""
    remove(run.partial)
    run.partial.mkdir(parents=True)
    logger = ["--training.logger.@loggers", "spacy.ConsoleLogger.v3"]
    logger += ["--training.logger.progress_bar", "null"]
    logger += ["--training.logger.output_file", str(run.partial / "log.jsonl")]
    command = [sys.executable, "-m", "spacy", "train", *run.arguments, *logger]
    command += ["--output", str(run.partial)]
    environment = {**os.environ, **ONE_THREAD, "ANSI_COLORS_DISABLED": "1"}
    with (run.partial / "train.log").open("wb") as log:
        run.process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    run.started = time.monotonic()


def finish(run: Run) -> None:
    """Keep the folder of a run that ended well; refuse one that did not."""
    assert run.process
    log = run.partial / "train.log"
    if run.process.returncode:
        kept = run.folder / f"failed-{run.name}.log"
        log.replace(kept)
        lines = kept.read_text(encoding="utf-8", errors="replace").splitlines()
        reasons = [line for line in lines if TROUBLE.search(line)] or lines or ["?"]
        raise ProjectError(f"run {run.name}: {reasons[-1].strip()}; see {kept}")
    facts = {
        "recipe": run.recipe,
        "seed": run.seed,
        "seconds": round(time.monotonic() - run.started, 1),
        "best_dev_score": max(read_scores(run.partial)),
        **run.facts(),
    }
    text = json.dumps(facts, indent=1)
    (run.partial / "run.json").write_text(text, encoding="utf-8")
    replace(run.partial, run.folder / run.name)


def read_scores(folder: Path) -> list[float]:
    """Return the dev scores that a finished run has logged."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["score"] for line in lines]


def current_step(run: Run) -> int:
    """Return the last step that a running run has reported."""
    # Not from log.jsonl: spaCy does not flush it before the end.
    text = (run.partial / "train.log").read_text(encoding="utf-8", errors="replace")
    return max(map(int, STEP.findall(text)), default=0)


def train_all(runs: list[Run], jobs: int, steps: int) -> None:
    """Train what is not finished, at most `jobs` at a time; one failure stops all."""
    waiting = [run for run in runs if not is_finished(run)]
    active: list[Run] = []
    done = steps * (len(runs) - len(waiting))
    bar = tqdm(total=steps * len(runs), initial=done, unit=" steps", mininterval=2)
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                active.append(waiting.pop(0))
                start(active[-1])
            time.sleep(0.2)
            for run in list(active):
                if run.process and run.process.poll() is not None:
                    active.remove(run)
                    finish(run)
                    done += steps
            names = ", ".join(run.name for run in active)
            bar.set_description(names or "trained", refresh=False)
            bar.update(done + sum(map(current_step, active)) - bar.n)
    finally:
        bar.close()
        for run in active:
            if run.process:
                run.process.terminate()
                run.process.wait()
        for run in runs:
            remove(run.partial)


def keep_best(runs: list[Run], recipe: str, target: Path) -> None:
    """Copy the recipe's model with the best dev score; test scores play no part."""
    facts = {
        run.name: json.loads((run.folder / run.name / "run.json").read_text())
        for run in runs
        if run.recipe == recipe
    }
    best = max(facts, key=lambda name: facts[name]["best_dev_score"])
    with whole_output(target) as partial:
        shutil.copytree(runs[0].folder / best / "model-best", partial)
    print(f"{target}: {best}, best dev score {facts[best]['best_dev_score']:.4f}")


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("out", type=Path, help="folder for runs/ and the best model")
    add(
        "--recipe",
        action="append",
        required=True,
        help="NAME CONFIG [--OVERRIDE X]; of the last one the best model is kept",
    )
    add("--seeds", type=positive, default=2, help="runs of each recipe, seeds from 0")
    add("--steps", type=positive, required=True, help="training steps of each run")
    add("--eval-every", type=positive, required=True, help="steps between dev scores")
    add("--best", default="best", help="name of the folder of the best model")
    add("--jobs", type=positive, default=2, help="runs at a time")
    parser.epilog = "Behind -- come overrides for all recipes."
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args = parser.parse_args(sys.argv[1:place])
    args.common = sys.argv[place + 1 :]
    return args


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    runs = plan_runs(args)
    train_all(runs, args.jobs, args.steps)
    keep_best(runs, runs[-1].recipe, args.out / args.best)


if __name__ == "__main__":
    run_main(main)
