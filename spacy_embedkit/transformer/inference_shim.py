"""Weights of a transformer within a thinc model that predict with fewer bits."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator

import torch
from thinc.api import Optimizer, PyTorchShim

from .adapters import without_adapters
from .precision import Precision, to_precision


class InferenceShim(PyTorchShim):
    """PyTorchShim that predicts with a copy of its transformer.

    A shim of another class can be given this one, and its own again: what it needs
    besides has defaults here.

    precision: Of the copy; without adapters, the transformer itself is float32.
    """

    _model: Any
    precision: Precision = "float32"
    # The model that predicts, and the one that it was made from.
    _inference_model: Any = None
    _source: Any = None

    @property
    def inference_model(self) -> Any:
        """The transformer, or a copy with merged adapters or fewer bits."""
        if self._inference_model is None or self._source is not self._model:
            model = without_adapters(self._model)
            if self.precision != "float32":
                model = to_precision(model, self.precision)
            self._source, self._inference_model = self._model, model
        return self._inference_model

    def predict(self, inputs: Any) -> Any:
        """Run the transformer; its outputs are float32."""
        model = self.inference_model
        if model is self._model:
            return super().predict(inputs)
        with torch.no_grad(), torch.autocast("cuda", enabled=self._mixed_precision):
            return _to_float(model.eval()(*inputs.args, **inputs.kwargs))

    @contextmanager
    def use_params(self, params: Any) -> Iterator[None]:
        """Use other weights within the body."""
        self.forget()
        with super().use_params(params):
            yield
        self.forget()

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the transformer to the CPU or a GPU."""
        self.forget()
        super().to_device(device_type, device_id)

    def finish_update(self, optimizer: Optimizer) -> None:
        """Let the optimizer change the weights."""
        self.forget()
        super().finish_update(optimizer)

    def from_bytes(self, bytes_data: bytes) -> Any:
        """Load the weights."""
        self.forget()
        return super().from_bytes(bytes_data)

    def forget(self) -> None:
        """Make the copy anew when it is needed, as after a change to the weights."""
        self._inference_model = self._source = None

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_inference_model": None, "_source": None}


def _to_float(output: Any) -> Any:
    """Turn the tensors of an output, and those of its layers, to float32."""
    if hasattr(output, "all_outputs"):
        # Of curated transformers.
        output.all_outputs = [layer.float() for layer in output.all_outputs]
        return output
    for key, value in output.items():
        if isinstance(value, tuple):
            output[key] = tuple(layer.float() for layer in value)
        else:
            output[key] = value.float()
    return output
