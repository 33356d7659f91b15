"""The texts of the command: the config, and what it says to the user."""

from configparser import Error as ConfigError
from pathlib import Path
from textwrap import wrap
from typing import List, Optional, Tuple

from thinc.api import Config
from thinc.config import ConfigValidationError

from ..checks import InputError, one_line
from .answers import RECIPES, Answers, choose_recipe
from .building import build_config
from .draft import to_text
from .moving import move
from .next_commands import train_commands

WIDTH = 76


def check_output_file(path: Optional[Path], force: bool) -> None:
    """Raise InputError unless a config can be written there."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    if path.exists() and not force:
        raise InputError(f"{path}: exists; name another file, or give --force")


def from_recipe(answers: Answers) -> Tuple[str, str]:
    """Return the config of a recipe, and what to say about it."""
    draft = build_config(answers)
    recipe = choose_recipe(answers)
    head = (
        f"spacy-embedkit, recipe {recipe}: {RECIPES[recipe]}. What has no comment is "
        "mostly as in spacy init config."
    )
    text = to_text(draft.config, draft.comments, head)
    return text, _say(answers, draft.chosen, draft.commands)


def from_existing(answers: Answers, existing: Path) -> Tuple[str, str]:
    """Return a config moved over, and what was changed and left.

    Raises: InputError for a file that is not a config, or answers that go with recipes.
    """
    _check_alone(answers)
    text = _read(existing)
    moved = move(text, _parse(text, existing))
    new_text = str(moved.text)
    _parse(new_text, existing)
    lines = [f"{answers.config or 'the config'}: {len(moved.changes)} changes"]
    lines += [f"  {change}" for change in moved.changes]
    if moved.left:
        lines += ["Left as it was:", *(f"  {left}" for left in moved.left)]
    commands = train_commands(answers, "small")
    lines += ["All else is as before, and so are the weights: pipelines trained with"]
    lines += [f"{existing} load with it. Next:", *(f"  {line}" for line in commands)]
    return new_text, "\n".join(lines)


def _check_alone(answers: Answers) -> None:
    given = [
        f"--{name}"
        for name in ("lang", "pipeline", "raw", "vectors", "transformer")
        if getattr(answers, name)
    ]
    if answers.recipe != "auto":
        given.append("--recipe")
    if given:
        raise InputError(
            f"--from moves a config as it is; leave out {', '.join(given)}, or --from"
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8")
    except UnicodeDecodeError as err:
        raise InputError(
            f"{path}: is not UTF-8 ({err.reason} at byte {err.start + 1}); convert it"
        ) from err


def _parse(text: str, path: Path) -> Config:
    try:
        config = Config().from_str(text, interpolate=False)
    except (ConfigValidationError, ValueError, ConfigError) as err:
        raise InputError(
            f"{path}: is not a config ({one_line(err)[:200]}); name one"
        ) from err
    if "lang" not in config.get("nlp", {}):
        raise InputError(
            f"{path}: has no [nlp] block with lang; name a config of spaCy"
        )
    return config


def _say(answers: Answers, chosen: List[Tuple[str, str]], commands: List[str]) -> str:
    lines = [f"{answers.config or 'the config'}:"]
    for what, why in chosen:
        lines += wrap(
            f"{what}: {why}",
            WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines += ["Next, in this folder:", *(f"  {command}" for command in commands)]
    return "\n".join(lines)
