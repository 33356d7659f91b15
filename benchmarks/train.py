"""A training step of tok2vec, tagger and parser: ours and fast ops against stock."""

from functools import partial

import numpy
import typer
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import Config, load_model_from_config
from thinc.api import Optimizer, fix_random_seed, require_cpu

from spacy_embedkit.backend import use_fast_ops

from .texts import ROOT, batches, join_docs
from .timing import Row, Setting, compare

N_LABELS = 20


def run(setting: Setting) -> list[Row]:
    """Update on batches of about 1,000 words, with made-up labels."""
    docs = join_docs(setting.docs, 10)
    n_docs = max(1, 1000 * len(docs) // sum(map(len, docs)))
    parts = batches(docs, n_docs)[:6]
    n_words = sum(len(doc) for part in parts for doc in part)
    examples = [[label(doc) for doc in part] for part in parts]
    stock = build(examples)
    if not use_fast_ops():
        raise typer.BadParameter("the fast backend stands aside on this machine")
    fast = build(examples)
    ours = build(examples, embed="spacy-embedkit.MultiHashEmbed.v1")
    both = build(
        examples,
        embed="spacy-embedkit.MultiHashEmbed.v1",
        encode="spacy-embedkit.MaxoutWindowEncoder.v1",
    )
    require_cpu()
    step = partial(update, parts=examples)
    return [
        compare(
            what,
            n_words,
            partial(step, stock),
            partial(step, other),
            setting.repeats,
        )
        for what, other in (
            ("train, fast ops", fast),
            ("train, and MultiHashEmbed.v1", ours),
            ("train, and MaxoutWindowEncoder.v1", both),
        )
    ]


def label(doc: Doc) -> Example:
    """Give each token a tag by its form, and its neighbour as head."""
    reference = Doc(
        doc.vocab,
        words=[token.text for token in doc],
        tags=[f"T{token.orth % N_LABELS}" for token in doc],
        heads=[max(0, token.i - 1) for token in doc],
        deps=["ROOT" if not token.i else f"d{token.orth % N_LABELS}" for token in doc],
    )
    return Example(doc, reference)


def build(
    parts: list[list[Example]],
    embed: str = "spacy.MultiHashEmbed.v2",
    encode: str = "spacy.MaxoutWindowEncoder.v2",
) -> tuple[Language, Optimizer]:
    """Build and initialize the network of the stock recipe with these layers."""
    fix_random_seed(0)
    config = Config().from_disk(ROOT / "configs" / "stock.cfg", interpolate=False)
    config["nlp"]["lang"] = "en"
    config["nlp"]["pipeline"] = ["tok2vec", "tagger", "parser"]
    del config["components"]["morphologizer"]
    config["components"]["parser"]["min_action_freq"] = 1
    tok2vec = config["components"]["tok2vec"]["model"]
    tok2vec["embed"]["@architectures"] = embed
    tok2vec["encode"]["@architectures"] = encode
    nlp = load_model_from_config(config, auto_fill=True)
    return nlp, nlp.initialize(lambda: [eg for part in parts for eg in part])


def update(pair: tuple[Language, Optimizer], parts: list[list[Example]]) -> None:
    """Update on each batch."""
    nlp, optimizer = pair
    for part in parts:
        losses = nlp.update(part, sgd=optimizer, drop=0.1)
        assert all(numpy.isfinite(value) for value in losses.values())
