"""Tiny pretraining runs: configs, corpora and results."""

import json
from pathlib import Path

import spacy
from spacy.language import DEFAULT_CONFIG_PRETRAIN_PATH
from spacy.tokens import DocBin
from spacy.util import load_config, load_model_from_config
from thinc.api import Config

from spacy_embedkit.pretraining.run.command import pretrain

SAMPLE = Path(__file__).parents[2] / "assets" / "sample.txt"

CONFIG = """
[paths]
raw_text = null

[nlp]
lang = "en"
pipeline = ["tok2vec"]

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tok2vec.model]
@architectures = "spacy.HashEmbedCNN.v2"
width = 8
depth = 1
embed_size = 50
window_size = 1
maxout_pieces = 2
subword_features = false
pretrained_vectors = null

[corpora]

[corpora.pretrain]
@readers = "spacy.JsonlCorpus.v1"
path = ${paths.raw_text}

[pretraining]
max_epochs = 2

[pretraining.batcher]
size = 150

[pretraining.objective]
@architectures = "spacy-embedkit.PretrainCharacters.v1"
maxout_pieces = 1
hidden_size = 8
n_characters = 2

[embedkit]

[embedkit.pretrain]
held_out = 0.2
eval_every = 500
checkpoint_minutes = 0
report = false
"""

OUR_TOK2VEC = {
    "@architectures": "spacy.Tok2Vec.v2",
    "embed": {
        "@architectures": "spacy-embedkit.MultiHashEmbed.v1",
        "width": 8,
        "attrs": ["NORM", "SHAPE"],
        "rows": [50, 20],
        "include_static_vectors": False,
    },
    "encode": {
        "@architectures": "spacy-embedkit.MaxoutWindowEncoder.v1",
        "width": 8,
        "depth": 1,
        "window_size": 1,
        "maxout_pieces": 2,
    },
}
STOCK_CORPUS = {
    "@readers": "spacy.Corpus.v1",
    "path": "${paths.raw_text}",
    "gold_preproc": False,
    "max_length": 0,
    "limit": 0,
    "augmenter": None,
}
STOCK_CHARACTERS = {
    "@architectures": "spacy.PretrainCharacters.v1",
    "maxout_pieces": 1,
    "hidden_size": 8,
    "n_characters": 2,
}


def sample_texts(n=40):
    lines = SAMPLE.read_text(encoding="utf8").splitlines()
    return [line[:200] for line in lines if line.strip()][:n]


def write_jsonl(path, texts):
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    path.write_text("".join(lines), encoding="utf8")
    return path


def write_docbin(path, texts):
    nlp = spacy.blank("en")
    DocBin(docs=[nlp.make_doc(text) for text in texts]).to_disk(path)
    return path


def make_config(corpus, **settings):
    """A complete config; settings by dotted name, with __ for the dots."""
    config = Config().from_str(CONFIG, interpolate=False)
    filled = load_model_from_config(config, auto_fill=True).config
    default = load_config(DEFAULT_CONFIG_PRETRAIN_PATH)
    filled = default.merge(filled)
    filled["paths"]["raw_text"] = str(corpus)
    return change(filled, **settings)


def change(config, **settings):
    """A copy of a config with other settings, named as in make_config."""
    changed = config.copy()
    for name, value in settings.items():
        *blocks, last = name.split("__")
        block = changed
        for part in blocks:
            block = block[part]
        block[last] = value
    return changed


def own(**settings):
    """Settings of the block of our own, as make_config takes them."""
    return {f"embedkit__pretrain__{name}": value for name, value in settings.items()}


def run(config, folder, **options):
    """Run, and return the lines that it said."""
    lines = []
    pretrain(config, folder, say=lines.append, **options)
    return lines


def log_of(folder):
    """The log without what depends on the clock."""
    lines = (folder / "log.jsonl").read_text(encoding="utf8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        del row["minutes"], row["words_per_second"]
    return rows


def result_of(folder):
    """What has to be the same after a run that was interrupted."""
    best = folder / "model-best.bin"
    return (
        (folder / "model-last.bin").read_bytes(),
        best.read_bytes() if best.exists() else None,
        log_of(folder),
    )
