"""Registered callbacks, for the [nlp], [initialize] and [training] blocks."""

from functools import partial
from typing import Any, Callable, Dict, Optional, Type

from spacy.language import Language

from .acceleration import FewerBits, accelerate
from .backend import use_fast_ops
from .checks import check_not_negative
from .layers.per_type import CACHE_ROWS
from .pretraining.weights.tok2vec_hooks import Freezer, find_layer, watch_tok2vec

BeforeCreation = Callable[[Type[Language]], Type[Language]]
AfterPipelineCreation = Callable[[Language], Language]
BeforeUpdate = Callable[[Language, Dict[str, Any]], None]


def build_fast_ops_v1() -> BeforeCreation:
    """Run the pipeline on the backend backend.EmbedkitOps.

    Goes into `[nlp.before_creation]`. Pipelines that the process makes later run on it
    too, see backend.use_fast_ops. It does not change what weights a pipeline saves, but
    the saved config names it: to load the pipeline where this package is not installed,
    set `before_creation = null` there.
    """
    return _before_creation


def build_accelerate_v1(
    cache_rows: int = CACHE_ROWS,
    fast_ops: bool = True,
    precision: Optional[FewerBits] = None,
) -> AfterPipelineCreation:
    """Let the layers of the pipeline predict faster, see acceleration.accelerate.

    Goes into `[nlp.after_pipeline_creation]`. It does not change what weights a
    pipeline saves, but the saved config names it: to load the pipeline where this
    package is not installed, set `after_pipeline_creation = null` there.

    cache_rows (int): Word types whose rows each embedding layer caches, 0 or more; 0
        turns the caches off. A row takes 4 * width bytes.
    fast_ops (bool): Whether components on thinc's backend for the CPU multiply by
        backend.EmbedkitOps.
    precision (str): With what stock's transformers predict: "bfloat16", "int8", or
        None, as they are.
    Raises: ValueError if cache_rows is below 0.
    """
    return partial(_after_pipeline_creation, cache_rows, fast_ops, precision)


def build_check_tok2vec_v1() -> Callable[[Language], Language]:
    """Name the layer that pretrained weights do not fit, and the setting to change.

    Goes into `[initialize.before_init]`, and checks the file of `init_tok2vec` there
    before spaCy loads it; does nothing if that is null, and never changes what is
    loaded. It also refuses files that spaCy would load without an error, but that were
    made with other attributes, or whose config's [pretraining] block is empty here.

    Raises: ConfigValidationError when the pipeline is initialized, with the first
        layer that differs, both shapes, and the settings that the file was made with.
    """
    return _before_init


def build_freeze_tok2vec_v1(
    steps: int, component: str = "tok2vec", layer: str = ""
) -> BeforeUpdate:
    """Freeze a pretrained layer for the first updates, then train it too.

    Goes into `[training.before_update]`. While frozen, the layer runs as in prediction,
    without dropout or a backward pass, and its weights do not change; the other
    components learn from its output. Nothing of the callback is saved.

    steps (int): Updates that the layer is frozen for, 0 or more; 0 freezes nothing.
    component (str): Component that has the layer, as in [pretraining].
    layer (str): Name of the layer in the model of the component, as in [pretraining];
        "" stands for all of the model. It has to take docs.
    Raises: ValueError if steps is below 0, and at the first update if there is no
        such component or layer.
    Source: Howard and Ruder 2018, arXiv:1801.06146, section 3.3, on gradual
        unfreezing; this is its simplest form.
    """
    name = "freeze_tok2vec.v1"
    check_not_negative(name, steps=steps)
    freezer = Freezer(lambda nlp: find_layer(nlp, name, component, layer), steps)

    def before_update(nlp: Language, info: Dict[str, Any]) -> None:
        freezer(nlp, info)

    return before_update


def _before_init(nlp: Language) -> Language:
    watch_tok2vec(nlp)
    return nlp


def _after_pipeline_creation(
    cache_rows: int, fast_ops: bool, precision: Optional[FewerBits], nlp: Language
) -> Language:
    accelerate(nlp, cache_rows=cache_rows, fast_ops=fast_ops, precision=precision)
    return nlp


def _before_creation(cls: Type[Language]) -> Type[Language]:
    use_fast_ops()
    return cls
