"""Registered callbacks, for the [nlp] block of a config."""

from functools import partial
from typing import Callable, Type

from spacy.language import Language

from .acceleration import accelerate
from .backend import use_fast_ops
from .layers.types import CACHE_ROWS

BeforeCreation = Callable[[Type[Language]], Type[Language]]
AfterPipelineCreation = Callable[[Language], Language]


def build_fast_ops_v1() -> BeforeCreation:
    """Run the pipeline on the backend of backend.EmbedkitOps.

    Goes into `[nlp.before_creation]`; pipelines that the process makes afterwards run
    on the backend too, see backend.use_fast_ops. The weights that a pipeline saves are
    the same with and without it. The saved config names it, though: to load the
    pipeline where this package is not installed, set `before_creation = null` there.
    """
    return _before_creation


def build_accelerate_v1(
    cache_rows: int = CACHE_ROWS, fast_ops: bool = True
) -> AfterPipelineCreation:
    """Let the layers of the pipeline predict faster, see acceleration.accelerate.

    Goes into `[nlp.after_pipeline_creation]`. The weights that a pipeline saves are the
    same with and without it. The saved config names it, though: to load the pipeline
    where this package is not installed, set `after_pipeline_creation = null` there.

    cache_rows (int): Types that each embedding layer remembers, 0 or more.
    fast_ops (bool): Let all components multiply by backend.EmbedkitOps.
    """
    return partial(_after_pipeline_creation, cache_rows, fast_ops)


def _after_pipeline_creation(
    cache_rows: int, fast_ops: bool, nlp: Language
) -> Language:
    accelerate(nlp, cache_rows=cache_rows, fast_ops=fast_ops)
    return nlp


def _before_creation(cls: Type[Language]) -> Type[Language]:
    use_fast_ops()
    return cls
