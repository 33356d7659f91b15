"""A layer that is not trained during the first updates."""

from typing import Any, Callable, Dict, List, Optional, Tuple

from spacy.language import Language
from thinc.api import Model


class Freezer:
    """Freezes a layer before the first update of a training, thaws it after some.

    A frozen layer runs as in prediction, without dropout, and nothing is computed
    backwards through it. It gets no gradients, so the optimizer does not touch its
    weights, neither by weight decay nor by averages. The layer is found by `find`.
    """

    def __init__(self, find: Callable[[Language], Model], steps: int) -> None:
        self.find = find
        self.steps = steps
        self._frozen: Optional[Tuple[Model, Callable]] = None

    def __call__(self, nlp: Language, info: Dict[str, Any]) -> None:
        """Do what is due before an update; info["step"] counts updates from 0."""
        if info["step"] >= self.steps:
            self.thaw()
        elif self._frozen is None or self._frozen[0] is not self.find(nlp):
            self.thaw()
            self.freeze(self.find(nlp))

    def freeze(self, layer: Model) -> None:
        """Run a layer as in prediction from now on."""
        forward = layer._func
        _forget_gradients(layer)
        self._frozen = (layer, forward)

        def frozen(model: Model, docs: Any, is_train: bool) -> Tuple[Any, Callable]:
            return forward(model, docs, False)[0], _no_gradient

        layer.replace_callbacks(frozen, init=layer.init)

    def thaw(self) -> None:
        """Let the layer learn again, if one is frozen."""
        if self._frozen is not None:
            layer, forward = self._frozen
            layer.replace_callbacks(forward, init=layer.init)
            self._frozen = None


def find_layer(name: str, component: str, layer: str, nlp: Language) -> Model:
    """Return a layer by component and reference, as [pretraining] names it.

    name: Of the registered function, for errors.
    Raises ValueError if there is no such component or layer.
    """
    if component not in nlp.component_names:
        raise ValueError(
            f"{name}: component is {component!r}, but the pipeline has "
            f"{', '.join(nlp.component_names)}; set it to one of them"
        )
    model = getattr(nlp.get_pipe(component), "model", None)
    if not isinstance(model, Model):
        raise ValueError(f"{name}: component {component!r} has no model; name another")
    if not layer:
        return model
    found = model.maybe_get_ref(layer) if layer in model.ref_names else None
    if found is None:
        raise ValueError(
            f"{name}: layer is {layer!r}, but the model of {component!r} has "
            f"{', '.join(model.ref_names) or 'none by name'}; set layer to one of "
            'them, or to "" for the whole model'
        )
    return found


def _forget_gradients(layer: Model) -> None:
    # One that is zero, after an earlier training, would let the weights decay.
    for node in layer.walk():
        for name in node.param_names:
            node._params._grads.pop((node.id, name), None)


def _no_gradient(_: Any) -> List[Any]:
    return []
