"""How good and how fast a pipeline is."""

import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Sequence

import spacy
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import registry
from thinc.api import require_cpu

from ..checks import InputError

# Scores of what a file may have no annotation for, by how their names start. Without it
# a score is missing or, where tokens are misaligned, 0.
ANNOTATION = {
    "tag_": "TAG",
    "pos_": "POS",
    "morph_": "MORPH",
    "lemma_": "LEMMA",
    "dep_": "DEP",
    "sents_": "SENT_START",
    "ents_": "ENT_IOB",
}


def evaluate(nlp: Language, examples: Iterable[Example]) -> Dict[str, float]:
    """Return all scores that are numbers, in percent; not what is not annotated.

    The speed that spaCy gives is left out: it is measured while others run.
    """
    examples = list(examples)
    lacking = tuple(
        prefix
        for prefix, attr in ANNOTATION.items()
        if not any(example.reference.has_annotation(attr) for example in examples)
    )
    return {
        name: 100 * value
        for name, value in nlp.evaluate(examples).items()
        if isinstance(value, (int, float))
        and name != "speed"
        and not name.startswith(lacking)
    }


def list_sets(path: Path) -> Dict[str, Path]:
    """Return the .spacy files at a path by their names."""
    files = sorted(path.rglob("*.spacy")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no .spacy file; run `spacy convert` first")
    return {file.stem: file for file in files}


def evaluate_sets(nlp: Language, path: Path) -> Dict[str, Dict[str, float]]:
    """Return the scores on each file at a path, read as the config reads dev."""
    config = nlp.config.interpolate()
    block: Any = config
    for part in config["training"]["dev_corpus"].split("."):
        block = block[part]
    scores = {}
    for name, file in list_sets(path).items():
        corpus = registry.resolve({"corpus": {**block, "path": str(file)}})["corpus"]
        scores[name] = evaluate(nlp, corpus(nlp))
    return scores


def read_texts(path: Path, words: int) -> Dict[str, Any]:
    """Return texts of about so many words, as many of each file, and their words."""
    vocab = spacy.blank("xx").vocab
    files = list_sets(path).values()
    texts, total = [], 0
    for file in files:
        size = 0
        for doc in DocBin().from_disk(file).get_docs(vocab):
            if size < words / len(files):
                size += len(doc)
                texts.append(doc.text)
        total += size
    return {"texts": texts, "words": total}


def measure_speeds(
    models: Mapping[str, str], texts: Sequence[str], words: int, rounds: int
) -> Dict[str, List[float]]:
    """Return words/s of nlp.pipe in each round, by variant; variants take turns.

    models: Folder of a pipeline by variant.
    """
    pipelines = {}
    for name, folder in models.items():
        # A pipeline loaded before may have chosen another backend.
        require_cpu()
        pipelines[name] = spacy.load(folder)
    speeds: Dict[str, List[float]] = {name: [] for name in pipelines}
    # The first round fills caches and is not counted.
    for turn in range(rounds + 1):
        for name in sorted(pipelines, reverse=turn % 2 == 1):
            start = time.perf_counter()
            for _ in pipelines[name].pipe(texts):
                pass
            if turn:
                speeds[name].append(words / (time.perf_counter() - start))
    return speeds
