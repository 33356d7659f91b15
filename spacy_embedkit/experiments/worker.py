"""What is done in a process of its own: one trial, or timing the variants."""

import json
import os
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import spacy
from spacy.cli._util import import_code
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from ..checks import one_line
from ..io import write_atomic
from .measure import evaluate_sets, measure_speeds, read_texts

# What a trial writes while it is going on, in its folder.
CONFIG, JOB, MODEL, LOG = "config.cfg", "job.json", "model-best", "log.jsonl"
PACKAGES = ("spacy", "thinc", "numpy", "spacy-embedkit")


def run_trial(folder: Path, job: Dict[str, Any]) -> Dict[str, Any]:
    """Train, choose by dev, and score dev and test; return the result.

    folder: Has config.cfg, and gets the model.
    job: Has dev, test and code (paths; the last two may be null), pipeline (null, or
        one to score as it is) and facts, which go into the result as they are.
    """
    started = time.monotonic()
    if job["code"]:
        import_code(Path(job["code"]))
    curve = [] if job["pipeline"] else _train(folder)
    seconds = time.monotonic() - started
    best = job["pipeline"] or folder / MODEL
    nlp = spacy.load(best)
    weights = nlp.config["training"]["score_weights"]
    sets = {split: job[split] for split in ("dev", "test")}
    # The only time that the trial sees the test data.
    scores = {
        split: evaluate_sets(nlp, Path(path)) if path else {}
        for split, path in sets.items()
    }
    return {
        **job["facts"],
        "weighed": [name for name, weight in weights.items() if weight],
        "scores": scores,
        "curve": curve,
        "best_dev_score": max((score for _, score in curve), default=None),
        "bytes": size_of(nlp.path),
        "seconds": round(time.monotonic() - started, 1),
        "seconds_of_training": round(seconds, 1) if curve else 0.0,
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in PACKAGES},
        },
    }


def size_of(folder: Optional[Path]) -> int:
    """Return the bytes of the files in a folder."""
    files = folder.rglob("*") if folder else []
    return sum(path.stat().st_size for path in files if path.is_file())


def _train(folder: Path) -> List[Tuple[int, float]]:
    """Train the config of a folder; return step and dev score of each evaluation."""
    config = load_config(folder / CONFIG, interpolate=False)
    logger = config["training"]["logger"]
    config["training"]["logger"] = {
        "@loggers": "spacy.ConsoleLogger.v3",
        "progress_bar": None,
        "console_output": True,
        "output_file": str(folder / LOG),
    }
    train(init_nlp(config), folder)
    best = folder / MODEL
    trained = load_config(best / CONFIG, interpolate=False)
    trained["training"]["logger"] = logger
    trained.to_disk(best / CONFIG, interpolate=False)
    lines = (folder / LOG).read_text(encoding="utf8").splitlines()
    return [(row["step"], 100 * row["score"]) for row in map(json.loads, lines)]


def time_variants(folder: Path, job: Dict[str, Any]) -> Dict[str, Any]:
    """Measure words/s of each model.

    job: Has models (folders or packages by variant), docs (path), words, rounds, and
        key, which goes into the result.
    """
    found = read_texts(Path(job["docs"]), job["words"])
    speeds = measure_speeds(
        job["models"], found["texts"], found["words"], job["rounds"]
    )
    return {"key": job["key"], "words": found["words"], "words_per_second": speeds}


TASKS = {"trial": run_trial, "speed": time_variants}


def stop_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, even if killed.

    parent: Its process id, which it says itself: it may be gone already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: List[str]) -> None:
    """Do a job; an error is one last line and status 1.

    arguments: A folder, whose job.json says which task it is and where its result goes,
        and the id of the process that waits for it.
    """
    stop_with_parent(int(arguments[1]))
    try:
        folder = Path(arguments[0])
        job = json.loads((folder / JOB).read_text(encoding="utf8"))
        result = TASKS[job["task"]](folder, job)
        write_atomic(Path(job["result"]), json.dumps(result, indent=1).encode())
    except Exception as err:
        import traceback

        traceback.print_exc()
        sys.exit(f"error: {type(err).__name__}: {one_line(err)}")


if __name__ == "__main__":
    main(sys.argv[1:])
