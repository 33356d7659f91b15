"""MaxoutWindowEncoder.v1 against stock, with the same weights and random rows."""

from collections.abc import Callable
from functools import partial

import numpy
import typer
from spacy.ml.models.tok2vec import MaxoutWindowEncoder
from thinc.api import Model, fix_random_seed, require_cpu

from spacy_embedkit import use_fast_ops
from spacy_embedkit.architectures import build_maxout_window_encoder_v1

from .texts import join_docs
from .timing import Row, Setting, arithmetic_limit, compare
from .tok2vec import encoder_flops

WIDTH = 96

Batches = list[list[numpy.ndarray]]


def run(setting: Setting) -> list[Row]:
    """Predict and train on rows for the words of the text, batches of 128 docs."""
    stock = build(MaxoutWindowEncoder)
    if not use_fast_ops():
        raise typer.BadParameter("the fast backend stands aside on this machine")
    on_our_ops = build(MaxoutWindowEncoder)
    ours = build(build_maxout_window_encoder_v1)
    require_cpu()
    limit = arithmetic_limit(encoder_flops(ours))
    random = numpy.random.default_rng(0)
    units = {"sentences": setting.docs, "documents": join_docs(setting.docs, 20)}
    rows = []
    for unit, docs in units.items():
        arrays = [random.normal(size=(len(doc), WIDTH)).astype("f") for doc in docs]
        parts = [arrays[i : i + 128] for i in range(0, len(arrays), 128)]
        n_words = sum(len(doc) for doc in docs)
        for step, share in ((predict, 1), (train, 3)):
            for name, model in (("stock", stock), ("stock on our ops", on_our_ops)):
                rows.append(
                    compare(
                        f"{step.__name__}, {unit}, against {name}",
                        n_words,
                        partial(step, model, parts),
                        partial(step, ours, parts),
                        setting.repeats,
                        # The backward pass multiplies twice.
                        limit / share,
                    )
                )
    return rows


def build(architecture: Callable[[int, int, int, int], Model]) -> Model:
    """Build an encoder with the settings of spaCy's efficiency config."""
    fix_random_seed(0)
    model = architecture(WIDTH, 1, 3, 4)
    return model.initialize(X=[numpy.ones((3, WIDTH), dtype="f")])


def predict(model: Model, parts: Batches) -> None:
    """Predict each batch."""
    for arrays in parts:
        model.predict(arrays)


def train(model: Model, parts: Batches) -> None:
    """Forward and backward over each batch, without an optimizer's step."""
    for arrays in parts:
        Y, backprop = model(arrays, is_train=True)
        backprop(Y)
