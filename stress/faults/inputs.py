"""The inputs of the commands: raw text, docs, word vectors, transformers, configs."""

from pathlib import Path

import numpy
import spacy
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Config
from typer.testing import CliRunner

from tests.helpers.pretraining_runs import make_config, sample_texts, write_jsonl
from tests.helpers.tagger_configs import HEAD
from tests.helpers.tiny_bert import make_bert
from tests.helpers.tiny_pipelines import make_pipeline

ROOT = Path(__file__).parents[2]
TEACHER = {
    "@architectures": "spacy-embedkit.PretrainTransformer.v1",
    "maxout_pieces": 2,
    "hidden_size": 8,
    "targets": "pca",
    "width": 4,
    "cache_dir": None,
}
RAW_TEXT = {"@readers": "spacy-embedkit.RawText.v1", "cache_dir": None}
PLAN = """
config = "{inputs}/train.cfg"
train = "{inputs}/docs.spacy"
dev = "{inputs}/docs.spacy"
test = "{inputs}/docs.spacy"
seeds = 2
best = "none"

[[amounts]]
docs = 7

[[variants]]
name = "none"
"""
TRAIN = """
@architectures = "spacy-embedkit.MultiHashEmbed.v1"
width = 16
attrs = ["NORM", "SHAPE"]
rows = [100, 50]
include_static_vectors = true

[nlp.vectors]
@vectors = "spacy-embedkit.Vectors.v1"

[nlp.after_creation]
@callbacks = "spacy-embedkit.fast_ops.v1"

[initialize]
vectors = "{inputs}/vectors"

[initialize.before_init]
@callbacks = "spacy-embedkit.check_tok2vec.v1"

[paths]
train = "{inputs}/docs.spacy"
dev = "{inputs}/docs.spacy"

[training]
max_steps = 6
eval_frequency = 2

[training.score_weights]
tag_acc = 1.0
"""


def make_inputs(folder: Path) -> None:
    """Write the inputs of all commands to an empty folder."""
    texts = sample_texts(40)
    (folder / "raw.txt").write_text("\n".join(texts), encoding="utf8")
    raw = write_jsonl(folder / "raw.jsonl", texts)
    teacher = {**TEACHER, "transformer": make_bert(folder / "bert")}
    configs = {
        "characters": make_config(raw),
        "teacher": make_config(raw, pretraining__objective=teacher),
        "docs": make_config(folder / "raw.txt", **_reader()),
    }
    for name, config in configs.items():
        config.to_disk(folder / f"{name}.cfg", interpolate=False)
    _write_docs(folder / "docs.spacy", texts)
    for which in range(2):
        _write_words(folder / f"words{which}.txt", texts, which)
        bert = make_bert(folder / f"bert{which}", seed=which)
        make_pipeline(bert).to_disk(folder / f"transformer{which}")
    _convert(folder / "words0.txt", folder / "vectors")
    (folder / "plan.toml").write_text(PLAN.format(inputs=folder))
    _write_training(folder)


def _reader() -> dict[str, object]:
    reader = {**RAW_TEXT, "path": "${paths.raw_text}", "max_length": 20, "shuffle": 50}
    return {"corpora__pretrain": reader}


def _write_training(folder: Path) -> None:
    text = HEAD + TRAIN.format(inputs=folder)
    config = Config().from_str(text, interpolate=False)
    filled = load_model_from_config(config, auto_fill=True).config
    filled.to_disk(folder / "train.cfg", interpolate=False)


def _write_docs(path: Path, texts: list[str]) -> None:
    nlp = spacy.blank("en")
    docs = []
    for text in texts[:12]:
        doc = nlp.make_doc(text[:100])
        tags = {"tags": [str(min(len(token), 3)) for token in doc]}
        docs.append(Example.from_dict(doc, tags).reference)
    DocBin(docs=docs, store_user_data=True).to_disk(path)


def _write_words(path: Path, texts: list[str], seed: int) -> None:
    words = sorted({word for text in texts for word in text.split()})
    rows = numpy.random.default_rng(seed).normal(size=(len(words), 16))
    lines = [" ".join([w, *map(str, row)]) for w, row in zip(words, rows, strict=True)]
    path.write_text(f"{len(words)} 16\n" + "\n".join(lines) + "\n", encoding="utf8")


def _convert(source: Path, target: Path) -> None:
    from spacy_embedkit.cli import vectors_cli

    command = ["convert", str(source), str(target), "--lang", "en"]
    result = CliRunner().invoke(vectors_cli, command)
    assert result.exit_code == 0, result.output
