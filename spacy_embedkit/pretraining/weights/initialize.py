"""Checks of [initialize] init_tok2vec, before spaCy loads it."""

from pathlib import Path
from typing import Any, Optional

from spacy.language import Language
from spacy.training.pretrain import get_tok2vec_ref
from thinc.api import ConfigValidationError, Model

from ...checks import InputError
from .fit import check_fit
from .weights_file import read_layers


def watch_tok2vec(nlp: Language) -> None:
    """See to it that init_tok2vec of a pipeline is checked before it is loaded.

    The file is read at once. It is compared as soon as the layer that is to have the
    weights is initialized, because only then all shapes are known; spaCy loads the
    file later.

    Raises ConfigValidationError naming the setting, at once or from nlp.initialize.
    """
    config = nlp.config.interpolate()
    if not config["initialize"]["init_tok2vec"]:
        return
    path = Path(config["initialize"]["init_tok2vec"])
    pretraining = config.get("pretraining")
    if not pretraining:
        raise _refusal(
            "init_tok2vec",
            f"{path} would not be loaded, because [pretraining] is empty; write "
            '[pretraining] with component = "tok2vec", see `spacy init fill-config '
            "--pretraining`",
        )
    component, reference = pretraining.get("component"), pretraining.get("layer")
    if component not in nlp.component_names:
        raise _refusal(
            "init_tok2vec",
            f"{path} is for [pretraining] component {component!r}, but the pipeline "
            f"has {', '.join(nlp.component_names)}; set it to one of them",
        )
    layer = get_tok2vec_ref(nlp, {"component": component, "layer": reference})
    try:
        read_layers(path)
    except InputError as err:
        raise _refusal("init_tok2vec", str(err)) from err
    _after_init(layer, lambda: _check(path, layer, config, component))


def _check(path: Path, layer: Model, config: Any, component: str) -> None:
    try:
        check_fit(path, layer, config, component)
    except InputError as err:
        raise _refusal("init_tok2vec", str(err)) from err


def _after_init(layer: Model, check: Any) -> None:
    """Call check once the layer is initialized, which it may be already."""
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


def _refusal(setting: str, text: str) -> ConfigValidationError:
    errors = [{"loc": ["initialize", setting], "msg": text}]
    return ConfigValidationError(errors=errors, show_config=False)
