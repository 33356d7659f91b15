"""A training step of tok2vec, tagger, parser and ner: ours and fast ops against stock.

Where the text has no entities, runs of proper nouns are taken as such: what is measured
is speed.
"""

from collections.abc import Iterator
from functools import partial
from itertools import groupby

import numpy
import typer
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import Config, load_model_from_config
from thinc.api import Optimizer, fix_random_seed, require_cpu

from spacy_embedkit.backend import use_fast_ops

from .texts import ROOT, batches, join_docs
from .timing import Row, Setting, compare

Trainee = tuple[Language, Optimizer]
PIPELINE = ("tok2vec", "tagger", "parser")
# As in the recipes of spaCy's quickstart.
NER = {
    "factory": "ner",
    "model": {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 64,
        "maxout_pieces": 2,
        "use_upper": True,
        "tok2vec": {
            "@architectures": "spacy.Tok2VecListener.v1",
            "width": "${components.tok2vec.model.encode.width}",
        },
    },
}
EMBED, ENCODE = (
    "spacy-embedkit.MultiHashEmbed.v1",
    "spacy-embedkit.MaxoutWindowEncoder.v1",
)
# What is ours in a row, and the components of both sides.
SIDES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "fast ops": ({}, PIPELINE),
    "and MultiHashEmbed.v1": ({"embed": EMBED}, PIPELINE),
    "and MaxoutWindowEncoder.v1": ({"embed": EMBED, "encode": ENCODE}, PIPELINE),
    "all of it, with ner": ({"embed": EMBED, "encode": ENCODE}, (*PIPELINE, "ner")),
}


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
        for doc in docs:
            add_entities(doc)
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
    for what, (layers, components) in SIDES.items():
        stock = build(examples, components)
        if not use_fast_ops():
            raise typer.BadParameter("the fast backend stands aside on this machine")
        ours = build(examples, components, **layers)
        require_cpu()
        yield what, stock, ours


def add_entities(doc: Doc) -> None:
    """Take runs of proper nouns as entities, unless there are some."""
    if doc.has_annotation("ENT_IOB"):
        return
    runs = groupby(doc, key=lambda token: token.pos_ == "PROPN")
    names = [list(run) for is_name, run in runs if is_name]
    doc.ents = [Span(doc, run[0].i, run[-1].i + 1, label="NAME") for run in names]


def unannotated(doc: Doc) -> Doc:
    """Copy the words alone."""
    return Doc(doc.vocab, words=[token.text for token in doc])


def build(
    parts: list[list[Example]],
    components: tuple[str, ...] = PIPELINE,
    embed: str = "spacy.MultiHashEmbed.v2",
    encode: str = "spacy.MaxoutWindowEncoder.v2",
) -> Trainee:
    """Build and initialize the network of the stock recipe with these layers."""
    fix_random_seed(0)
    config = Config().from_disk(ROOT / "configs" / "stock.cfg", interpolate=False)
    config["nlp"]["lang"] = "en"
    config["nlp"]["pipeline"] = list(components)
    config["components"]["ner"] = NER
    config["components"]["parser"]["min_action_freq"] = 1
    for name in set(config["components"]) - set(components):
        del config["components"][name]
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
