"""Layers of stock that run a transformer, found without importing their packages."""

from importlib import import_module
from typing import Any, List, Optional, Tuple

from thinc.api import Model

from ..row_cache import CACHE

# Their forwards, and the modules that bring other ones.
MODULES = {
    "spacy_transformers.layers.transformer_model.forward": "tight_batches",
    "spacy_curated_transformers.models.with_strided_spans.with_strided_spans_forward": (
        "tight_spans"
    ),
}
OURS = f"{__package__}.model.forward"


def accelerate_transformers(
    model: Model, precision: Optional[str]
) -> Tuple[List[str], List[str]]:
    """Let transformers of stock in a model predict by batches of like lengths.

    precision: "bfloat16" or "int8" of what predicts; None: as it is.
    Returns what was changed, and why a transformer keeps its precision.
    """
    changed, reasons = [], []
    for node in list(model.walk()):
        forward = _name(node)
        if forward == OURS and precision:
            reasons.append("its precision is its own setting, inference_precision")
        if forward not in MODULES:
            continue
        module = _module(MODULES[forward])
        node.replace_callbacks(module.predict_forward, init=node.init)
        changed.append("tight batches")
        if precision:
            [shim] = node.layers[0].shims
            if reason := _set_precision(shim, precision, module.SHIMS):
                reasons.append(reason)
            else:
                changed.append(precision)
    return changed, reasons


def restore_transformers(model: Model) -> None:
    """Undo accelerate_transformers."""
    fast = {f"{__package__}.{name}.predict_forward": name for name in MODULES.values()}
    for node in model.walk():
        if name := fast.get(_name(node)):
            module = _module(name)
            node.replace_callbacks(module.STOCK_FORWARD, init=node.init)
            node.attrs.pop(CACHE, None)
            for shim in node.layers[0].shims:
                _restore_precision(shim, module.SHIMS)


def _name(node: Model) -> str:
    return ".".join(
        getattr(node._func, part, "") for part in ("__module__", "__name__")
    )


def _module(name: str) -> Any:
    return import_module(f".{name}", __package__)


def _set_precision(shim: Any, precision: str, classes: Tuple[Any, Any]) -> str:
    """Let a shim predict with fewer bits, or return why it does not."""
    from .precision import linear_layers

    stock, ours = classes
    if type(shim) is not stock:
        return f"precision is for {stock.__name__}, not {type(shim).__name__}"
    model = shim._model
    # Before a pipeline is initialized or loaded, it has none.
    if model is not None and precision == "int8" and not linear_layers(model):
        return "its transformer has no linear layers of torch, which int8 is for"
    shim.__class__, shim.precision = ours, precision
    return ""


def _restore_precision(shim: Any, classes: Tuple[Any, Any]) -> None:
    stock, ours = classes
    if type(shim) is ours:
        shim.forget()
        for name in ("precision", "_inference_model", "_source"):
            shim.__dict__.pop(name, None)
        shim.__class__ = stock
