"""The weights of a transformer within a thinc model: trained, frozen, saved."""

import re
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, cast

import srsly
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers.hf_shim import HFShim
from thinc.api import Optimizer
from thinc.types import FloatsXd
from thinc.util import torch2xp, xp2torch

from .adapters import MARK, ModelMaker, without_adapters
from .precision import Precision, lowered
from .scheduled import Scheduled

# What is under "state" in a saved shim is told by this key; pickled if it is missing.
FORMAT = "state_format"
SAFETENSORS = "safetensors"


class TransformerShim(HFShim):
    """That of spacy-transformers, with layers that train or not, and safe files.

    trained_layers: Layers that learn, from the top; the embeddings learn if there are
        more than the transformer has layers. None: all.
    layer_decay: What the learning rate of a layer is multiplied by for the one below.
    learn_rate_factor: What that of all is multiplied by.
    inference_precision: With what predictions are computed.
    lora: Settings of adapters, which are all that learns then.
    """

    _model: Any

    def __init__(
        self,
        model: HFObjects,
        mixed_precision: bool = False,
        grad_scaler_config: Optional[Dict[str, Any]] = None,
        trained_layers: Optional[Scheduled[int]] = None,
        layer_decay: float = 1.0,
        learn_rate_factor: float = 1.0,
        inference_precision: Precision = "float32",
        lora: Optional[Dict[str, Any]] = None,
    ) -> None:
        super().__init__(
            model,
            mixed_precision=mixed_precision,
            grad_scaler_config=dict(grad_scaler_config or {}),
            model_cls=ModelMaker(lora, {}),
        )
        self.layer_decay = layer_decay
        self.learn_rate_factor = learn_rate_factor
        self.trained_layers = trained_layers
        self.inference_precision = inference_precision
        self.lora = lora
        # What predicts, and what it was made of.
        self._served: Any = None
        self._source: Any = None
        # Zeros, for the gradients of weights by their names.
        self._gradients: Dict[str, Any] = {}

    @property
    def n_layers(self) -> int:
        """Layers of the transformer, the embeddings not counted."""
        return int(self._model.config.num_hidden_layers)

    @property
    def is_frozen(self) -> bool:
        """Whether the coming update changes nothing."""
        return self.trained_layers is not None and self.trained_layers.value <= 0

    @property
    def served(self) -> Any:
        """What predicts: the transformer, or a copy in the precision of inference."""
        if self._served is None or self._source is not self._model:
            self._source = self._model
            self._served = without_adapters(self._model)
            if self.inference_precision != "float32":
                self._served = lowered(self._served, self.inference_precision)
        return self._served

    def predict(self, inputs: Any) -> Any:
        """Run the transformer; its outputs are float32."""
        served = self.served
        if served is self._model:
            return super().predict(inputs)
        with torch.no_grad(), torch.autocast("cuda", enabled=self._mixed_precision):
            return _to_float(served.eval()(*inputs.args, **inputs.kwargs))

    @contextmanager
    def use_params(self, params: Any) -> Iterator[None]:
        """Use other weights for a while."""
        self._served = None
        with super().use_params(params):
            yield
        self._served = None

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the transformer to the CPU or a GPU."""
        self._served = None
        super().to_device(device_type, device_id)

    def begin_update(self, inputs: Any) -> Any:
        """Run the transformer, ready for a backward pass through layers that learn."""
        if self.trained_layers is not None:
            lowest = self.n_layers + 1 - self.trained_layers.value
            for name, weights in self._model.named_parameters():
                may_learn = self.lora is None or MARK in name
                weights.requires_grad_(may_learn and self._layer(name) >= lowest)
        return super().begin_update(inputs)

    def begin_backprop(self) -> None:
        """Give the weights the memory of their last gradients.

        Where it is allocated anew each time, between that of texts of many sizes, what
        the process holds grows by half.
        """
        for name, weights in self._model.named_parameters():
            if weights.requires_grad and weights.grad is None:
                weights.grad = self._gradients.pop(name, None)

    def finish_update(self, optimizer: Optimizer) -> None:
        """Let the optimizer change what learns; the rest keeps every bit."""
        self._served = None
        for name, weights in self._model.named_parameters():
            if weights.grad is not None:
                self._update(optimizer, name, weights)
        self._grad_scaler.update()
        if self.trained_layers is not None:
            self.trained_layers.advance()

    def _update(self, optimizer: Optimizer, name: str, weights: Any) -> None:
        # Gradients that overflowed say nothing.
        if not self._grad_scaler.found_inf:
            changed, _ = optimizer(
                (self.id, name),
                cast(FloatsXd, torch2xp(weights.data)),
                cast(FloatsXd, torch2xp(weights.grad)),
                lr_scale=self._scale(name),
            )
            new = xp2torch(changed, device=weights.device)
            # Changed in place, each would hold on to the one before, for ever.
            if new.data_ptr() != weights.data_ptr():
                weights.data = new
        # None, not zeros: without a gradient there is no update, nor any decay.
        self._gradients[name] = weights.grad.zero_()
        weights.grad = None

    def _scale(self, name: str) -> float:
        decay = self.layer_decay ** (self.n_layers - self._layer(name))
        return float(self.learn_rate_factor * decay)

    def _layer(self, name: str) -> int:
        """Return the layer: 0 for embeddings, the top one for all behind the layers."""
        found = re.search(r"\.(\d+)\.", f".{name}")
        if found:
            return int(found[1]) + 1
        return 0 if "embed" in name else self.n_layers

    def to_bytes(self) -> bytes:
        """Save as spacy-transformers does, but for the weights: safetensors."""
        model, self._model = self._model, _NoWeights()
        try:
            msg = srsly.msgpack_loads(super().to_bytes())
        finally:
            self._model = model
        if model is not None:
            # Weights that are shared have to be written for each of their names.
            weights = {
                k: v.detach().cpu().clone() for k, v in model.state_dict().items()
            }
            msg["state"] = save_safetensors(
                {k: v.contiguous() for k, v in weights.items()}
            )
            msg[FORMAT] = SAFETENSORS
        return bytes(srsly.msgpack_dumps(msg))

    def from_bytes(self, bytes_data: bytes) -> "TransformerShim":
        """Load what this or spacy-transformers has saved.

        torch reads the weights of the latter as tensors alone and runs nothing.
        Raises: ValueError, if a file of the tokenizer would not stay in its folder, or
            adapters are in one of the file and the config.
        """
        msg = srsly.msgpack_loads(bytes_data)
        for name in msg["tokenizer"]:
            if Path(name).name != name:
                raise ValueError(
                    f"TransformerModel.v1: a saved file of the tokenizer is {name!r}, "
                    "but only a name without a folder is safe to write; get the "
                    "pipeline from somebody you trust"
                )
        self.model_cls = ModelMaker(self.lora, msg["config"])
        if msg.pop(FORMAT, None) == SAFETENSORS:
            weights = load_safetensors(msg["state"])
            self._check_adapters(weights)
            file = BytesIO()
            torch.save(weights, file)
            msg["state"] = file.getvalue()
            bytes_data = srsly.msgpack_dumps(msg)
        super().from_bytes(bytes_data)
        self._served = None
        return self

    def _check_adapters(self, weights: Dict[str, Any]) -> None:
        has_them = any(MARK in name for name in weights)
        if has_them != (self.lora is not None):
            raise ValueError(
                f"TransformerModel.v1: lora is {self.lora}, but the transformer was "
                f"saved {'with' if has_them else 'without'} adapters; load it with the "
                "config that it was saved with"
            )


class _NoWeights:
    state_dict = dict


def _to_float(output: Any) -> Any:
    """Turn the tensors of an output, and those of its layers, to float32."""
    for key, value in output.items():
        if isinstance(value, tuple):
            output[key] = tuple(layer.float() for layer in value)
        else:
            output[key] = value.float()
    return output
