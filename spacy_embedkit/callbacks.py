"""Registered callbacks, for the [nlp] block of a config."""

from typing import Callable, Type

from spacy.language import Language

from .backend import use_fast_ops

BeforeCreation = Callable[[Type[Language]], Type[Language]]


def build_fast_ops_v1() -> BeforeCreation:
    """Run the pipeline on the backend of backend.EmbedkitOps.

    Goes into `[nlp.before_creation]`; pipelines that the process makes afterwards run
    on the backend too, see backend.use_fast_ops. The weights that a pipeline saves are
    the same with and without it. The saved config names it, though: to load the
    pipeline where this package is not installed, set `before_creation = null` there.
    """
    return _before_creation


def _before_creation(cls: Type[Language]) -> Type[Language]:
    use_fast_ops()
    return cls
