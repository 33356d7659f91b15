"""Pipelines of a tiny transformer and a tagger that listens, ours or of stock."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy
import torch
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Config, fix_random_seed

CONFIG = """
[nlp]
lang = "en"
pipeline = ["transformer", "tagger"]

[components]

[components.transformer]
factory = "transformer"

[components.transformer.model]
@architectures = "spacy-embedkit.TransformerModel.v1"
name = "{name}"
{model}

[components.transformer.model.get_spans]
@span_getters = "spacy-transformers.strided_spans.v1"
window = 6
stride = 4

[components.transformer.model.transformer_config]
output_hidden_states = true

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy-embedkit.TransformerListener.v1"
{listener}
"""
MODEL = ("components", "transformer", "model")
LISTENER = ("components", "tagger", "model", "tok2vec")
STOCK_MODEL = "spacy-transformers.TransformerModel.v3"
STOCK_LISTENER = "spacy-transformers.TransformerListener.v1"
TEXTS = ["the cat sat", "abc  the x", "the", "a b c d e f g h i j", "", "the cat 東 a"]

# Schedules, to append to a config.
SCHEDULE = """
[components.transformer.model.trained_layers]
@schedules = "spacy-embedkit.unfreeze.v1"
frozen_steps = 2
steps_per_layer = 1
"""
FACTOR = """
[components.tagger.model.tok2vec.grad_factor]
@schedules = "constant_then.v1"
rate = {first}
steps = 2

[components.tagger.model.tok2vec.grad_factor.schedule]
@schedules = "constant.v1"
rate = {then}
"""

THAW = FACTOR.format(first=0.0, then=1.0)
FREEZE = FACTOR.format(first=1.0, then=0.0)


@cache
def transformer() -> str:
    """A transformer without dropout, so that two can be compared in training."""
    from .tiny_bert import make_bert

    folder = Path(mkdtemp()) / "bert"
    return make_bert(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def ours(model: str = "", listener: str = "") -> Config:
    """Config of a pipeline whose transformer and listener are those of this package."""
    text = CONFIG.format(name=transformer(), model=model, listener=listener)
    return Config().from_str(text)


def stock() -> Config:
    """Config of the same pipeline without this package."""
    config = ours()
    replace(config, MODEL, STOCK_MODEL)
    replace(config, LISTENER, STOCK_LISTENER)
    block = config["components"]["tagger"]["model"]["tok2vec"]
    block["pooling"] = {"@layers": "reduce_mean.v1"}
    return config


def replace(config: Config, path: tuple, name: str) -> None:
    """Name another architecture."""
    for part in path:
        config = config[part]
    config["@architectures"] = name


def make(config: Config):
    """Make the pipeline, ready to be trained on its examples."""
    fix_random_seed(0)
    nlp = load_model_from_config(config, auto_fill=True)
    docs = [nlp.make_doc(text) for text in TEXTS]
    examples = [
        Example.from_dict(doc, {"tags": ["AB"[token.i % 2] for token in doc]})
        for doc in docs
    ]
    nlp.initialize(lambda: examples)
    return nlp, examples


def shim_of(nlp):
    """What holds the weights of the transformer."""
    [shim] = nlp.get_pipe("transformer").model.layers[0].shims
    return shim


def weights(nlp):
    """Copy the weights of the transformer."""
    model = nlp.get_pipe("transformer").model.transformer
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before, after):
    """Names of weights of which a bit changed."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def vectors(nlp, texts=TEXTS):
    """What the tagger is given for each text."""
    listener = nlp.get_pipe("tagger").model.get_ref("tok2vec")
    return listener.predict(list(nlp.pipe(texts)))


def assert_same_vectors(some, others, atol=1e-5):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert len(one) == len(other)
        if len(one):  # Stock has no width for none.
            numpy.testing.assert_allclose(one, other, atol=atol)
