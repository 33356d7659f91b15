"""Embedding layers, span getters, annotation setters and pretraining for spaCy.

Everything is reached by its registered name in config.cfg; importing this
package is not needed. See the table in README.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import catalogue
from spacy.util import registry

if TYPE_CHECKING:
    from .acceleration import accelerate
    from .backend import use_fast_ops
    from .threads import pipe

__all__ = ["__version__", "accelerate", "pipe", "use_fast_ops"]

_PUBLIC = {
    "accelerate": "acceleration",
    "pipe": "threads",
    "use_fast_ops": "backend",
}


def ensure_registries() -> None:
    """Add the registries `span_getters` and `annotation_setters` to spaCy's.

    spacy-transformers defines both on import. Defining them here too lets a config
    name them where it is not installed; the two definitions share one namespace,
    so the order of the imports does not matter. The function is declared as a
    `spacy_factories` entry point because spaCy imports all of those whenever it
    makes an `nlp` object, which is how this runs without being imported by hand.
    """
    for name in ("span_getters", "annotation_setters"):
        if not hasattr(registry, name):
            setattr(registry, name, catalogue.create("spacy", name, entry_points=True))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("spacy-embedkit")
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


ensure_registries()
