"""Blocks and settings of a config that nothing reads, mostly for a slip of the pen."""

from difflib import get_close_matches
from typing import Any, Dict, Iterable, Mapping

from spacy.schemas import ConfigSchemaPretrain

from ...checks import InputError

NEEDED = ("nlp", "components", "corpora", "training", "initialize")
BLOCKS = (*NEEDED, "paths", "system", "pretraining", "embedkit")
FILL = "python -m spacy init fill-config CONFIG NEW --pretraining"
# Of a block of the user's own that is not taken for another one.
CUTOFF = 0.85
# Below what msgpack and the generators of torch hold.
MAX_SEED = 2**62


def check_blocks(config: Mapping[str, Any]) -> None:
    """Raise InputError naming a block or setting that is missing or not read.

    Blocks at the top may be the user's own, unless they are nearly called as another.
    """
    for name in config:
        if name not in BLOCKS and get_close_matches(name, BLOCKS, 1, CUTOFF):
            raise not_a_setting("the config", f"[{name}]", (f"[{x}]" for x in BLOCKS))
    block: Any = config.get("pretraining")
    if not block:
        raise InputError(f"the config has no [pretraining]; add one by {FILL}")
    for name in NEEDED:
        if not isinstance(config.get(name), dict):
            raise InputError(f"the config has no [{name}]; fill it by {FILL}")
    for name in block:
        if name not in ConfigSchemaPretrain.model_fields:
            choices = ConfigSchemaPretrain.model_fields
            raise not_a_setting("[pretraining]", name, choices)
    seed = config["training"].get("seed")
    if seed is not None and not (type(seed) is int and abs(seed) < MAX_SEED):
        raise InputError(
            f"[training] seed is {seed!r}; set it to a whole number of up to 62 bits"
        )


def own_block(config: Mapping[str, Any]) -> Dict[str, Any]:
    """Return [embedkit.pretrain]; raise InputError if it is something else."""
    own: Any = config.get("embedkit", {})
    if isinstance(own, dict):
        for name in own:
            if name != "pretrain":
                raise not_a_setting("[embedkit]", name, ["pretrain"])
        own = own.get("pretrain", {})
    if not isinstance(own, dict):
        raise InputError(
            f"[embedkit.pretrain] is {own!r}, but it has to be a block of settings"
        )
    return own


def not_a_setting(where: str, name: str, choices: Iterable[str]) -> InputError:
    """Return the error of a name that is not read, with the nearest one that is."""
    known = list(choices)
    nearest = get_close_matches(name, known, 1)
    guess = f"did you mean {nearest[0]}? Or " if nearest else ""
    return InputError(
        f"{where} has {name}, which is not a setting; {guess}choose from "
        f"{', '.join(known)}"
    )
