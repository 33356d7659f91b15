"""A transformer in a pipeline: what is lost, what fewer bits cost, and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import is_package

from spacy_embedkit.experiments.measure import evaluate

from .timing import Figure

PRECISIONS = ["float32", "bfloat16", "int8"]
N_DOCS = 20_000
# The peaks of memory after a thousand docs and after all, of a process that annotates
# the texts on its standard input again and again.
MEASURE = f"""
import itertools, json, resource, sys
import benchmarks
from benchmarks.transformer import OUR_SPANS, OURS, build
nlp = build(sys.argv[1], OURS, OUR_SPANS, inference_precision="int8")
nlp.add_pipe("embedkit_release")
texts = itertools.islice(itertools.cycle(json.load(sys.stdin)), {N_DOCS})
for i, _ in enumerate(nlp.pipe(texts)):
    if i + 1 in (1000, {N_DOCS}):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
HARD = ["word", "  ", "\N{GRINNING FACE}", "\n\n", "x" * 10_000, "na\u00efve", "."]


def lost(nlp: Language) -> list[Figure]:
    """Count wordpieces and tokens that the outputs lack, in a long and hard text."""
    doc = nlp(" ".join(HARD * 3 + ["chapter", "and", "verse", "."] * 2_000))
    model: Any = nlp.get_pipe("transformer").model  # type: ignore[attr-defined]
    [spans] = model.attrs["get_spans"]([doc])
    data = doc._.trf_data
    n_pieces = sum(len(model.tokenizer(span.text)["input_ids"]) for span in spans)
    bare = [
        token
        for token, n in zip(doc, data.align.lengths, strict=True)
        if not n and not token.is_space
    ]
    return [
        Figure("hard text: wordpieces lost", n_pieces - sum(data.wordpieces.lengths)),
        Figure("hard text: tokens without a vector, spaces aside", len(bare)),
    ]


def accuracy(pipeline: str, gold: list[Doc]) -> list[Figure]:
    """Score a trained pipeline in each precision, if there is one with a transformer.

    pipeline: Folder or package, with a TransformerModel.v1 and a parser.
    gold: Annotated docs.
    """
    if not (is_package(pipeline) or Path(pipeline).is_dir()):
        return []
    config = spacy.load(pipeline).config["components"].get("transformer", {})
    if "inference_precision" not in config.get("model", {}):
        return []
    figures = []
    for precision in PRECISIONS:
        setting = {"components.transformer.model.inference_precision": precision}
        nlp = spacy.load(pipeline, config=setting)
        examples = [
            Example(Doc(nlp.vocab, words=[token.text for token in doc]), doc)
            for doc in gold
        ]
        las = evaluate(nlp, examples)["dep_las"]
        figures.append(Figure(f"trained pipeline, {precision}: LAS", las, "%"))
    return figures


def growth(name: str, sentences: list[Doc]) -> Figure:
    """Return the peak of memory over a stream, over that after a thousand docs."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, name],
        input=json.dumps([doc.text for doc in sentences]),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        text=True,
        check=True,
    )
    first, last = map(float, run.stdout.split())
    return Figure(f"peak memory, {N_DOCS:,} docs over 1,000", last / first)
