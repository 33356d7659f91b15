"""What `doc._.trf_data` and its batch hold: outputs that take gradients, or nothing.

The `transformer` component of spacy-transformers passes on gradients of the last layer
alone. Listeners leave those of other layers on the data that they were given, and they
are collected in the backward pass of the component.
"""

from dataclasses import dataclass, field
from typing import Any, Callable, ClassVar, Dict, List, Tuple, Type

from spacy_transformers.data_classes import (
    FullTransformerBatch,
    TransformerData,
    WordpieceBatch,
)
from thinc.api import get_array_module
from thinc.types import Floats3d, Ragged
from thinc.util import to_numpy, torch2xp, xp2torch
from transformers.file_utils import ModelOutput

from .wordpieces import split_align

# Gradients of hidden layers in what a backward pass is given: {layer: (N, L, width)}.
HIDDEN_GRADIENTS = "hidden_gradients"


@dataclass
class HiddenLayersData(TransformerData):
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


class TightBatch(FullTransformerBatch):
    """Outputs for a batch of docs, split by doc in less time than by stock."""

    data_class: ClassVar[Type[TransformerData]] = TransformerData

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
                part = self.data_class(self.wordpieces[own], output, align)
            parts.append(part)
        return parts


class HiddenLayersBatch(TightBatch):
    """Outputs for a batch of docs that collects the gradients left on each doc."""

    data_class = HiddenLayersData

    def unsplit_by_doc(self, arrays: List[List[Floats3d]]) -> FullTransformerBatch:
        """Concatenate the gradients of all docs, and forget those of hidden layers.

        arrays: Of the last layer, for each doc that has spans.
        """
        batch = super().unsplit_by_doc(arrays)
        docs = [data for data in self.doc_data if isinstance(data, HiddenLayersData)]
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
            batch.model_output[HIDDEN_GRADIENTS] = gradients
        return batch


class ReleasedData(TransformerData):
    """Stands for data that was released, and says so when its output is read.

    It is saved as empty data.
    """

    def __init__(self) -> None:
        self.wordpieces = WordpieceBatch.empty()
        self.align = TransformerData.empty().align

    @property
    def model_output(self) -> Any:  # type: ignore[override]
        """Raise ValueError."""
        raise ValueError(
            "doc._.trf_data was released; put the component embedkit_release after "
            "those that read it, and use it instead of the setter release.v1 if "
            "components listen to the transformer"
        )

    def to_dict(self) -> Any:
        """Return empty data as spacy_transformers writes it."""
        return TransformerData.empty().to_dict()

    def __repr__(self) -> str:
        return "ReleasedData()"

    def __reduce__(self) -> Tuple[Any, ...]:
        return get_released, ()


_RELEASED = ReleasedData()


def get_released() -> ReleasedData:
    """Return the only ReleasedData, which all docs share."""
    return _RELEASED


def shrink(data: Any, move: Callable[[Any], Any]) -> TransformerData:
    """Return TransformerData with the last hidden state alone, which move copies.

    Data without one, of a doc without tokens, is returned as it is.
    """
    if "last_hidden_state" not in data.model_output:
        return data
    pieces = data.wordpieces
    types = pieces.token_type_ids
    return TransformerData(
        wordpieces=WordpieceBatch(
            strings=pieces.strings,
            input_ids=to_numpy(pieces.input_ids).copy(),
            attention_mask=to_numpy(pieces.attention_mask).copy(),
            lengths=pieces.lengths,
            token_type_ids=None if types is None else to_numpy(types).copy(),
        ),
        model_output=ModelOutput(
            last_hidden_state=move(data.model_output.last_hidden_state)
        ),
        align=Ragged(
            to_numpy(data.align.dataXd).copy(), to_numpy(data.align.lengths).copy()
        ),
    )


def _to_arrays(output: Any) -> Any:
    """Turn a tensor, or one of each layer, to arrays that share their memory."""
    if isinstance(output, tuple):
        return [torch2xp(layer) for layer in output]
    return torch2xp(output)
