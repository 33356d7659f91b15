"""What a user wants of a config, checked against what each recipe takes."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, FrozenSet, List, Literal, Optional, Sequence

from ..checks import InputError

RecipeName = Literal[
    "auto", "accelerate", "small", "pretrained", "distilled", "large", "transformer"
]
# What each recipe is, and which of the optional files it takes.
RECIPES: Dict[str, str] = {
    "accelerate": "stock layers, which predict faster by a callback",
    "small": "character n-grams in the embedding, on faster layers",
    "pretrained": "the same, pretrained on raw text",
    "distilled": "the same, pretrained on what a transformer gives for raw text",
    "large": "a wider, deeper network at the speed of stock's",
    "transformer": "a transformer, fine-tuned",
}
TAKES: Dict[str, FrozenSet[str]] = {
    "accelerate": frozenset({"vectors"}),
    "small": frozenset({"vectors"}),
    "pretrained": frozenset({"vectors", "raw"}),
    "distilled": frozenset({"vectors", "raw", "transformer"}),
    "large": frozenset({"vectors", "raw"}),
    "transformer": frozenset({"transformer"}),
}
# Modules that recipes need, all of one extra.
NEEDS = {
    "distilled": ("torch", "transformers"),
    "transformer": ("torch", "transformers", "spacy_transformers"),
}
EXTRA = "transformers"


@dataclass(frozen=True)
class Answers:
    """What was given to the command.

    config: Where the config will be, None for standard output.
    recipe: One of RECIPES, or auto.
    lang, pipeline: None and empty if they are to be looked up.
    train, dev: Files or folders of annotated docs.
    raw: Files, folders or patterns of raw text.
    vectors: A folder or package that spaCy loads, or a file to convert.
    transformer: A folder, a name on the hub, or a pipeline that has one.
    minutes: That pretraining may take.
    """

    config: Optional[Path] = None
    recipe: RecipeName = "auto"
    lang: Optional[str] = None
    pipeline: Sequence[str] = ()
    train: Optional[Path] = None
    dev: Optional[Path] = None
    raw: Sequence[str] = ()
    vectors: Optional[str] = None
    transformer: Optional[str] = None
    minutes: float = 30.0

    def beside(self, name: str) -> str:
        """Path of an output next to the config."""
        return str((self.config.parent if self.config else Path()) / name)


def choose_recipe(answers: Answers) -> str:
    """Return the recipe that fits what was given, if none is named."""
    if answers.recipe != "auto":
        return answers.recipe
    if answers.transformer:
        return "distilled" if answers.raw else "transformer"
    return "pretrained" if answers.raw else "small"


def why_recipe(answers: Answers) -> str:
    """Say why choose_recipe chose it."""
    if answers.recipe != "auto":
        return "as asked for"
    if answers.transformer:
        return "a transformer was given" + (", and raw text" if answers.raw else "")
    return "raw text was given" if answers.raw else "there is no raw text (--raw)"


def check_answers(answers: Answers, recipe: str) -> None:
    """Raise InputError or ImportError for what the recipe does not take, or lacks."""
    for name in ("raw", "vectors", "transformer"):
        if getattr(answers, name) and name not in TAKES[recipe]:
            others = ", ".join(other for other in TAKES if name in TAKES[other])
            raise InputError(
                f"recipe {recipe} does not use --{name}; leave it out, or choose one "
                f"of {others}"
            )
    for given in (*answers.raw, *_paths(answers)):
        if "$" in given:
            raise InputError(
                f"{given}: has a $, which starts a variable in a config; rename it"
            )
    if not answers.minutes > 0:
        raise InputError(f"--minutes is {answers.minutes}; give a number above 0")
    for module in NEEDS.get(recipe, ()):
        if not is_installed(module):
            raise ImportError(
                f"recipe {recipe} needs {module}, which is not installed; "
                f"pip install 'spacy-embedkit[{EXTRA}]', or choose another recipe"
            )


def _paths(answers: Answers) -> List[str]:
    paths = (answers.config, answers.train, answers.dev)
    given = (*paths, answers.vectors, answers.transformer)
    return [str(path) for path in given if path is not None]


def is_installed(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
