"""The weights of a transformer within a thinc model: trained, frozen, saved."""

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Callable, Dict, List, Optional, cast

import srsly
import torch
from safetensors.torch import save as save_safetensors
from spacy.tokens import Doc, Span
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers.hf_shim import HFShim
from thinc.api import Optimizer
from thinc.types import FloatsXd
from thinc.util import torch2xp, xp2torch
from transformers import AutoConfig, AutoTokenizer

from .adapters import LORA_MARK
from .inference_shim import InferenceShim
from .precision import Precision
from .saved_transformer import (
    FORMAT,
    SAFETENSORS,
    TransformerFactory,
    WithoutCode,
    damaged,
    read_saved,
    read_weights,
)
from .scheduled import Scheduled


@dataclass(frozen=True)
class TransformerSettings:
    """How a transformer is loaded, trained and run: see build_transformer_model_v1."""

    name: str
    get_spans: Callable[[List[Doc]], List[List[Span]]]
    tokenizer_config: Optional[Dict[str, Any]] = None
    transformer_config: Optional[Dict[str, Any]] = None
    mixed_precision: bool = False
    grad_scaler_config: Optional[Dict[str, Any]] = None
    batch_pieces: int = 2048
    keep_layers: Optional[int] = None
    trained_layers: Optional[Scheduled[int]] = None
    layer_decay: float = 1.0
    learn_rate_factor: float = 1.0
    inference_precision: Precision = "float32"
    lora: Optional[Dict[str, Any]] = None


class HFInferenceShim(InferenceShim, HFShim):
    """HFShim of spacy-transformers that predicts with a copy of its transformer."""


class TransformerShim(HFInferenceShim):
    """HFShim of spacy-transformers with chosen layers that learn, and safe files."""

    def __init__(self, settings: TransformerSettings) -> None:
        configs = settings.tokenizer_config or {}, settings.transformer_config or {}
        super().__init__(
            HFObjects(None, None, None, *map(dict, configs)),
            mixed_precision=settings.mixed_precision,
            grad_scaler_config=dict(settings.grad_scaler_config or {}),
            model_cls=TransformerFactory(settings.lora, {}, {}),
            config_cls=WithoutCode(AutoConfig),
            tokenizer_cls=WithoutCode(AutoTokenizer),
        )
        self.settings = settings
        self.precision = settings.inference_precision
        # Zeros, for the gradients of weights by their names.
        self._gradients: Dict[str, Any] = {}

    @property
    def n_layers(self) -> int:
        """Number of layers, without the embeddings."""
        return int(self._model.config.num_hidden_layers)

    @property
    def is_frozen(self) -> bool:
        """Whether the coming update changes nothing."""
        trained_layers = self.settings.trained_layers
        return trained_layers is not None and trained_layers.value <= 0

    def begin_update(self, inputs: Any) -> Any:
        """Run the transformer, ready for a backward pass through layers that learn."""
        trained_layers, lora = self.settings.trained_layers, self.settings.lora
        if trained_layers is not None:
            lowest = self.n_layers + 1 - trained_layers.value
            for name, weights in self._model.named_parameters():
                may_learn = lora is None or LORA_MARK in name
                weights.requires_grad_(may_learn and self._layer(name) >= lowest)
        return super().begin_update(inputs)

    def begin_backprop(self) -> None:
        """Let the weights use the memory of their last gradients again.

        Allocated anew each time, among the arrays of texts of many sizes, it makes the
        memory of the process grow by half.
        """
        for name, weights in self._model.named_parameters():
            if weights.requires_grad and weights.grad is None:
                weights.grad = self._gradients.pop(name, None)

    def finish_update(self, optimizer: Optimizer) -> None:
        """Let the optimizer change what learns; the rest keeps every bit."""
        self.forget()
        for name, weights in self._model.named_parameters():
            if weights.grad is not None:
                self._update(optimizer, name, weights)
        self._grad_scaler.update()
        if self.settings.trained_layers is not None:
            self.settings.trained_layers.advance()

    def _update(self, optimizer: Optimizer, name: str, weights: Any) -> None:
        # Gradients that overflowed are useless.
        if not self._grad_scaler.found_inf:
            changed, _ = optimizer(
                (self.id, name),
                cast(FloatsXd, torch2xp(weights.data)),
                cast(FloatsXd, torch2xp(weights.grad)),
                lr_scale=self._scale(name),
            )
            new = xp2torch(changed, device=weights.device)
            # Weights changed in place would each keep a reference to the ones before.
            if new.data_ptr() != weights.data_ptr():
                weights.data = new
        # None, not zeros: without a gradient there is no update and no weight decay.
        self._gradients[name] = weights.grad.zero_()
        weights.grad = None

    def _scale(self, name: str) -> float:
        decay = self.settings.layer_decay ** (self.n_layers - self._layer(name))
        return float(self.settings.learn_rate_factor * decay)

    def _layer(self, name: str) -> int:
        """Return the layer: 0 for embeddings, the top one for what comes after it."""
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
            # safetensors takes no tensors that share memory: tied weights are copied.
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

        Weights that the latter wrote are read as tensors alone; no code is run.
        Raises: ValueError, if it is damaged, a file of the tokenizer would leave its
            folder, or only one of the file and the config has adapters.
        """
        msg = read_saved(bytes_data)
        is_safe = msg.pop(FORMAT, None) == SAFETENSORS
        weights = read_weights(msg["state"], is_safe) if msg["config"] else {}
        if is_safe:
            self._check_adapters(weights)
        shapes = {name: tuple(value.shape) for name, value in weights.items()}
        self.model_cls = TransformerFactory(self.settings.lora, msg["config"], shapes)
        if is_safe:
            file = BytesIO()
            torch.save(weights, file)
            msg["state"] = file.getvalue()
        try:
            super().from_bytes(srsly.msgpack_dumps(msg))
        except Exception as err:
            # The library trusts its files, so that it may fail anywhere.
            raise damaged(err) from err
        return self

    def _check_adapters(self, weights: Dict[str, Any]) -> None:
        lora, has_them = self.settings.lora, any(LORA_MARK in name for name in weights)
        if has_them != (lora is not None):
            raise ValueError(
                f"TransformerModel.v1: lora is {lora}, but the transformer was "
                f"saved {'with' if has_them else 'without'} adapters; load it with the "
                "config that it was saved with"
            )


class _NoWeights:
    state_dict = dict
