"""MultiHashEmbed once a type against stock, with the same weights."""

from collections.abc import Callable
from functools import partial

from spacy.ml.models import MultiHashEmbed
from spacy.tokens import Doc
from thinc.api import Model, fix_random_seed

from spacy_embedkit.architectures import build_multi_hash_embed_v1

from .texts import batches, join_docs
from .timing import Row, Setting, compare

Build = Callable[[int, list[str], list[int], bool], Model]


def run(setting: Setting) -> list[Row]:
    """Forward and training step, by sentences and by documents, two batch sizes."""
    sentences = setting.docs
    fix_random_seed(0)
    stock = efficiency_embed(MultiHashEmbed).initialize(X=sentences[:10])
    ours = efficiency_embed(build_multi_hash_embed_v1).initialize(X=sentences[:10])
    ours.from_bytes(stock.to_bytes())
    rows = []
    units = {"sentences": sentences, "documents": join_docs(sentences, 20)}
    for unit, docs in units.items():
        n_words = sum(len(doc) for doc in docs)
        for size in (128, 1000):
            parts = batches(docs, size)
            for step in (forward, train):
                rows.append(
                    compare(
                        f"{step.__name__}, {unit}, batch {size}",
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


def forward(model: Model, parts: list[list[Doc]]) -> None:
    """Predict each batch."""
    for docs in parts:
        model.predict(docs)


def train(model: Model, parts: list[list[Doc]]) -> None:
    """Forward and backward over each batch, without an optimizer's step."""
    for docs in parts:
        Y, backprop = model(docs, is_train=True)
        backprop(Y)
        for node in model.walk():
            for name in node.grad_names:
                node.set_grad(name, node.get_grad(name) * 0)
