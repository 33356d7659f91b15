"""Low-rank adapters: a few weights that learn instead of a transformer's own."""

from copy import deepcopy
from typing import Any, Dict, Optional

from ..checks import import_extra, one_line

# Part of the name of every such weight.
LORA_MARK = "lora_"


def add_adapters(model: Any, lora: Optional[Dict[str, Any]]) -> Any:
    """Add adapters to the linear layers, and freeze all other weights.

    lora: Settings of peft.LoraConfig, such as r and target_modules; None: add none.
    Raises: ValueError naming what peft does not take; ImportError naming the package.
    Source: Hu et al. 2021, arXiv:2106.09685.
    """
    if lora is None:
        return model
    peft = import_extra("peft", "lora")
    try:
        return peft.inject_adapter_in_model(peft.LoraConfig(**lora), model)
    except (TypeError, ValueError) as err:
        raise ValueError(
            f"TransformerModel.v1: lora is {lora}, which peft does not take for "
            f"{type(model).__name__} ({one_line(err)}); give settings of "
            "peft.LoraConfig, with target_modules if it knows none for this one"
        ) from err


def without_adapters(model: Any) -> Any:
    """Return a copy with the adapters merged into its weights; itself without any."""
    if not any(LORA_MARK in name for name, _ in model.named_parameters()):
        return model
    copied = deepcopy(model)
    for parent in [*copied.modules()]:
        for name, child in [*parent.named_children()]:
            if hasattr(child, "get_base_layer"):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    return copied
