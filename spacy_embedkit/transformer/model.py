"""The layer of a pipeline that runs a transformer: from docs to a batch of outputs."""

import os
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from spacy.tokens import Doc
from spacy_transformers.data_classes import FullTransformerBatch, HFObjects
from spacy_transformers.layers import TransformerModel as StockTransformerModel
from spacy_transformers.layers import transformer_model as stock
from thinc.api import Model

from .adapters import add_adapters
from .encoding import encode
from .pretrained import drop_layers_above
from .shim import TransformerSettings, TransformerShim
from .trf_data import HiddenLayersBatch
from .wordpiece_spans import WordpieceSpans
from .wordpieces import WordpieceReader


def use_one_thread() -> None:
    """Compute on one thread.

    A forked process lacks the other threads of OpenMP, and would wait for them forever.
    """
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=use_one_thread)


class TransformerModel(StockTransformerModel):
    """TransformerModel of spacy-transformers, run by batches of like lengths.

    Its outputs have the same form, and it loads the same files.
    """

    def __init__(self, settings: TransformerSettings) -> None:
        self.settings = settings
        self._reader: Optional[WordpieceReader] = None
        super().__init__(settings.name, settings.get_spans)
        self._layers[0] = Model(
            "hf-pytorch",
            partial(encode, batch_pieces=settings.batch_pieces),
            shims=[TransformerShim(settings)],
            dims={"nI": None, "nO": None},
        )
        self._func = forward
        self.attrs["set_transformer"] = partial(set_transformer, settings=settings)
        self.attrs["replace_listener_cfg"] = replace_listener_cfg

    @property
    def read(self) -> WordpieceReader:
        """The reader that turns spans into wordpieces."""
        if self._reader is None or self._reader.tokenizer is not self.tokenizer:
            self._reader = WordpieceReader(self.tokenizer)
        return self._reader

    def copy(self) -> "TransformerModel":
        """Copy weights and settings."""
        copied = TransformerModel(self.settings)
        copied._dims = dict(self._dims)
        copied.attrs["has_transformer"] = self.attrs["has_transformer"]
        copied.layers[0].shims[0].from_bytes(self.layers[0].shims[0].to_bytes())
        return copied


def replace_listener_cfg(
    transformer: Dict[str, Any], listener: Dict[str, Any]
) -> Dict[str, Any]:
    """Return the config of a model that holds its transformer itself."""
    settings = ("pooling", "grad_factor", "layers")
    return {
        **transformer,
        "@architectures": "spacy-embedkit.Tok2VecTransformer.v1",
        **{name: listener[name] for name in settings if name in listener},
    }


def set_transformer(
    model: StockTransformerModel, loaded: HFObjects, *, settings: TransformerSettings
) -> None:
    """Give a model its transformer, with the layers that are kept and adapters."""
    keep_layers = settings.keep_layers
    if keep_layers is not None:
        n_layers = int(loaded.transformer.config.num_hidden_layers)
        if not 1 <= keep_layers <= n_layers:
            raise ValueError(
                f"TransformerModel.v1: keep_layers is {keep_layers}, but "
                f"{model.attrs['name']} has {n_layers}: give 1 to {n_layers}"
            )
        drop_layers_above(loaded.transformer, keep_layers)
        if loaded.transformer.config.num_hidden_layers != keep_layers:
            raise ValueError(
                f"TransformerModel.v1: keep_layers is {keep_layers}, but the layers of "
                f"{model.attrs['name']} can't be taken apart; leave it out"
            )
    loaded.transformer = add_adapters(loaded.transformer, settings.lora)
    stock.set_pytorch_transformer(model, loaded)
    share_tokenizer(model)


def share_tokenizer(model: StockTransformerModel) -> None:
    """Give the span getter the tokenizer of the model, if it needs one."""
    get_spans = model.attrs["get_spans"]
    if isinstance(get_spans, WordpieceSpans) and not get_spans.has_tokenizer:
        get_spans.set_tokenizer(model.tokenizer)


def forward(
    model: TransformerModel, docs: List[Doc], is_train: bool
) -> Tuple[FullTransformerBatch, Callable[[FullTransformerBatch], List[Doc]]]:
    """Run the transformer over the spans of docs.

    Returns (outputs, backprop); backprop of a frozen transformer does nothing.
    """
    # After loading from a file, the span getter has no tokenizer yet.
    share_tokenizer(model)
    get_spans = model.attrs["get_spans"]
    spans = get_spans(docs)
    count_once = isinstance(get_spans, WordpieceSpans)
    pieces, align = model.read(spans, count_once=count_once)
    output, backprop = model.layers[0](pieces, is_train)
    batch = HiddenLayersBatch(
        spans=spans, wordpieces=pieces, model_output=output, align=align
    )
    shim: Any = model.layers[0].shims[0]
    is_frozen = shim.is_frozen

    def backprop_to_docs(d_batch: FullTransformerBatch) -> List[Doc]:
        if not is_frozen:
            backprop(d_batch.model_output)
        return docs

    return batch, backprop_to_docs
