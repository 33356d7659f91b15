"""Scores every finished run on dev and test, and times the recipes side by side."""

import json
import os
import statistics
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from common import (
    ONE_THREAD,
    ProjectError,
    parser_for,
    positive,
    run_main,
    whole_output,
)

METRICS = ("tag_acc", "pos_acc", "morph_acc", "sents_f")
PARSE_METRICS = ("dep_uas", "dep_las")
SPLITS = ("dev", "test")


def load_pipeline(path: Path) -> Any:
    """Load a pipeline on the backend that its own config asks for."""
    import spacy
    from thinc.api import require_cpu

    # A pipeline loaded before may have chosen another.
    require_cpu()
    return spacy.load(path)


def read_examples(nlp: Any, path: Path) -> list[Any]:
    """Read a .spacy file, its text tokenized anew by the pipeline."""
    from spacy.training import Corpus

    return list(Corpus(path)(nlp))


def score(nlp: Any, path: Path) -> dict[str, float]:
    """Return the scores that the file has annotation for, in percent."""
    examples = read_examples(nlp, path)
    parsed = any(example.reference.has_annotation("DEP") for example in examples)
    names = (*METRICS, *PARSE_METRICS) if parsed else METRICS
    scores = nlp.evaluate(examples)
    # Without gold heads the scorer answers 0.0, not None, if a token is misaligned.
    # A pipeline without a component has no score for what that would predict.
    found = {name: scores.get(name) for name in names}
    return {name: 100 * value for name, value in found.items() if value is not None}


def read_facts(run: Path) -> dict[str, Any]:
    """Return what the report says of a run besides its scores."""
    facts = json.loads(run.read_text(encoding="utf-8"))
    keys = ("recipe", "seed", "seconds", "best_dev_score")
    words = facts["arguments"]
    steps = int(words[words.index("--training.max_steps") + 1])
    files = (run.parent / "model-best").rglob("*")
    size = sum(path.stat().st_size for path in files if path.is_file())
    return {key: facts[key] for key in keys} | {"steps": steps, "bytes": size}


def score_runs(folder: Path, corpus: Path) -> list[dict[str, Any]]:
    """Score all runs on each dev and test file."""
    from tqdm import tqdm

    paths = [path for split in SPLITS for path in sorted((corpus / split).iterdir())]
    runs = sorted((folder / "runs").glob("*/run.json"))
    if not runs:
        raise ProjectError(f"{folder}/runs: no finished run; run the train step first")
    results = []
    with tqdm(total=len(runs) * len(paths), desc="scoring", unit=" files") as bar:
        for run in runs:
            nlp = load_pipeline(run.parent / "model-best")
            scores: dict[str, dict[str, dict[str, float]]] = {}
            for path in paths:
                part = scores.setdefault(path.parent.name, {})
                part[path.stem] = score(nlp, path)
                bar.update()
            results.append(read_facts(run) | {"scores": scores})
    return results


def read_texts(corpus: Path, words: int) -> tuple[list[str], int]:
    """Take test texts up to a number of words, a part of each file."""
    import spacy
    from spacy.tokens import DocBin

    vocab = spacy.blank("xx").vocab
    paths = sorted((corpus / "test").iterdir())
    texts, total = [], 0
    for path in paths:
        size = 0
        for doc in DocBin().from_disk(path).get_docs(vocab):
            if size < words / len(paths):
                size += len(doc)
                texts.append(doc.text)
        total += size
    return texts, total


def measure_speed(
    folder: Path, texts: list[str], repeats: int
) -> dict[str, list[float]]:
    """Return seconds of each repeat for seed 0 of each recipe, taking turns."""
    from tqdm import tqdm

    pipelines = {
        path.name.removesuffix("-0"): load_pipeline(path / "model-best")
        for path in sorted((folder / "runs").glob("*-0"))
    }
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    # The first round fills caches and is not counted.
    for turn in tqdm(range(repeats + 1), desc="timing", unit=" rounds"):
        names = sorted(pipelines, reverse=turn % 2 == 1)
        for name in names:
            start = time.perf_counter()
            for _ in pipelines[name].pipe(texts):
                pass
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summarize_speed(seconds: dict[str, list[float]], words: int) -> dict[str, Any]:
    """Turn seconds into words per second: all repeats, median, lowest, highest."""
    result = {}
    for name, times in seconds.items():
        speeds = [round(words / value, 1) for value in times]
        result[name] = {
            "words_per_second": speeds,
            "median": statistics.median(speeds),
            "lowest": min(speeds),
            "highest": max(speeds),
        }
    return result


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="folder of runs/, where scores.json will be")
    add("corpus", type=Path, help="folder that holds dev/ and test/")
    add("--repeats", type=positive, default=7, help="timed rounds of each recipe")
    add("--words", type=positive, default=10000, help="words in a timed round")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    os.environ.update(ONE_THREAD)
    runs = score_runs(args.folder, args.corpus)
    texts, words = read_texts(args.corpus, args.words)
    speed = summarize_speed(measure_speed(args.folder, texts, args.repeats), words)
    scores = {"runs": runs, "speed": speed, "speed_words": words}
    with whole_output(args.folder / "scores.json") as target:
        target.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    print(f"{args.folder}: {len(runs)} runs scored, {len(speed)} recipes timed")


if __name__ == "__main__":
    run_main(main)
