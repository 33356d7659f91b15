"""MultiHashEmbed once a type against stock, with the same weights."""

from collections.abc import Callable
from functools import partial

import typer
from spacy.ml.models import MultiHashEmbed
from spacy.tokens import Doc
from thinc.api import Model, fix_random_seed, require_cpu

from spacy_embedkit import use_fast_ops
from spacy_embedkit.architectures import build_multi_hash_embed_v1

from .texts import batches, join_docs
from .timing import Row, Setting, compare
from .tok2vec import predict

Build = Callable[..., Model]


def run(setting: Setting) -> list[Row]:
    """Predict, cold and warm, and train; by sentences and by documents.

    Cold is without a memory: every batch embeds its types anew.
    """
    sentences = setting.docs
    fix_random_seed(0)
    stock = efficiency_embed(MultiHashEmbed).initialize(X=sentences[:10])
    build_cold = partial(build_multi_hash_embed_v1, cache_rows=0)
    cold = efficiency_embed(build_cold).initialize(X=sentences[:10])
    if not use_fast_ops():
        raise typer.BadParameter("the fast backend stands aside on this machine")
    fast = efficiency_embed(build_cold).initialize(X=sentences[:10])
    warm = efficiency_embed(build_multi_hash_embed_v1).initialize(X=sentences[:10])
    require_cpu()
    sides = (
        ("predict, warm", predict, warm),
        ("predict, cold", predict, cold),
        ("predict, cold, fast ops", predict, fast),
        ("train", train, cold),
        ("train, fast ops", train, fast),
    )
    rows = []
    units = {"sentences": sentences, "documents": join_docs(sentences, 20)}
    for unit, docs in units.items():
        n_words = sum(len(doc) for doc in docs)
        for size in (128, 1000):
            parts = batches(docs, size)
            for what, step, ours in sides:
                ours.from_bytes(stock.to_bytes())
                rows.append(
                    compare(
                        f"{what}, {unit}, batch {size}",
                        n_words,
                        partial(step, stock, parts),
                        partial(step, ours, parts),
                        setting.repeats,
                    )
                )
    return rows


def efficiency_embed(build: Build) -> Model:
    """Build the layer with the settings of spaCy's efficiency config."""
    attrs = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
    return build(96, attrs, [5000, 1000, 2500, 2500], False)


def train(model: Model, parts: list[list[Doc]]) -> None:
    """Forward and backward over each batch, without an optimizer's step."""
    for docs in parts:
        Y, backprop = model(docs, is_train=True)
        backprop(Y)
        for node in model.walk():
            for name in node.grad_names:
                node.set_grad(name, node.get_grad(name) * 0)
