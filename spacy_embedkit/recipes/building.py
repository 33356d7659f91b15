"""From what a user has and wants to a config, with reasons and next commands."""

from typing import Any, Dict, List, Optional, Tuple

from spacy.util import load_model_from_config
from thinc.api import Config

from ..checks import InputError
from . import next_commands
from .answers import Answers, check_answers, choose_recipe
from .draft import Draft
from .fine_tuning import BATCH_WORDS as FINE_TUNING_WORDS
from .fine_tuning import put_fine_tuning, put_transformer
from .found_files import transformer_of
from .looking_up import OURS, Found, look_up
from .network import put_callbacks, put_network, put_stock_vectors
from .raw_text import plan_budget, put_pretraining, subwords_objective
from .stock_parts import default_transformer, stock_config
from .training_length import (
    plan_training,
    put_for_few_words,
    put_for_parser,
    put_training,
)

# Whose stock parts are not those of spaCy's accuracy pipelines, which have networks for
# text categories.
KINDS = {"accelerate": "efficiency", "transformer": "transformer"}
CATEGORIZERS = {"textcat", "textcat_multilabel"}


def build_config(answers: Answers) -> Draft:
    """Make the config of a recipe, complete and checked.

    Raises: InputError or ImportError with one line: what was given, what to do.
    """
    recipe = choose_recipe(answers)
    check_answers(answers, recipe)
    found = look_up(answers, recipe)
    stock = stock_config(found.lang, found.pipeline, KINDS.get(recipe, "accuracy"))
    draft = Draft(stock, chosen=found.said)
    _put_paths(draft, answers, found)
    if recipe == "transformer":
        _fine_tune(draft, answers, found)
    elif recipe == "accelerate":
        _accelerate(draft, found)
    else:
        _use_our_layers(draft, answers, found)
    _fill(draft)
    draft.commands += next_commands.train_commands(answers, recipe)
    return draft


def _put_paths(draft: Draft, answers: Answers, found: Found) -> None:
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


def _accelerate(draft: Draft, found: Found) -> None:
    if found.vectors:
        put_stock_vectors(draft)
        draft.commands += next_commands.vectors_commands(
            found.vectors, found.make_vectors, found.lang, None
        )
    put_callbacks(draft, trains_fast=False)
    draft.say("network", "spaCy's, of its efficiency pipelines; predicts faster")
    if found.annotation:
        put_training(draft, found.annotation, plan_training(found.annotation))
        put_for_parser(draft, found.annotation)


def _use_our_layers(draft: Draft, answers: Answers, found: Found) -> None:
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
        put_for_parser(draft, found.annotation)
    if found.vectors:
        raw = None if found.make_vectors else answers.raw
        draft.commands += next_commands.vectors_commands(
            found.vectors, found.make_vectors or answers.vectors, found.lang, raw
        )
    _warn(draft, found)
    if found.recipe in ("pretrained", "distilled") or answers.raw:
        _pretrain(draft, answers, found)


def _warn(draft: Draft, found: Found) -> None:
    names = {"parser", "senter"} & {*found.pipeline}
    if names and found.recipe == "small":
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


def _pretrain(draft: Draft, answers: Answers, found: Found) -> None:
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
    draft.commands += next_commands.pretrain_commands(answers)


def _teacher(draft: Draft, answers: Answers, found: Found) -> Dict[str, Any]:
    name, layers, _ = _find_transformer(draft, answers, found)
    draft.put("paths.transformer", name)
    cache = answers.beside("targets")
    draft.say("teacher", f"{name}; what it gives is kept in {cache}")
    return {
        "@architectures": "spacy-embedkit.PretrainTransformer.v1",
        "transformer": "${paths.transformer}",
        "maxout_pieces": 3,
        "hidden_size": 300,
        "layers": layers,
        "cache_dir": cache,
    }


def _find_transformer(
    draft: Draft, answers: Answers, found: Found
) -> Tuple[str, Optional[List[int]], Optional[int]]:
    """Return its name, the layers to learn from, and how many it has."""
    name = answers.transformer or default_transformer(found.lang)
    is_pipeline, n_layers = transformer_of(name)
    if is_pipeline:
        folder = answers.beside("teacher")
        draft.commands += next_commands.save_commands(name, folder)
        # Fine-tuned on a task, the last layer knows most of it.
        return folder, [-1], None
    if not answers.transformer:
        draft.say("transformer", f"{name}, usual for {found.lang}; or --transformer")
    # The lowest layer knows least of the context.
    layers = list(range(2, n_layers + 1)) if n_layers and n_layers > 2 else None
    return name, layers, n_layers


def _fine_tune(draft: Draft, answers: Answers, found: Found) -> None:
    name, _, n_layers = _find_transformer(draft, answers, found)
    put_transformer(draft, name, n_layers)
    put_callbacks(draft, trains_fast=True)
    max_steps = draft.config["training"]["max_steps"]
    if found.annotation:
        length = plan_training(found.annotation, FINE_TUNING_WORDS)
        put_training(draft, found.annotation, length)
        put_for_parser(draft, found.annotation)
        max_steps = length.max_steps
    put_fine_tuning(draft, max_steps)


def _fill(draft: Draft) -> None:
    """Add the defaults, and check that the config can be used."""
    pretraining = draft.config.pop("pretraining", {})
    nlp = load_model_from_config(draft.config, auto_fill=True)
    load_model_from_config(nlp.config)
    filled = nlp.config
    filled["pretraining"] = pretraining
    draft.config = Config(filled)
