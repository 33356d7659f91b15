"""Commands to run with a config, in order, which can be pasted into a shell."""

import shlex
from typing import List, Sequence

from .answers import Answers

SPACY = "python -m spacy"
CONFIG = "config.cfg"
WEIGHTS = "model-best.bin"


def _join(*parts: object) -> str:
    return f"{SPACY} {shlex.join(str(part) for part in parts)}"


def convert_command(source: str, folder: str, lang: str) -> str:
    """Convert vectors."""
    return _join("embedkit", "vectors", "convert", source, folder, "--lang", lang)


def learn_command(raw: Sequence[str], folder: str, lang: str) -> str:
    """Learn vectors from raw text."""
    return _join("embedkit", "vectors", "learn", *raw, folder, "--lang", lang)


def save_command(pipeline: str, folder: str) -> str:
    """Write the transformer of a pipeline to a folder."""
    return _join("embedkit", "save-transformer", pipeline, folder)


def pretrain_command(answers: Answers) -> str:
    """Pretrain the tok2vec component."""
    command = _join("embedkit", "pretrain", _config(answers), _weights(answers))
    return command + ("" if answers.raw else " --paths.raw_text RAW.jsonl")


def train_commands(answers: Answers, recipe: str) -> List[str]:
    """Train, and evaluate."""
    output = answers.beside("training")
    train = _join("train", _config(answers), "--output", output)
    for name in ("train", "dev"):
        if getattr(answers, name) is None:
            train += f" --paths.{name} {name.upper()}.spacy"
    if recipe in ("pretrained", "distilled") or answers.raw:
        weights = shlex.quote(f"{_weights(answers)}/{WEIGHTS}")
        train += f" --paths.init_tok2vec {weights}"
    dev = shlex.quote(str(answers.dev)) if answers.dev else "DEV.spacy"
    return [train, f"{_join('evaluate', f'{output}/model-best')} {dev}"]


def _config(answers: Answers) -> str:
    return str(answers.config or CONFIG)


def _weights(answers: Answers) -> str:
    return answers.beside("pretrain")
