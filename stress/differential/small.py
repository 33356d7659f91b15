"""Small pipelines of several kinds, trained on made-up annotations."""

from collections.abc import Callable
from typing import Any

import numpy
import spacy
from spacy.language import Language
from spacy.lookups import Lookups
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import fix_random_seed
from spacy.vectors import Vectors

from .recipes import Writer

WIDTH = 16
POS = ("NOUN", "VERB", "ADJ", "ADV", "DET")
LISTENER = {"@architectures": "spacy.Tok2VecListener.v1", "width": WIDTH}


def _tok2vec(
    attrs: dict[str, int], *, depth: int = 2, window: int = 1, vectors: bool = False
) -> dict[str, Any]:
    return {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": WIDTH,
            "attrs": list(attrs),
            "rows": list(attrs.values()),
            "include_static_vectors": vectors,
        },
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            "width": WIDTH,
            "depth": depth,
            "window_size": window,
            "maxout_pieces": 2,
        },
    }


TABLES = {"NORM": 300, "PREFIX": 100, "SUFFIX": 100, "SHAPE": 50}


def _cnn() -> dict[str, Any]:
    return {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": WIDTH,
        "depth": 2,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 3,
        "subword_features": True,
    }


def _tagger(tok2vec: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "model": {"@architectures": "spacy.Tagger.v2", "tok2vec": tok2vec or LISTENER}
    }


def _transitions(kind: str, tok2vec: dict[str, Any] | None = None) -> dict[str, Any]:
    model = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": kind,
        "extra_state_tokens": False,
        "hidden_width": 16,
        "maxout_pieces": 2,
        "use_upper": True,
        "tok2vec": tok2vec or LISTENER,
    }
    # Every label counts, however seldom it is.
    return {"model": model, **({"min_action_freq": 1} if kind == "parser" else {})}


def _spancat() -> dict[str, Any]:
    return {
        "model": {
            "@architectures": "spacy.SpanCategorizer.v1",
            "tok2vec": LISTENER,
            "reducer": {"@layers": "spacy.mean_max_reducer.v1", "hidden_size": 16},
            "scorer": {"@layers": "spacy.LinearLogistic.v1"},
        }
    }


def _textcat() -> dict[str, Any]:
    linear = {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": True,
        "ngram_size": 1,
        "no_output_layer": False,
        "length": 256,
    }
    return {
        "model": {
            "@architectures": "spacy.TextCatEnsemble.v2",
            "tok2vec": LISTENER,
            "linear_model": linear,
        }
    }


def _make_hash() -> Language:
    return _train({"tok2vec": {"model": _tok2vec(TABLES)}, "tagger": _tagger()})


def _make_vectors() -> Language:
    tok2vec = _tok2vec({**TABLES, "SPACY": 5, "IS_SPACE": 5}, vectors=True)
    parts = {"parser": _transitions("parser"), "ner": _transitions("ner")}
    parts = {"tok2vec": {"model": tok2vec}, "tagger": _tagger(), **parts}
    return _train(parts, table="default")


def _make_floret() -> Language:
    tok2vec = _tok2vec({"LOWER": 300, "ENT_TYPE": 10}, vectors=True, window=2)
    parts = {
        "tok2vec": {"model": tok2vec},
        "morphologizer": _tagger(),
        "trainable_lemmatizer": _tagger(),
        "senter": _tagger(_cnn()),
    }
    return _train(parts, table="floret")


def _make_cnn() -> Language:
    parts = {
        "tok2vec": {"model": _cnn()},
        "textcat": _textcat(),
        "spancat": _spancat(),
        "ner": _transitions("ner", _cnn()),
    }
    nlp = _train(parts)
    ruler: Any = nlp.add_pipe("entity_ruler", config={"overwrite_ents": True})
    ruler.add_patterns([{"label": "RULE", "pattern": word, "id": "1"} for word in "ax"])
    return nlp


def _make_layers() -> Language:
    tok2vec = _tok2vec(TABLES, depth=4, vectors=True)
    parts = {"tok2vec": {"model": tok2vec}, "tagger": _tagger()}
    return _train({**parts, "ner": _transitions("ner")}, table="default")


def _make_rules() -> Language:
    """Make a pipeline whose tags become pos, morph and lemma by rules."""
    nlp = _train({"tok2vec": {"model": _cnn()}, "tagger": _tagger()})
    ruler: Any = nlp.add_pipe("attribute_ruler")
    for kind, pos in enumerate(POS):
        attrs = {"POS": pos, "MORPH": f"Case={kind}"}
        ruler.add(patterns=[[{"TAG": f"T{kind}"}]], attrs=attrs)
    two = [{"POS": "", "TAG": "T2"}, {"TAG": {"NOT_IN": ["T2", "T3"]}}]
    ruler.add(patterns=[two], attrs={"POS": "VERB", "MORPH": "Number=Sing"}, index=1)
    ruler.add(patterns=[[{"TEXT": {"REGEX": "^[a-f]"}}]], attrs={"LEMMA": "regex"})
    ruler.add(patterns=[[{"NORM": "norm"}]], attrs={"TAG": "T4", "NORM": "other"})
    ruler.add(patterns=[[{"IS_SPACE": True}, {"IS_TITLE": True}]], attrs={"DEP": "x"})
    lemmatizer: Any = nlp.add_pipe("lemmatizer", config={"mode": "rule"})
    lemmatizer.initialize(lookups=make_lookups(1))
    return nlp


def make_lookups(seed: int) -> Lookups:
    """Make tables of a lemmatizer by rules: suffixes, exceptions and words."""
    random, lookups = numpy.random.default_rng(seed), Lookups()
    words = [word for recipe in Writer([0]).usual(60) for word in recipe.words]
    parts = [pos.lower() for pos in POS]
    rules = {p: [[a, random.choice(["", "o"])] for a in "aeiouxyzst"] for p in parts}
    exceptions = {p: {w: [w[::-1]] for w in words[n::7]} for n, p in enumerate(parts)}
    lookups.add_table("lemma_rules", rules)
    lookups.add_table("lemma_exc", exceptions)
    lookups.add_table("lemma_index", {p: [w[:-1] for w in words] for p in parts})
    return lookups


SMALL: dict[str, Callable[[], Language]] = {
    "hash": _make_hash,
    "vectors": _make_vectors,
    "floret": _make_floret,
    "cnn": _make_cnn,
    "layers": _make_layers,
    "rules": _make_rules,
}


def make_vectors(nlp: Language, words: list[str], mode: str, seed: int) -> Vectors:
    """Make a table of a pipeline's vocab, 8 wide, of the words or of n-grams.

    It is keyed by ORTH, LOWER or NORM, as the seed has it.
    """
    random = numpy.random.default_rng(seed)
    strings, attr = nlp.vocab.strings, ("LOWER", "ORTH", "NORM")[seed % 3]
    if mode == "floret":
        data = random.normal(size=(101, 8)).astype("f")
        settings = {"mode": "floret", "hash_count": 2, "minn": 2, "maxn": 3}
        return Vectors(strings=strings, data=data, **settings)
    data = random.normal(size=(len(words), 8)).astype("f")
    return Vectors(strings=strings, data=data, keys=words, attr=attr)


def _train(parts: dict[str, dict[str, Any]], table: str = "") -> Language:
    """Train a pipeline until it says more than one thing."""
    fix_random_seed(0)
    nlp = spacy.blank("en")
    for name, config in parts.items():
        nlp.add_pipe(name, config=config)
    recipes = Writer([0]).usual(60)
    words = sorted({word for recipe in recipes for word in recipe.words})
    if table:
        nlp.vocab.vectors = make_vectors(nlp, words[::2], table, seed=1)
    examples = [_example(nlp, list(recipe.words)) for recipe in recipes]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.02
    for _ in range(12):
        nlp.update(examples, sgd=optimizer, drop=0.1)
    return nlp


def _example(nlp: Language, words: list[str]) -> Example:
    """Annotate words by their letters."""
    n = len(words)
    kinds = [sum(map(ord, word)) % 5 for word in words]
    gold: dict[str, Any] = {
        "words": words,
        "tags": [f"T{kind}" for kind in kinds],
        "pos": [POS[kind] for kind in kinds],
        "morphs": [f"Case={kind}" for kind in kinds],
        "lemmas": [word[: -1 - len(word) % 2] or word for word in words],
        "entities": ["U-NAME" if word.istitle() else "O" for word in words],
        "cats": {"EVEN": float(n % 2 == 0), "ODD": float(n % 2)},
    }
    if "senter" in nlp.pipe_names:
        gold["sent_starts"] = [i == 0 or kinds[i - 1] == 0 for i in range(n)]
    else:
        # The next word or the last one, which is the root.
        gold["heads"] = [
            n - 1 if kinds[i] > 2 or i > n - 3 else i + 1 for i in range(n)
        ]
        gold["deps"] = [f"d{kind}" for kind in kinds[:-1]] + ["ROOT"]
    example = Example.from_dict(Doc(nlp.vocab, words=words), gold)
    spans = [i for i in range(n - 1) if kinds[i] > 2]
    example.reference.spans["sc"] = [
        Span(example.reference, i, i + 2, label=f"S{kinds[i]}") for i in spans
    ]
    return example
