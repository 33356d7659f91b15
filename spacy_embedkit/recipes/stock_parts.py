"""The parts of a config that spaCy's own `init config` gives."""

from typing import List

from spacy.cli.init_config import RECOMMENDATIONS, init_config
from spacy.language import Language
from spacy.util import get_lang_class
from thinc.api import Config

from ..checks import InputError, one_line

# The teacher of the English recipes that were measured.
TRANSFORMERS = {"en": "sentence-transformers/all-MiniLM-L6-v2"}
# As in spaCy's command, if there is no annotated file to look at.
PIPELINE = ["tagger", "parser", "ner"]
# Added by the recipes.
SOURCES = ("tok2vec", "transformer")
# Factories of components that learn without a network.
LEMMATIZER = "lemmatizer"


def make_blank(lang: str) -> Language:
    """Return an empty pipeline of a language.

    Raises: InputError if spaCy does not have it, or lacks a package for its tokenizer.
    """
    try:
        return get_lang_class(lang)()
    except ImportError as err:
        raise InputError(
            f"--lang is {lang}: {one_line(err)[:300]}; install what is missing, or "
            "give a code such as en, or xx for several languages"
        ) from err


def check_factories(nlp: Language, pipeline: List[str]) -> None:
    """Raise InputError naming a component that can't be in the pipeline, and why."""
    doubled = {name for name in pipeline if pipeline.count(name) > 1}
    for name in pipeline:
        if name in doubled:
            raise InputError(f"--pipeline has {name} twice; name it once")
        if not nlp.has_factory(name):
            raise InputError(
                f"--pipeline has {name}, but there is no such component; name some of "
                f"{', '.join(sorted(nlp.factory_names))}"
            )
    if LEMMATIZER in pipeline:
        _check_lemmatizer(nlp)


def _check_lemmatizer(nlp: Language) -> None:
    pipe = nlp.create_pipe(LEMMATIZER)
    needed, _ = pipe.get_lookups_config(pipe.mode)  # type: ignore[attr-defined]
    from spacy.lookups import load_lookups

    try:
        load_lookups(nlp.lang or "", needed, strict=bool(needed))
    except ValueError as err:
        raise InputError(
            f"--pipeline has lemmatizer, whose tables for {nlp.lang} are missing; pip "
            "install spacy-lookups-data, or name trainable_lemmatizer instead"
        ) from err


def stock_config(lang: str, pipeline: List[str], kind: str) -> Config:
    """Return what `spacy init config` does.

    kind: "efficiency"; "accuracy", which has networks for text categories; or
        "transformer".
    """
    optimize = "accuracy" if kind == "accuracy" else "efficiency"
    return init_config(
        lang=lang, pipeline=pipeline, optimize=optimize, gpu=kind == "transformer"
    )


def default_transformer(lang: str) -> str:
    """The transformer that spaCy recommends, or that our recipes were measured with."""
    found = RECOMMENDATIONS.get(lang, RECOMMENDATIONS["__default__"])
    return TRANSFORMERS.get(lang, found["transformer"]["efficiency"]["name"])
