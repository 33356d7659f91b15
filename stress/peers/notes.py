"""What ran in each test, and functions replaced wherever peers name them."""

import sys
import zlib
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any

import catalogue

# What ran, by the test that was running.
RAN: dict[str, set[str]] = defaultdict(set)
# Packages whose modules may name a function that is replaced.
PEERS = ("spacy", "spacy_legacy", "thinc")
_running = "no test"


def begin_test(name: str) -> None:
    """Note what runs from now on for this test."""
    global _running
    _running = name


def in_first_half() -> bool:
    """Return whether the test that is running is in one half of the tests."""
    return zlib.crc32(_running.encode()) % 2 == 0


def note(what: str) -> None:
    """Note that something ran in the test that is running."""
    RAN[_running].add(what)


def noting(what: str, function: Callable, like: Callable | None = None) -> Callable:
    """Note each call of a function, which gets the signature of another if given."""

    @wraps(like or function)
    def run(*args: Any, **settings: Any) -> Any:
        note(what)
        return function(*args, **settings)

    return run


def note_calls(owner: Any, name: str, what: str) -> None:
    """Note each call of a function of a module, or of a method of a class."""
    setattr(owner, name, noting(what, getattr(owner, name)))


def replace_everywhere(old: Any, new: Any, keep: tuple[str, ...] = ()) -> None:
    """Give what peers name or register as one function another in its place.

    keep: Modules in which the names stay.
    """
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] in PEERS and module_name not in keep:
            for name, value in list(vars(module).items()):
                if value is old:
                    setattr(module, name, new)
    for path, value in list(catalogue.REGISTRY.items()):
        if value is old:
            catalogue.REGISTRY[path] = new
