"""Prediction of spacy-curated-transformers by batches of like lengths."""

from types import SimpleNamespace
from typing import Any, Callable, List, Tuple

import numpy
from spacy_curated_transformers.models import with_strided_spans as stock
from spacy_curated_transformers.models.output import TransformerModelOutput
from thinc.api import Model, PyTorchShim
from thinc.types import Ints1d, Ragged

from .inference import sorted_batches
from .inference_shim import InferenceShim

STOCK_FORWARD = stock.with_strided_spans_forward
SHIMS = PyTorchShim, InferenceShim
# Wordpieces of a batch with its padding.
BATCH_PIECES = 2048


def predict_forward(
    model: Model, docs: List[Ragged], is_train: bool
) -> Tuple[TransformerModelOutput, Callable]:
    """Run with_strided_spans over the wordpieces of docs.

    Training runs the forward of stock, and so does what comes before and after the
    transformer in prediction.
    """
    if is_train:
        return STOCK_FORWARD(model, docs, is_train)

    def encode(
        spans: List[Ints1d], is_train: bool
    ) -> Tuple[TransformerModelOutput, Callable]:
        return _encode(model.layers[0], spans), _nothing

    # All spans at once, so that those of all docs are sorted.
    attrs = {**model.attrs, "batch_size": max(1, sum(len(doc.data) for doc in docs))}
    stand_in: Any = SimpleNamespace(
        name=model.name, ops=model.ops, attrs=attrs, layers=[encode]
    )
    return STOCK_FORWARD(stand_in, docs, False)


def _encode(transformer: Model, spans: List[Ints1d]) -> TransformerModelOutput:
    """Return the outputs of each span, (pieces, width) of each layer."""
    outputs: List[Any] = [None] * len(spans)
    last_layer_only = True
    lengths = numpy.asarray([len(span) for span in spans])
    for places in sorted_batches(lengths, BATCH_PIECES):
        output = transformer.predict([spans[place] for place in places])
        last_layer_only = output.last_layer_only
        for place, layers in zip(places, output.all_outputs, strict=True):
            outputs[place] = layers
    return TransformerModelOutput(outputs=outputs, last_layer_only=last_layer_only)


def _nothing(d_output: Any) -> Any:
    """Go back where nothing is trained."""
