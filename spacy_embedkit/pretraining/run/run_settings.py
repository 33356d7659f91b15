"""Settings of a pretraining run that the stock block has no room for."""

from typing import Any, Dict, Optional

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError
from thinc.api import Config

from ...checks import InputError

BLOCK = "embedkit.pretrain"


class RunSettings(BaseModel):
    """The block [embedkit.pretrain]: all of it may be left out.

    held_out: Share of the documents that are kept for the held-out loss, 0 to below 1;
        chosen by a hash of their text. 0 turns it off.
    max_held_out_words: Words that are kept so at most, 1 or more.
    eval_every: Words between evaluations, 1 or more; if left out, 20 in a run but at
        least one an epoch.
    patience: Evaluations without a lower held-out loss before it ends; 0 for never.
    max_minutes: Time before it ends, from the start of the command, with that of the
        earlier parts of a resumed run; 0 for no limit.
    accumulate_gradient: Batches whose mean gradient makes an update, 1 or more.
    checkpoint_minutes: Time between checkpoints; 0 for one after every update.
    report: Whether to make report.html and loss.svg.
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


def read_settings(config: Config) -> RunSettings:
    """Return the settings of the block; raise InputError naming one that is wrong."""
    own: Any = config.get("embedkit", {})
    block = own.get("pretrain", {}) if isinstance(own, dict) else own
    if not isinstance(block, dict):
        raise InputError(f"[{BLOCK}] is {block!r}, but has to be a block of settings")
    try:
        return RunSettings(**block)
    except ValidationError as err:
        first: Dict[str, Any] = dict(err.errors()[0])
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            allowed = ", ".join(RunSettings.model_fields)
            raise InputError(
                f"[{BLOCK}] has {name}, which is no setting; choose of {allowed}"
            ) from err
        raise InputError(
            f"[{BLOCK}] {name} is {first['input']!r}: {first['msg'].lower()}"
        ) from err
