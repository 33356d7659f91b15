"""Every command that writes, on inputs so small that it takes a second."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from .place import Place, digest

Result = dict[str, Optional[str]]


def whole(out: Path) -> Result:
    """Return the hash of all files together."""
    return {"": digest(out)}


@dataclass(frozen=True)
class Command:
    """A command that writes.

    arguments: Of the inputs' folder, a place, and a number: 0 is the run that others
        are compared with, 1 one with another result.
    result: What has to be the same after a fault, of its output.
    has_other: Whether 1 makes a difference.
    replaces: Whether a run replaces the output of an earlier one, all or nothing.
    is_ours: False for a command of spaCy that writes things of ours.
    pipeline: Where the output has a pipeline, if it has any.
    left: Pattern of temporary files of others that a kill leaves: by default that by
        which Python finds out where such files can be.
    """

    name: str
    arguments: Callable[[Path, Place, int], list[str]]
    result: Callable[[Path], Result] = whole
    has_other: bool = True
    replaces: bool = False
    is_ours: bool = True
    pipeline: Optional[str] = None
    left: str = r"tmp/[a-z0-9_]{8}"


def _pretrain(config: str) -> Callable[[Path, Place, int], list[str]]:
    def arguments(inputs: Path, place: Place, which: int) -> list[str]:
        command = ["embedkit", "pretrain", str(inputs / f"{config}.cfg")]
        return [*command, str(place.out), "--resume", "--system.seed", str(which)]

    return arguments


def _cached(config: str, setting: str) -> Callable[[Path, Place, int], list[str]]:
    def arguments(inputs: Path, place: Place, which: int) -> list[str]:
        cache = str(place.work / "cache")
        return [*_pretrain(config)(inputs, place, which), setting, cache]

    return arguments


def pretrained(out: Path) -> Result:
    """Return weights and the log of a run, but for what depends on the clock."""
    log = out / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines]
    for row in rows:
        del row["minutes"], row["words_per_second"]
    found: Result = {name: digest(out / name) for name in ("model-last.bin",)}
    found["model-best.bin"] = digest(out / "model-best.bin")
    found["log.jsonl"] = json.dumps(rows)
    return found


def compared(out: Path) -> Result:
    """Return results, models and report, but for what depends on the clock."""
    found: Result = {}
    for path in sorted((out / "trials").glob("*.json")):
        result = json.loads(path.read_text())
        del result["seconds"], result["seconds_of_training"], result["bytes"]
        text = json.dumps(result, sort_keys=True)
        found[path.name] = hashlib.md5(text.encode()).hexdigest()
    for name in ("models", "best", "report.json"):
        # Configs say where the training docs were.
        found[name] = digest(out / name, str(out))
    return found


def distilled(out: Path) -> Result:
    """Return the student, what it was pretrained on, and the scores."""
    found: Result = {}
    for path in sorted((out / "model-best").rglob("*")):
        if path.is_file() and path.suffix not in (".cfg", ".json"):
            found[str(path.relative_to(out))] = digest(path)
    found["transformer"] = digest(out / "transformer")
    found["pretrained"] = digest(out / "pretrain" / "model-last.bin")
    report = out / "report.json"
    if report.exists():
        found["scores"] = json.dumps(json.loads(report.read_text())["comparisons"])
    return found


def trained(out: Path) -> Result:
    """Return the models of a training."""
    return {name: digest(out / name) for name in ("model-best", "model-last")}


def _compare(inputs: Path, place: Place, which: int) -> list[str]:
    return ["embedkit", "compare", str(inputs / "plan.toml"), str(place.out), "-j", "2"]


def _distil(inputs: Path, place: Place, which: int) -> list[str]:
    files = [inputs / "transformer0", inputs / "raw.txt", place.out]
    docs = ["--train", inputs / "docs.spacy", "--dev", inputs / "docs.spacy"]
    return list(map(str, ["embedkit", "distil", *files, *docs, *DISTIL.split()]))


def _save(inputs: Path, place: Place, which: int) -> list[str]:
    pipeline = str(inputs / f"transformer{which}")
    return ["embedkit", "save-transformer", pipeline, str(place.out)]


def _vectors(*command: str) -> Callable[[Path, Place, int], list[str]]:
    def arguments(inputs: Path, place: Place, which: int) -> list[str]:
        words = [str(place.out) if word == "OUT" else word for word in command]
        # Not a format of strings: options have no braces.
        words = [word.format(inputs=inputs, which=which) for word in words]
        return ["embedkit", "vectors", *words]

    return arguments


def _train(inputs: Path, place: Place, which: int) -> list[str]:
    return ["train", str(inputs / "train.cfg"), "--output", str(place.out)]


LEARN = "learn {inputs}/raw.txt OUT -l en --width 8 --buckets 200 --min-count 2"
DISTILL = "distill {inputs}/bert {inputs}/raw.txt OUT -l en --min-count 1 --width 8"
DISTIL = "--epochs 2 --no-baseline --training.max_steps 4 --training.eval_frequency 2"
DISTIL += " --embedkit.pretrain.checkpoint_minutes 0"
CACHE, TARGETS = "--corpora.pretrain.cache_dir", "--pretraining.objective.cache_dir"
COMMANDS = [
    Command("pretrain", _pretrain("characters"), pretrained),
    Command("pretrain-teacher", _cached("teacher", TARGETS), pretrained),
    Command("pretrain-docs-cache", _cached("docs", CACHE), pretrained),
    Command("compare", _compare, compared, has_other=False, pipeline="best"),
    Command(
        "distil",
        _distil,
        distilled,
        has_other=False,
        pipeline="model-best",
        left=r"tmp/.*",
    ),
    # spacy-transformers writes a tokenizer to a temporary folder to load it.
    Command("save-transformer", _save, replaces=True, left=r"tmp/.*"),
    Command(
        "convert",
        _vectors("convert", "{inputs}/words{which}.txt", "OUT", "-l", "en"),
        replaces=True,
        pipeline=".",
    ),
    Command(
        "learn",
        _vectors(*LEARN.split(), "--epochs", "2", "--seed", "{which}"),
        replaces=True,
        pipeline=".",
    ),
    Command(
        "distill",
        _vectors(*DISTILL.split(), "--max-words", "5{which}"),
        replaces=True,
        pipeline=".",
    ),
    Command("train", _train, trained, is_ours=False, pipeline="model-best"),
]


def numbers(nlp: Any) -> str:
    """Hash what a pipeline makes of a text."""
    texts = ["The cat sat. A dog ran on the mat, and a maré é alta!", "", "cat"]
    found = hashlib.md5()
    for doc in nlp.pipe(texts):
        tags = [token.tag_ for token in doc]
        found.update(json.dumps(tags).encode())
        found.update(b"".join(token.vector.tobytes() for token in doc))
    return found.hexdigest()
