"""The weights of a pipeline."""

from collections.abc import Iterator
from typing import Any

from spacy.language import Language
from thinc.api import Model


def models(nlp: Language) -> dict[str, Model]:
    """Return the models of a pipeline by the names of their components."""
    found = {name: getattr(pipe, "model", None) for name, pipe in nlp.pipeline}
    return {name: model for name, model in found.items() if isinstance(model, Model)}


def models_to_bytes(nlp: Language) -> dict[str, bytes]:
    """Return the bytes of each model."""
    return {name: model.to_bytes() for name, model in models(nlp).items()}


def params(nlp: Language) -> Iterator[tuple[Model, str, Any]]:
    """Go over all weights: the node, the name, and the array."""
    for model in models(nlp).values():
        for node in model.walk():
            for name in node.param_names:
                if node.has_param(name):
                    yield node, name, node.get_param(name)


def scale(nlp: Language, factor: float, *, replace: bool = False) -> None:
    """Multiply all weights, in place or by other arrays."""
    for node, name, param in params(nlp):
        if replace:
            node.set_param(name, param * param.dtype.type(factor))
        else:
            param *= param.dtype.type(factor)


def scaled(nlp: Language, factor: Any) -> dict[Any, Any]:
    """Return other weights, as Language.use_params takes them."""
    return {(node.id, name): param * factor for node, name, param in params(nlp)}
