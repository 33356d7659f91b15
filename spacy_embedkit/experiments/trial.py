"""One run of a grid, in a process of its own: train, choose by dev, score on test."""

import json
import os
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, List

import spacy
from spacy.cli._util import import_code
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config, resolve_dot_names

from ..checks import one_line
from ..io import write_atomic

# What a run writes while it is going on, in its folder.
CONFIG, JOB, MODEL = "config.cfg", "job.json", "model-best"
PACKAGES = ("spacy", "thinc", "numpy", "spacy-embedkit")


def run(folder: Path) -> None:
    """Do the run that a folder describes, and write its result.

    folder: Has config.cfg and job.json, with the keys test (path), result (path),
        code (path or null) and facts, which go into the result as they are.
    """
    job = json.loads((folder / JOB).read_text(encoding="utf8"))
    started = time.monotonic()
    if job["code"]:
        import_code(Path(job["code"]))
    nlp = init_nlp(load_config(folder / CONFIG, interpolate=False))
    train(nlp, folder)
    trained = time.monotonic()
    best = spacy.load(folder / MODEL)
    weights = best.config["training"]["score_weights"]
    result = {
        **job["facts"],
        "metrics": [name for name, weight in weights.items() if weight is not None],
        "dev": score(best, {}),
        # The only time that the run sees the test data.
        "test": score(best, {"path": job["test"]}),
        "seconds": round(time.monotonic() - started, 1),
        "seconds_of_training": round(trained - started, 1),
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in PACKAGES},
        },
    }
    write_atomic(Path(job["result"]), json.dumps(result, indent=1).encode())


def score(nlp: Language, changes: Dict[str, Any]) -> Dict[str, float]:
    """Return the scores that are numbers, on the dev corpus or a changed one."""
    config = nlp.config.interpolate()
    name = config["training"]["dev_corpus"]
    for key, value in changes.items():
        block = config
        for part in name.split("."):
            block = block[part]
        block[key] = value
    (corpus,) = resolve_dot_names(config, [name])
    scores = nlp.evaluate(list(corpus(nlp)))
    return {k: v for k, v in scores.items() if isinstance(v, (int, float))}


def stop_with_parent() -> None:
    """End this process when the one that started it is gone, even if killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: List[str]) -> None:
    """Run the folder that is named; a trouble is one last line and status 1."""
    stop_with_parent()
    try:
        run(Path(arguments[0]))
    except Exception as err:
        import traceback

        traceback.print_exc()
        sys.exit(f"error: {type(err).__name__}: {one_line(err)}")


if __name__ == "__main__":
    main(sys.argv[1:])
