"""Looks up what a user need not be asked."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from ..checks import InputError
from .annotation import Annotation, check_pipeline, look_at_docs
from .answers import Answers, is_installed, why_recipe
from .found_files import (
    RawText,
    check_vectors,
    lang_of,
    look_at_text,
    pipeline_config,
)
from .next_commands import convert_command, learn_command
from .stock_parts import PIPELINE, SOURCES, check_factories, make_blank

# Words of raw text from which vectors are learned: those of 684,000 words brought 0.3
# LAS to a pretrained network.
MIN_WORDS_TO_LEARN = 500_000
OURS = "spacy-embedkit.Vectors.v1"


@dataclass
class Findings:
    """What was looked up.

    annotation, raw: None without files. vectors: Folder of the config, or None.
    is_mapped: Whether they are, or will be, in our format. said: What was found, and
    why it was chosen. commands: To run first.
    """

    recipe: str
    lang: str
    pipeline: List[str] = field(default_factory=list)
    said: List[Tuple[str, str]] = field(default_factory=list)
    commands: List[str] = field(default_factory=list)
    annotation: Optional[Annotation] = None
    raw: Optional[RawText] = None
    vectors: Optional[str] = None
    is_mapped: bool = False

    def say(self, what: str, why: str) -> None:
        """Tell the user what was found."""
        self.said.append((what, why))


def look_up(answers: Answers, recipe: str) -> Findings:
    """Look at files and packages for all that was not said.

    Raises: InputError naming what was given that can't be used, or is missing.
    """
    lang, why_lang = _find_lang(answers)
    nlp = make_blank(lang)
    found = Findings(recipe, lang)
    found.say("recipe", f"{recipe}: {why_recipe(answers)}")
    found.say("language", f"{lang}: {why_lang}")
    if answers.train:
        found.annotation = look_at_docs(answers.train)
        found.say(str(answers.train), found.annotation.describe())
    if answers.dev:
        look_at_docs(answers.dev)
    found.pipeline, why_pipeline = _find_pipeline(answers, found.annotation)
    check_factories(nlp, found.pipeline)
    found.say("pipeline", f"{', '.join(found.pipeline)}: {why_pipeline}")
    if answers.raw:
        found.raw = look_at_text(answers.raw, nlp)
        found.say("raw text", f"about {found.raw.n_words:,} words")
    if answers.vectors:
        _find_given(answers, found, answers.vectors)
    elif recipe == "pretrained" and found.raw:
        _find_learned(answers, found, found.raw)
    return found


def _find_lang(answers: Answers) -> Tuple[str, str]:
    if answers.lang:
        return answers.lang, "as asked for"
    for option in ("vectors", "transformer"):
        name = getattr(answers, option)
        if name and (lang := lang_of(pipeline_config(name))):
            return lang, f"that of --{option}"
    raise InputError(
        "--lang is not given, and no file says what it is; give a code such as en, or "
        "xx for several languages"
    )


def _find_pipeline(
    answers: Answers, annotation: Optional[Annotation]
) -> Tuple[List[str], str]:
    asked = [name for name in answers.pipeline if name not in SOURCES]
    if annotation and answers.train:
        check_pipeline(answers.train, annotation, asked)
        labels = ", ".join(
            f"{annotation.n_labels(name):,} labels of {name}"
            for name in annotation.propose()
        )
        if not asked and not labels:
            raise InputError(
                f"{answers.train}: has no annotation that a component learns from; "
                "name components by --pipeline, or another file"
            )
        proposed = annotation.propose()
        return (
            (asked, "as asked for") if asked else (proposed, f"annotated are {labels}")
        )
    if asked:
        return asked, "as asked for"
    return PIPELINE, "as in spacy init config; with --train, what is annotated"


def _find_given(answers: Answers, found: Findings, vectors: str) -> None:
    check_vectors(vectors)
    config = pipeline_config(vectors)
    if config is None:
        found.vectors = answers.beside(f"vectors/{found.lang}")
        found.commands.append(convert_command(vectors, found.vectors, found.lang))
        found.is_mapped = True
        found.say("vectors", f"{vectors}, converted to {found.vectors}")
        return
    if (lang := lang_of(config)) != found.lang:
        # spaCy shares the vocab of the pipeline with that of the vectors.
        raise InputError(
            f"--vectors is {vectors}, of language {lang}, but the pipeline's is "
            f"{found.lang}; give --lang {lang}, or convert them with --lang "
            f"{found.lang}"
        )
    block = config["nlp"].get("vectors", {})
    found.is_mapped = block.get("@vectors") == OURS
    found.vectors = vectors
    found.say("vectors", f"{vectors}, as given")


def _find_learned(answers: Answers, found: Findings, raw: RawText) -> None:
    if raw.n_words < MIN_WORDS_TO_LEARN:
        why = f"none: below {MIN_WORDS_TO_LEARN:,} words, there is too little to learn"
    elif not is_installed("floret"):
        why = (
            "none: pip install 'spacy-embedkit[vectors]' and run this again to learn "
            "some from the raw text"
        )
    else:
        found.vectors = answers.beside(f"vectors/{found.lang}")
        found.is_mapped = True
        found.commands.append(learn_command(answers.raw, found.vectors, found.lang))
        why = f"learned from the raw text, to {found.vectors}"
    found.say("vectors", why)
