"""Hooks of a training that starts from a pretrained layer: check it, freeze it."""

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from spacy.language import Language
from thinc.api import ConfigValidationError, Model

from ...checks import InputError
from .fit import check_fit
from .saved_layers import read_layers


def find_layer(nlp: Language, where: str, component: str, layer: str) -> Model:
    """Return a layer by component and reference, as [pretraining] names it.

    where: Block or function that names the layer, for errors.
    Raises: InputError if the component or layer does not exist.
    """
    if component not in nlp.component_names:
        raise InputError(
            f"{where}: component is {component!r}, but the pipeline has "
            f"{', '.join(nlp.component_names) or 'none'}; set it to one of them"
        )
    model = getattr(nlp.get_pipe(component), "model", None)
    if not isinstance(model, Model):
        raise InputError(
            f"{where}: component {component!r} has no model; name another one"
        )
    if not layer:
        return model
    found = model.maybe_get_ref(layer) if layer in model.ref_names else None
    if found is None:
        raise InputError(
            f"{where}: layer is {layer!r}, but the model of {component!r} has "
            f"{', '.join(sorted(model.ref_names)) or 'none by name'}; set layer to one "
            'of them, or to "" for the model itself'
        )
    return found


def watch_tok2vec(nlp: Language) -> None:
    """Check init_tok2vec of a pipeline before spaCy loads it.

    The file is read at once. It is compared when the layer that gets the weights has
    been initialized, since only then are all shapes known; spaCy loads the file after
    that.

    Raises: ConfigValidationError naming the setting, at once or from nlp.initialize.
    """
    config = nlp.config.interpolate()
    if not config["initialize"]["init_tok2vec"]:
        return
    path = Path(config["initialize"]["init_tok2vec"])
    pretraining = config.get("pretraining")
    if not pretraining:
        raise _refusal(
            f"{path} would not be loaded, because [pretraining] is empty; write "
            '[pretraining] with component = "tok2vec", see `spacy init fill-config '
            "--pretraining`",
        )
    component, reference = pretraining.get("component"), pretraining.get("layer", "")
    try:
        layer = find_layer(nlp, "[pretraining]", component, reference)
        read_layers(path)
    except InputError as err:
        raise _refusal(str(err)) from err
    _after_init(layer, lambda: _check(path, layer, config, component))


def _check(path: Path, layer: Model, config: Any, component: str) -> None:
    try:
        check_fit(path, layer, config, component)
    except InputError as err:
        raise _refusal(str(err)) from err


def _after_init(layer: Model, check: Callable[[], None]) -> None:
    """Call check when the layer is initialized, or now if it is already."""
    params = [
        node.has_param(name) for node in layer.walk() for name in node.param_names
    ]
    if params and all(params):
        check()
        return
    init = layer.init

    def init_and_check(
        model: Model, X: Optional[Any] = None, Y: Optional[Any] = None
    ) -> None:
        layer.init = init
        layer.initialize(X=X, Y=Y)
        check()

    layer.init = init_and_check


def _refusal(text: str) -> ConfigValidationError:
    errors = [{"loc": ["initialize", "init_tok2vec"], "msg": text}]
    return ConfigValidationError(errors=errors, show_config=False)


class Freezer:
    """Freeze a layer for the first updates of a training.

    A frozen layer runs as in prediction, without dropout and without backprop. It gets
    no gradients, so the optimizer leaves its weights alone, by decay and averages too.

    find: Returns the layer of a pipeline.
    steps: Number of updates, 0 or more.
    """

    def __init__(self, find: Callable[[Language], Model], steps: int) -> None:
        self.find = find
        self.steps = steps
        self._frozen: Optional[Tuple[Model, Callable]] = None

    def __call__(self, nlp: Language, info: Dict[str, Any]) -> None:
        """Freeze or thaw before an update; info["step"] counts updates from 0."""
        if info["step"] >= self.steps:
            self.thaw()
        elif self._frozen is None or self._frozen[0] is not self.find(nlp):
            self.thaw()
            self.freeze(self.find(nlp))

    def freeze(self, layer: Model) -> None:
        """Run a layer as in prediction from now on."""
        forward = layer._func
        _drop_gradients(layer)
        self._frozen = (layer, forward)

        def frozen(model: Model, docs: Any, is_train: bool) -> Tuple[Any, Callable]:
            return forward(model, docs, False)[0], _no_gradient

        layer.replace_callbacks(frozen, init=layer.init)

    def thaw(self) -> None:
        """Train the frozen layer again, if there is one."""
        if self._frozen is not None:
            layer, forward = self._frozen
            layer.replace_callbacks(forward, init=layer.init)
            self._frozen = None


def _drop_gradients(layer: Model) -> None:
    # The optimizer decays weights whose gradient is zero, but not those without one.
    for node in layer.walk():
        for name in node.param_names:
            node._params._grads.pop((node.id, name), None)


def _no_gradient(_: Any) -> List[Any]:
    return []
