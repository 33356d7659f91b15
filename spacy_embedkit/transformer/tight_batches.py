"""Prediction of spacy-transformers by batches of like lengths."""

from typing import Any, Callable, List, Tuple

from spacy.tokens import Doc
from spacy_transformers.data_classes import FullTransformerBatch
from spacy_transformers.layers import transformer_model as stock

from ..row_cache import CACHE
from .encoding import encode
from .shim import HFInferenceShim, HFShim
from .trf_data import TightBatch
from .wordpieces import WordpieceReader

STOCK_FORWARD = stock.forward
SHIMS = HFShim, HFInferenceShim
# Wordpieces of a batch with its padding.
BATCH_PIECES = 2048


class KeptReader:
    """The reader of a transformer's tokenizer; a copy or a pickle has none yet."""

    def __init__(self) -> None:
        self._reader: Any = None

    def __reduce__(self) -> Tuple[Any, ...]:
        return KeptReader, ()

    def get(self, tokenizer: Any) -> WordpieceReader:
        """Return the reader, made anew for another tokenizer."""
        reader = self._reader
        if reader is None or reader.tokenizer is not tokenizer:
            reader = self._reader = WordpieceReader(tokenizer)
        return reader


def predict_forward(
    model: stock.TransformerModel, docs: List[Doc], is_train: bool
) -> Tuple[FullTransformerBatch, Callable[[FullTransformerBatch], List[Doc]]]:
    """Run TransformerModel of spacy-transformers over the spans of docs.

    Outputs for padding are zeros. Training runs the forward of stock.
    """
    spans = [] if is_train else model.attrs["get_spans"](docs)
    if not any(spans):
        return STOCK_FORWARD(model, docs, is_train)
    read = model.attrs.setdefault(CACHE, KeptReader()).get(model.tokenizer)
    pieces, align = read(spans, count_once=False)
    output, _ = encode(model.layers[0], pieces, False, batch_pieces=BATCH_PIECES)
    batch = TightBatch(spans=spans, wordpieces=pieces, model_output=output, align=align)
    return batch, lambda d_batch: docs
