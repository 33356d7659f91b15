"""A training step of tok2vec, tagger and parser: ours and fast ops against stock."""

from collections.abc import Iterator
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

Trainee = tuple[Language, Optimizer]


def run(setting: Setting) -> list[Row]:
    """Update on batches of about 1,000 words, by sentences and by documents."""
    if not any(doc.has_annotation("DEP") for doc in setting.docs):
        raise typer.BadParameter(
            "training needs annotation; give --texts a .conllu file"
        )
    rows = []
    units = {"sentences": setting.docs, "documents": join_docs(setting.docs, 10)}
    for unit, docs in units.items():
        n_docs = max(1, round(1000 * len(docs) / sum(map(len, docs))))
        parts = batches(docs, n_docs)[:6]
        n_words = sum(len(doc) for part in parts for doc in part)
        examples = [[Example(unannotated(doc), doc) for doc in part] for part in parts]
        step = partial(update, parts=examples)
        rows += [
            compare(
                f"train, {unit}, {what}",
                n_words,
                partial(step, stock),
                partial(step, ours),
                setting.repeats,
            )
            for what, stock, ours in build_pairs(examples)
        ]
    return rows


def build_pairs(
    examples: list[list[Example]],
) -> Iterator[tuple[str, Trainee, Trainee]]:
    """Build the stock network and ours, by degrees.

    Both sides of a pair are new, since a step costs less once the parser has learned.
    """
    embed = "spacy-embedkit.MultiHashEmbed.v1"
    encode = "spacy-embedkit.MaxoutWindowEncoder.v1"
    sides: dict[str, dict[str, str]] = {
        "fast ops": {},
        "and MultiHashEmbed.v1": {"embed": embed},
        "and MaxoutWindowEncoder.v1": {"embed": embed, "encode": encode},
    }
    for what, layers in sides.items():
        stock = build(examples)
        if not use_fast_ops():
            raise typer.BadParameter("the fast backend stands aside on this machine")
        ours = build(examples, **layers)
        require_cpu()
        yield what, stock, ours


def unannotated(doc: Doc) -> Doc:
    """Copy the words alone."""
    return Doc(doc.vocab, words=[token.text for token in doc])


def build(
    parts: list[list[Example]],
    embed: str = "spacy.MultiHashEmbed.v2",
    encode: str = "spacy.MaxoutWindowEncoder.v2",
) -> Trainee:
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


def update(pair: Trainee, parts: list[list[Example]]) -> None:
    """Update on each batch."""
    nlp, optimizer = pair
    for part in parts:
        losses = nlp.update(part, sgd=optimizer, drop=0.1)
        assert all(numpy.isfinite(value) for value in losses.values())
