"""From a config to the parts of a run, and which settings a checkpoint depends on."""

from dataclasses import dataclass
from typing import Any, Dict, Optional

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError
from spacy.language import Language
from spacy.schemas import ConfigSchemaPretrain
from spacy.training.pretrain import create_pretraining_model
from spacy.util import dict_to_dot, dot_to_object, load_model_from_config, registry
from thinc.api import Config, Model, Optimizer, fix_random_seed, set_gpu_allocator
from thinc.config import ConfigValidationError

from ...checks import InputError, one_line
from ...transformer.windows import RULE
from ..weights.tok2vec_hooks import find_layer
from .config_blocks import check_blocks, not_a_setting, own_block
from .training_data import Reader

BLOCK = "embedkit.pretrain"
# Models of spacy-transformers and spacy-curated-transformers.
TRANSFORMERS = ("transformer", "transformer_model")
PROBE = "Give it a doc to infer shapes"
# What may change between the parts of a run: where files are, and when it ends.
FREE = (
    "pretraining.max_epochs",
    "pretraining.n_save_every",
    "pretraining.n_save_epoch",
    f"{BLOCK}.max_minutes",
    f"{BLOCK}.patience",
    f"{BLOCK}.checkpoint_minutes",
    f"{BLOCK}.report",
    "initialize.init_tok2vec",
)
PATHS = ("path", "paths", "vectors", "vocab_data", "cache_dir")


class RunSettings(BaseModel):
    """The block [embedkit.pretrain]; all settings may be left out.

    held_out: Share of the documents that are kept for the held-out loss, 0 to below 1;
        chosen by a hash of their text. 0 turns it off.
    max_held_out_words: Maximum number of words of these documents, 1 or more.
    eval_every: Words between evaluations, 1 or more; the default is 20 evaluations in a
        run, but at least one per epoch.
    patience: Evaluations without a lower held-out loss before the run ends; 0 turns it
        off.
    max_minutes: Time before the run ends, from the start of the command; the earlier
        parts of a resumed run count too. 0 for no limit.
    accumulate_gradient: Batches whose mean gradient makes an update, 1 or more.
    checkpoint_minutes: Time between checkpoints; 0 for one after every update.
    report: Whether to write report.html and loss.svg.
    """

    held_out: float = Field(0.02, ge=0, lt=1)
    max_held_out_words: int = Field(20_000, ge=1)
    eval_every: Optional[int] = Field(None, ge=1)
    patience: int = Field(0, ge=0)
    max_minutes: float = Field(0.0, ge=0)
    accumulate_gradient: int = Field(1, ge=1)
    checkpoint_minutes: float = Field(5.0, ge=0)
    report: StrictBool = True

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass
class RunParts:
    """What a run is made of.

    config: Filled and without variables.
    pretraining: The resolved block [pretraining].
    seed: Of all random numbers.
    """

    config: Config
    nlp: Language
    pretraining: Dict[str, Any]
    settings: RunSettings
    model: Model
    reader: Reader
    seed: int

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the block."""
        return self.pretraining["optimizer"]


def read_settings(config: Config) -> RunSettings:
    """Return the settings of the block; raise InputError naming one that is wrong."""
    block = own_block(config)
    try:
        return RunSettings(**block)
    except ValidationError as err:
        first: Dict[str, Any] = dict(err.errors()[0])
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise not_a_setting(f"[{BLOCK}]", name, RunSettings.model_fields) from err
        raise InputError(
            f"[{BLOCK}] {name} is {first['input']!r}: {first['msg'].lower()}"
        ) from err


def build_parts(config: Config, use_gpu: int = -1) -> RunParts:
    """Make model, optimizer and reader of a config.

    config: Without variables; not changed.
    Raises: InputError with the cause in one line; ConfigValidationError.
    """
    settings = read_settings(config)
    check_blocks(config)
    config = config.copy()
    # These weights are what the run makes.
    config["initialize"]["init_tok2vec"] = None
    seed = config["training"].get("seed")
    if seed is not None:
        fix_random_seed(seed)
    allocator = config["training"].get("gpu_allocator")
    if use_gpu >= 0 and allocator:
        set_gpu_allocator(allocator)
    try:
        return _build(config, settings, seed or 0)
    except (InputError, ConfigValidationError):
        raise
    except (ValueError, KeyError) as err:
        # spaCy says that the model can't be made; why is in the cause.
        cause = err.__cause__ or err.__context__
        why = cause if isinstance(cause, ValueError) else err
        missing = "there is no " if isinstance(why, KeyError) else ""
        raise InputError(f"the config can't be used: {missing}{one_line(why)}") from err


def _build(config: Config, settings: RunSettings, seed: int) -> RunParts:
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
            f"[pretraining] corpus is {block['corpus']!r}, which the config does not "
            "have; name a block such as corpora.pretrain"
        ) from err
    reader = registry.resolve({"corpus": corpus})["corpus"]
    if not callable(reader):
        raise InputError(
            f"[pretraining] corpus is {block['corpus']!r}, which is not a reader; name "
            "a block such as corpora.pretrain, with @readers in it"
        )
    layer = find_layer(nlp, "[pretraining]", block["component"], block["layer"])
    if layer.name in TRANSFORMERS or "Transformer" in type(layer).__name__:
        raise InputError(
            f"[pretraining] component {block['component']!r} is a transformer, which "
            "can't be pretrained here; name a tok2vec component or layer"
        )
    model = create_pretraining_model(nlp, block)
    if "loss" not in model.attrs or not model.has_ref("tok2vec"):
        raise InputError(
            "[pretraining.objective] made a model without the attribute loss or the "
            "reference tok2vec; see the objectives of spaCy for what it needs"
        )
    _check_output(nlp, model.get_ref("tok2vec"), block["component"])
    return RunParts(filled, nlp, block, settings, model, reader, seed)


def _check_output(nlp: Language, tok2vec: Model, component: str) -> None:
    doc = nlp.make_doc(PROBE)
    output = tok2vec.predict([doc])
    if (
        not isinstance(output, (list, tuple))
        or len(output) != 1
        or getattr(output[0], "ndim", 0) != 2
        or output[0].shape[0] != len(doc)
    ):
        raise InputError(
            f"[pretraining] component {component!r} can't be pretrained: its output is "
            "not an array with a row for each token; name a tok2vec component, or set "
            'layer to "tok2vec"'
        )


def relevant_settings(parts: RunParts) -> Dict[str, Any]:
    """Return the settings that the weights depend on, by dotted name."""
    config = parts.config.copy()
    config["embedkit"] = {"pretrain": parts.settings.model_dump()}
    used = (
        *("nlp.", "components.", "pretraining.", "initialize.", f"{BLOCK}."),
        *("training.seed", f"{parts.pretraining['corpus']}."),
    )
    settings = {
        # As msgpack returns them.
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dict_to_dot(config).items()
        if name.startswith(used)
        and name not in FREE
        and name.rsplit(".", 1)[-1] not in PATHS
    }
    if "prepare" in parts.model.attrs:
        # The targets of a teacher depend on where docs are cut.
        settings["the rule that cuts docs for a teacher"] = RULE
    return settings


def check_same(before: Dict[str, Any], now: Dict[str, Any]) -> None:
    """Raise InputError naming the first setting that differs, and both values."""
    for name in {**before, **now}:
        old, new = (settings.get(name, "not set") for settings in (before, now))
        if old != new:
            raise InputError(
                f"the checkpoint has another config: {name} was {old!r} and is {new!r}"
                "; use the same settings, or a new folder"
            )
