"""Outputs of a transformer that take gradients for any of its hidden layers.

The `transformer` component of spacy-transformers hands on gradients of the last layer
alone. Those of other layers are left on the data that listeners were given, and picked
up when the component goes back.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List

from spacy_transformers.data_classes import FullTransformerBatch, TransformerData
from thinc.api import get_array_module
from thinc.types import Floats3d
from thinc.util import torch2xp, xp2torch
from transformers.file_utils import ModelOutput

from .pieces import split_align

# Gradients of hidden layers in what a backward pass is given: {layer: (N, L, width)}.
HIDDEN_GRADIENTS = "hidden_gradients"


@dataclass
class LayeredData(TransformerData):
    """Outputs for a doc, and the gradients of hidden layers that listeners left.

    hidden_gradients: (spans, L, width) float32 by the number of the layer, 0 for the
        embeddings.
    """

    hidden_gradients: Dict[int, Any] = field(default_factory=dict)

    def add_gradient(self, layer: int, gradient: Any) -> None:
        """Add to the gradient of a hidden layer."""
        if layer in self.hidden_gradients:
            gradient = self.hidden_gradients[layer] + gradient
        self.hidden_gradients[layer] = gradient


class LayeredBatch(FullTransformerBatch):
    """Outputs for a batch of docs that gathers what was left on those of each doc."""

    def split_by_doc(self) -> List[TransformerData]:
        """Return the outputs for each doc; those of a doc without spans are empty."""
        tensors: Any = self.model_output
        arrays = {key: _to_arrays(value) for key, value in tensors.items()}
        aligns = split_align(self.spans, self.align, self.wordpieces.input_ids.shape[1])
        parts, start = [], 0
        for spans, align in zip(self.spans, aligns, strict=True):
            own = slice(start, start + len(spans))
            start = own.stop
            part = TransformerData.empty()
            if spans:
                output = ModelOutput(
                    {
                        key: [layer[own] for layer in value]
                        if isinstance(value, list)
                        else value[own]
                        for key, value in arrays.items()
                    }
                )
                part = LayeredData(self.wordpieces[own], output, align)
            parts.append(part)
        return parts

    def unsplit_by_doc(self, arrays: List[List[Floats3d]]) -> FullTransformerBatch:
        """Put the gradients of all docs together, and forget those of hidden layers.

        arrays: Of the last layer, for each doc that has spans.
        """
        whole = super().unsplit_by_doc(arrays)
        docs = [data for data in self.doc_data if isinstance(data, LayeredData)]
        docs = [data for data in docs if "last_hidden_state" in data.model_output]
        gradients = {}
        for layer in sorted({i for data in docs for i in data.hidden_gradients}):
            parts = []
            for data in docs:
                output: Any = data.model_output
                like = output.last_hidden_state
                xp = get_array_module(like)
                parts.append(data.hidden_gradients.pop(layer, xp.zeros_like(like)))
            gradients[layer] = xp2torch(xp.concatenate(parts))
        if gradients:
            whole.model_output[HIDDEN_GRADIENTS] = gradients
        return whole


def _to_arrays(output: Any) -> Any:
    """Turn a tensor, or one of each layer, to arrays that share their memory."""
    if isinstance(output, tuple):
        return [torch2xp(layer) for layer in output]
    return torch2xp(output)
