"""From what a user has and wants to a config, with reasons and next commands."""

from math import ceil
from typing import Any, Dict, Tuple

from spacy.util import load_model_from_config
from thinc.api import Config

from ..checks import InputError
from ..pretraining.default_block import subwords_objective
from . import next_commands
from .answers import Answers, check_answers, choose_recipe
from .draft import Draft
from .fine_tuning import BATCH_WORDS as FINE_TUNING_WORDS
from .fine_tuning import put_fine_tuning, put_transformer
from .found_files import FoundTransformer, look_at_transformer
from .looking_up import OURS, Findings, look_up
from .network import put_callbacks, put_network, put_stock_vectors
from .raw_text import plan_budget, put_pretraining
from .stock_parts import default_transformer, stock_config
from .training_length import (
    plan_fine_tuning,
    plan_training,
    put_for_few_words,
    put_training,
)

# Whose stock parts are not those of spaCy's accuracy pipelines, which have networks for
# text categories.
KINDS = {"accelerate": "efficiency", "transformer": "transformer"}
# Targets of a teacher that are kept, in gigabytes, unless the text needs more.
MAX_CACHE_GB = 10
RULES = "name a file of them in [initialize.components.attribute_ruler]"
CATEGORIZERS = {"textcat", "textcat_multilabel"}


def build_config(answers: Answers) -> Draft:
    """Make the config of a recipe, complete and checked.

    Raises: InputError or ImportError with one line: what was given, what to do.
    """
    recipe = choose_recipe(answers)
    check_answers(answers, recipe)
    found = look_up(answers, recipe)
    stock = stock_config(found.lang, found.pipeline, KINDS.get(recipe, "accuracy"))
    draft = Draft(stock, chosen=found.said, commands=found.commands)
    _put_paths(draft, answers, found)
    if recipe == "transformer":
        _fine_tune(draft, answers, found)
    elif recipe == "accelerate":
        _accelerate(draft, found)
    else:
        _use_our_layers(draft, answers, found)
    if "attribute_ruler" in found.pipeline:
        draft.say("mind", f"attribute_ruler has no rules yet; {RULES}")
    _fill(draft)
    draft.commands += next_commands.train_commands(answers, recipe)
    return draft


def _put_paths(draft: Draft, answers: Answers, found: Findings) -> None:
    draft.put("paths.train", None if answers.train is None else str(answers.train))
    draft.put("paths.dev", None if answers.dev is None else str(answers.dev))
    draft.put("paths.vectors", found.vectors)
    if found.is_mapped:
        why = "Vectors are mapped from the file, and shared by all processes."
        draft.put("nlp.vectors", {"@vectors": OURS}, why)
    if found.annotation and (key := found.annotation.spans_key) not in ("sc", None):
        for name in draft.components:
            if name.startswith("spancat"):
                draft.put(f"components.{name}.spans_key", key, "As annotated.")


def _accelerate(draft: Draft, found: Findings) -> None:
    if found.vectors:
        put_stock_vectors(draft)
    put_callbacks(draft, trains_fast=False)
    draft.say("network", "spaCy's, of its efficiency pipelines; predicts faster")
    if found.annotation:
        put_training(draft, found.annotation, plan_training(found.annotation))


def _use_our_layers(draft: Draft, answers: Answers, found: Findings) -> None:
    is_large = found.recipe == "large"
    if not any("model" in block for block in draft.components.values()):
        raise InputError(
            f"recipe {found.recipe}: no component of {', '.join(found.pipeline)} has a "
            "network; choose --recipe accelerate"
        )
    put_network(draft, has_vectors=found.vectors is not None, is_large=is_large)
    put_callbacks(draft, trains_fast=True)
    if found.annotation:
        put_training(draft, found.annotation, plan_training(found.annotation))
        put_for_few_words(draft, found.annotation)
    _warn(draft, found)
    if found.recipe in ("pretrained", "distilled") or answers.raw:
        _pretrain(draft, answers, found)


def _warn(draft: Draft, found: Findings) -> None:
    names = {"parser", "senter"} & {*found.pipeline}
    if names and found.recipe in ("small", "large") and not found.raw:
        draft.say(
            "mind",
            "in some trainings, n-grams without pretraining cost sentence boundaries: "
            "check sents_f, and pretrain on raw text (--raw) if it is low",
        )
    if "parser" in names and found.annotation and not found.annotation.has_boundaries:
        draft.say(
            "mind",
            "each document is one sentence, so the parser learns no ends of sentences; "
            "convert with spacy convert --n-sents 10",
        )
    if {*found.pipeline} <= CATEGORIZERS:
        draft.say(
            "mind",
            "spaCy's default counts words, without a network: faster than this, and "
            "less accurate where context matters",
        )


def _pretrain(draft: Draft, answers: Answers, found: Findings) -> None:
    budget = plan_budget(found.raw, answers.minutes, found.recipe == "large")
    kind = "transformer" if found.recipe == "distilled" else "subwords"
    objective = subwords_objective()
    if kind == "transformer":
        objective = _teacher(draft, answers, found)
    paths: Any = list(answers.raw) or None
    if len(answers.raw) == 1:
        paths = answers.raw[0]
    put_pretraining(draft, paths, objective, kind, budget)
    draft.say(
        "pretraining",
        f"{budget.epochs} epochs, {budget.steps:,} steps, about {budget.minutes:.0f} "
        "minutes on one core"
        + ("" if found.raw else "; counted for 1,000,000 words: give --raw"),
    )
    draft.commands.append(next_commands.pretrain_command(answers))


def _teacher(draft: Draft, answers: Answers, found: Findings) -> Dict[str, Any]:
    """Return the settings of the objective that learns from a transformer."""
    name, teacher = _find_transformer(draft, answers, found)
    cache = answers.beside("targets")
    size = ""
    max_gb = MAX_CACHE_GB
    if teacher.width and found.raw:
        n_gb = 2 * teacher.width * found.raw.n_words / 1e9
        size, max_gb = f", in {n_gb:.1f} GB", max(max_gb, ceil(n_gb))
    draft.put("paths.transformer", name)
    draft.say(
        "teacher",
        f"{name}; it runs over the text first, which is kept in {cache}{size}",
    )
    layers = None
    if teacher.is_pipeline:
        # Fine-tuned on a task, the last layer knows most of it.
        layers = [-1]
    elif teacher.n_layers and teacher.n_layers > 2:
        # The lowest layer knows least of the context.
        layers = list(range(2, teacher.n_layers + 1))
    return {
        "@architectures": "spacy-embedkit.PretrainTransformer.v1",
        "transformer": "${paths.transformer}",
        "maxout_pieces": 3,
        "hidden_size": 300,
        "layers": layers,
        "cache_dir": cache,
        "max_cache_gb": max_gb,
    }


def _find_transformer(
    draft: Draft, answers: Answers, found: Findings
) -> Tuple[str, FoundTransformer]:
    """Return what the config names, and what is known of it."""
    name = answers.transformer or default_transformer(found.lang)
    transformer = look_at_transformer(name)
    if not answers.transformer:
        draft.say("transformer", f"{name}, usual for {found.lang}; or --transformer")
    if transformer.is_pipeline:
        folder = answers.beside("teacher")
        draft.commands.append(next_commands.save_command(name, folder))
        name = folder
    return name, transformer


def _fine_tune(draft: Draft, answers: Answers, found: Findings) -> None:
    name, transformer = _find_transformer(draft, answers, found)
    put_transformer(draft, name, transformer.n_layers)
    put_callbacks(draft, trains_fast=True)
    max_steps = draft.config["training"]["max_steps"]
    if found.annotation:
        length = plan_fine_tuning(found.annotation, FINE_TUNING_WORDS)
        put_training(draft, found.annotation, length)
        max_steps = length.max_steps
    put_fine_tuning(draft, max_steps)


def _fill(draft: Draft) -> None:
    """Add the defaults; spaCy leaves the pretraining block as it is."""
    pretraining = draft.config.pop("pretraining", {})
    nlp = load_model_from_config(draft.config, auto_fill=True)
    filled = nlp.config
    filled["pretraining"] = pretraining
    draft.config = Config(filled)
