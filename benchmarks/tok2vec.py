"""The tok2vec of a trained pipeline, accelerated, against the stock one: prediction."""

from functools import partial
from typing import cast

import typer
from spacy.pipeline import Tok2Vec
from spacy.tokens import Doc
from thinc.api import Model, require_cpu

from spacy_embedkit import accelerate, use_fast_ops
from spacy_embedkit.layers.window_nodes import match_nodes

from .pipe import load
from .texts import batches, join_docs
from .timing import Row, Setting, arithmetic_limit, compare


def run(setting: Setting) -> list[Row]:
    """Predict by sentences and by documents, at two batch sizes."""
    stock, ours = load(setting.pipeline), load(setting.pipeline)
    accelerate(ours)
    if not use_fast_ops():
        raise typer.BadParameter("the fast backend stands aside on this machine")
    on_our_ops = load(setting.pipeline)
    require_cpu()
    pipes = [
        cast(Tok2Vec, nlp.get_pipe("tok2vec")) for nlp in (stock, on_our_ops, ours)
    ]
    models = [pipe.model for pipe in pipes]
    limit = arithmetic_limit(encoder_flops(models[-1].get_ref("encode")))
    print(f"limit: {limit:,.0f} words/s, if only the encoder's products took time")
    rows = []
    # The pipeline's own vocabulary, as in use.
    sentences = [
        Doc(ours.vocab, words=[token.text for token in doc]) for doc in setting.docs
    ]
    units = {"sentences": sentences, "documents": join_docs(sentences, 20)}
    for unit, docs in units.items():
        n_words = sum(len(doc) for doc in docs)
        for size in (128, 1000):
            parts = batches(docs, size)
            for name, model in zip(("stock", "stock on our ops"), models, strict=False):
                rows.append(
                    compare(
                        f"against {name}, {unit}, batch {size}",
                        n_words,
                        partial(predict, model, parts),
                        partial(predict, models[-1], parts),
                        setting.repeats,
                        limit,
                    )
                )
    return rows


def encoder_flops(encode: Model) -> int:
    """Floating-point operations of the encoder's matrix products for one word."""
    layers = match_nodes(encode) or []
    return sum(2 * int(nodes.maxout.get_param("W").size) for nodes in layers)


def predict(model: Model, parts: list[list[Doc]]) -> None:
    """Predict each batch."""
    for docs in parts:
        model.predict(docs)
