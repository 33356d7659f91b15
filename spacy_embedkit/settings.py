"""Checks of settings, and libraries that only some commands need."""

from importlib import import_module
from typing import Any, Sequence

from .files import InputError


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise InputError unless value is one of choices."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless low <= value <= high."""
    if not low <= value <= high:
        raise InputError(f"{name} is {value}, but {low} to {high} is allowed")


def import_extra(module: str, extra: str) -> Any:
    """Import a module, or raise ImportError naming the extra it comes with."""
    try:
        return import_module(module)
    except ImportError as err:
        raise ImportError(
            f"{module} can't be imported ({err}); pip install 'spacy-embedkit[{extra}]'"
        ) from err


def one_line(err: Exception) -> str:
    """Return the text of an error without its line breaks."""
    return " ".join(str(err).split())
