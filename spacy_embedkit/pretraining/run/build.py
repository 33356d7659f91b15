"""From a config to what a run is made of."""

from dataclasses import dataclass
from typing import Any, Dict

from spacy.language import Language
from spacy.schemas import ConfigSchemaPretrain
from spacy.training.pretrain import create_pretraining_model
from spacy.util import dot_to_object, load_model_from_config, registry
from thinc.api import Config, Model, Optimizer, fix_random_seed, set_gpu_allocator
from thinc.config import ConfigValidationError

from ...checks import InputError, one_line
from .data import Batcher, Reader
from .run_settings import RunSettings, read_settings

# Models of spacy-transformers and spacy-curated-transformers.
TRANSFORMERS = ("transformer", "transformer_model")
PROBE = "Give it a doc to infer shapes"


@dataclass
class Parts:
    """What a run is made of.

    config: With all its variables filled in.
    pretraining: The resolved block [pretraining].
    seed: Of all random numbers.
    """

    config: Config
    nlp: Language
    pretraining: Dict[str, Any]
    settings: RunSettings
    model: Model
    optimizer: Optimizer
    reader: Reader
    batcher: Batcher
    seed: int


def build(config: Config, use_gpu: int = -1) -> Parts:
    """Make model, optimizer and reader of a config.

    config: With all its variables filled in; not changed.
    Raises: InputError with the cause in one line; ConfigValidationError.
    """
    settings = read_settings(config)
    if not config.get("pretraining"):
        raise InputError(
            "the config has no [pretraining]; add one by "
            "python -m spacy init fill-config CONFIG NEW --pretraining"
        )
    config = config.copy()
    # It is what is to be made here.
    config["initialize"]["init_tok2vec"] = None
    seed = config["training"]["seed"]
    if seed is not None:
        fix_random_seed(seed)
    allocator = config["training"]["gpu_allocator"]
    if use_gpu >= 0 and allocator:
        set_gpu_allocator(allocator)
    try:
        return _build(config, settings, seed or 0)
    except (InputError, ConfigValidationError):
        raise
    except (ValueError, KeyError) as err:
        # spaCy says that the model can't be made, and keeps back why.
        cause = err.__cause__ or err.__context__
        why = cause if isinstance(cause, ValueError) else err
        raise InputError(f"the config can't be used: {one_line(why)}") from err


def _build(config: Config, settings: RunSettings, seed: int) -> Parts:
    nlp = load_model_from_config(config)
    filled = nlp.config.interpolate()
    block = registry.resolve(filled["pretraining"], schema=ConfigSchemaPretrain)
    if block["max_epochs"] < 1:
        raise InputError(
            f"[pretraining] max_epochs is {block['max_epochs']}; give 1 or more"
        )
    try:
        corpus = dot_to_object(filled, block["corpus"])
    except KeyError as err:
        raise InputError(
            f"[pretraining] corpus is {block['corpus']!r}, but there is no such block"
        ) from err
    reader = registry.resolve({"corpus": corpus})["corpus"]
    _check_target(nlp, block["component"], block["layer"])
    model = create_pretraining_model(nlp, block)
    if "loss" not in model.attrs or not model.has_ref("tok2vec"):
        raise InputError(
            "[pretraining.objective] made a model without the attribute loss or the "
            "reference tok2vec; see the objectives of spaCy for what it has to have"
        )
    _check_output(nlp, model.get_ref("tok2vec"), block)
    return Parts(
        config=filled,
        nlp=nlp,
        pretraining=block,
        settings=settings,
        model=model,
        optimizer=block["optimizer"],
        reader=reader,
        batcher=block["batcher"],
        seed=seed,
    )


def _check_target(nlp: Language, component: str, layer: str) -> None:
    if component not in nlp.component_names:
        raise InputError(
            f"[pretraining] component is {component!r}, but the pipeline has "
            f"{', '.join(nlp.component_names) or 'none'}"
        )
    model = getattr(nlp.get_pipe(component), "model", None)
    if not isinstance(model, Model):
        raise InputError(
            f"[pretraining] component {component!r} has no model to pretrain"
        )
    if layer:
        if layer not in model.ref_names or not model.has_ref(layer):
            raise InputError(
                f"[pretraining] layer is {layer!r}, but the model of {component!r} has "
                f"{', '.join(sorted(model.ref_names)) or 'none with a name'}"
            )
        model = model.get_ref(layer)
    if model.name in TRANSFORMERS or "Transformer" in type(model).__name__:
        raise InputError(
            f"[pretraining] {_target(component, layer)} is a transformer, which can't "
            "be pretrained here; name a tok2vec component or layer"
        )


def _check_output(nlp: Language, tok2vec: Model, block: Dict[str, Any]) -> None:
    doc = nlp.make_doc(PROBE)
    output = tok2vec.predict([doc])
    if (
        not isinstance(output, (list, tuple))
        or len(output) != 1
        or getattr(output[0], "ndim", 0) != 2
        or output[0].shape[0] != len(doc)
    ):
        raise InputError(
            f"[pretraining] {_target(block['component'], block['layer'])} can't be "
            "pretrained: it does not give an array with a row for each token; name a "
            "tok2vec component, or its layer tok2vec"
        )


def _target(component: str, layer: str) -> str:
    return f"component {component!r}" + (f", layer {layer!r}," if layer else "")
