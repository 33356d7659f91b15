"""A transformer saved with a pipeline, loaded without trusting the file.

No code of it is run, none is fetched, and its size is checked before it is built.
"""

import gc
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import srsly
import torch
from safetensors.torch import load as load_safetensors
from transformers import AutoModel

from ..checks import one_line
from .adapters import add_adapters

NAME = "TransformerModel.v1"
# Names the format of "state" in a saved shim; without it, torch.save wrote that.
FORMAT = "state_format"
SAFETENSORS = "safetensors"
Shapes = Dict[str, Tuple[int, ...]]
# Setting of a config that can name a kernel on the hub, which is code.
KERNELS = "attn_implementation"
# Numbers that another version of transformers may have in addition.
MAX_MISSING = 1 << 20


class WithoutCode:
    """An Auto class of transformers that never runs code that comes with a file."""

    def __init__(self, auto_class: Any) -> None:
        self.auto_class = auto_class

    def from_pretrained(self, name: Any, **settings: Any) -> Any:
        """Load from a folder or file."""
        settings["trust_remote_code"] = False
        return self.auto_class.from_pretrained(name, **settings)


class TransformerFactory:
    """Makes transformers from their config, in place of transformers.AutoModel.

    lora: As in add_adapters.
    settings: Of the config as saved. The config itself went through JSON, which rounds
        tiny numbers, such as the epsilon of layer norms, to 0.
    shapes: Of the weights that it is to hold, by name.
    """

    def __init__(
        self,
        lora: Optional[Dict[str, Any]],
        settings: Mapping[str, Any],
        shapes: Shapes,
    ) -> None:
        self.lora = lora
        self.settings = settings
        self.shapes = shapes

    def from_config(self, config: Any) -> Any:
        """Make a transformer with random weights; ValueError if others are to fit."""
        for name, value in self.settings.items():
            if isinstance(value, float):
                setattr(config, name, value)
        check_size(config, self.shapes)
        model = AutoModel.from_config(config, trust_remote_code=False)
        return add_adapters(model, self.lora)


def read_saved(data: bytes) -> Dict[str, Any]:
    """Unpack what a shim has saved; of the config, leave out what can name code.

    Raises: ValueError if it is damaged, or a file of its tokenizer would leave the
        folder.
    """
    was_on = gc.isenabled()
    try:
        message = srsly.msgpack_loads(data)
        files = dict(message["tokenizer"])
        is_fast = bool(dict(files.pop("kwargs", {})).get("use_fast", True))
        message["config"] = _without_kernels(dict(message["config"]))
        if not all(isinstance(content, bytes) for content in files.values()):
            raise TypeError("a file of the tokenizer is not bytes")
        if message["config"] and not isinstance(message["state"], bytes):
            raise TypeError("the weights are not bytes")
    except Exception as err:
        # Damaged msgpack fails in many ways.
        raise damaged(err) from err
    finally:
        # srsly leaves the garbage collector off after an error.
        if was_on:
            gc.enable()
    for name in files:
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
            raise ValueError(
                f"{NAME}: a saved file of the tokenizer is {name!r}, but only a name "
                "without a folder is safe to write; get the pipeline from a source "
                "that you trust"
            )
    # Other arguments could allow code, or name files elsewhere.
    message["tokenizer"] = {**files, "kwargs": {"use_fast": is_fast}}
    return dict(message)


def read_weights(data: bytes, is_safe: bool) -> Dict[str, torch.Tensor]:
    """Return the weights by name; ValueError if they are damaged.

    is_safe: Whether safetensors wrote them; else torch.save did, of whose pickles
        tensors alone are read.
    """
    try:
        weights = (
            load_safetensors(data)
            if is_safe
            else torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        )
        if not all(isinstance(value, torch.Tensor) for value in weights.values()):
            raise TypeError("a weight is not a tensor")
    except Exception as err:
        raise damaged(err) from err
    return dict(weights)


def damaged(err: Exception) -> ValueError:
    """Return the error for a saved transformer that can't be loaded."""
    return ValueError(
        f"{NAME}: the saved transformer is damaged, or of another version "
        f"({type(err).__name__}: {one_line(err)[:300]}); save or download the pipeline "
        "again"
    )


def check_size(config: Any, shapes: Shapes) -> None:
    """Raise ValueError unless a transformer of this config holds such weights.

    Else a config of a few bytes could ask for any amount of memory.
    """
    n_layers = getattr(config, "num_hidden_layers", None) or 0
    if not isinstance(n_layers, int) or n_layers > len(shapes):
        raise ValueError(f"{n_layers} layers, but {len(shapes)} weights")
    try:
        with torch.device("meta"):
            skeleton = AutoModel.from_config(config, trust_remote_code=False)
    except (NotImplementedError, RuntimeError):
        # Some architectures compute with their weights when they are made.
        return
    needed = {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}
    for name, shape in needed.items():
        if shapes.get(name, shape) != shape:
            raise ValueError(f"{name} is {shapes[name]}, not {shape}")
    n_missing = sum(prod(needed[name]) for name in needed.keys() - shapes.keys())
    # With adapters, all weights have other names.
    if n_missing > MAX_MISSING + 2 * sum(map(prod, shapes.values())):
        raise ValueError(f"{n_missing:,} numbers of its weights are missing")


def _without_kernels(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    kept = {
        k: v for k, v in config.items() if not (isinstance(k, str) and KERNELS in k)
    }
    return {name: _without_kernels(value) for name, value in kept.items()}
