"""The layer of a pipeline that runs a transformer: docs to a batch of its outputs."""

import os
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from spacy.tokens import Doc, Span
from spacy_transformers.data_classes import FullTransformerBatch, HFObjects
from spacy_transformers.layers import TransformerModel as StockTransformerModel
from spacy_transformers.layers import transformer_model as stock
from thinc.api import Model

from .adapters import add_adapters
from .encoder import drop_layers_above
from .encoding import encode
from .hidden import LayeredBatch
from .pieces import PieceReader
from .precision import Precision
from .scheduled import Scheduled
from .shim import TransformerShim
from .wordpiece_spans import WordpieceSpans

SpanGetter = Callable[[List[Doc]], List[List[Span]]]


@dataclass(frozen=True)
class TransformerSettings:
    """What a TransformerModel is made of; see build_transformer_model_v1."""

    name: str
    get_spans: SpanGetter
    tokenizer_config: Dict[str, Any] = field(default_factory=dict)
    transformer_config: Dict[str, Any] = field(default_factory=dict)
    mixed_precision: bool = False
    grad_scaler_config: Dict[str, Any] = field(default_factory=dict)
    batch_pieces: int = 2048
    keep_layers: Optional[int] = None
    trained_layers: Optional[Scheduled[int]] = None
    layer_decay: float = 1.0
    learn_rate_factor: float = 1.0
    inference_precision: Precision = "float32"
    lora: Optional[Dict[str, Any]] = None


def use_one_thread() -> None:
    """Compute on one thread, as a process that was forked has to.

    The other threads of OpenMP are not there, and it would wait for them for ever.
    """
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=use_one_thread)


class TransformerModel(StockTransformerModel):
    """That of spacy-transformers, by batches of like lengths.

    Its outputs have the same form, and it loads the same files.
    """

    def __init__(self, settings: TransformerSettings) -> None:
        self.settings = settings
        self._reader: Optional[PieceReader] = None
        super().__init__(settings.name, settings.get_spans)
        shim = TransformerShim(
            HFObjects(
                None,
                None,
                None,
                dict(settings.tokenizer_config),
                dict(settings.transformer_config),
            ),
            settings.mixed_precision,
            settings.grad_scaler_config,
            settings.trained_layers,
            settings.layer_decay,
            settings.learn_rate_factor,
            settings.inference_precision,
            settings.lora,
        )
        self._layers[0] = Model(
            "hf-pytorch",
            partial(encode, most=settings.batch_pieces),
            shims=[shim],
            dims={"nI": None, "nO": None},
        )
        self._func = forward
        self.attrs["set_transformer"] = partial(
            set_transformer, keep_layers=settings.keep_layers, lora=settings.lora
        )
        self.attrs["replace_listener_cfg"] = replace_listener_cfg

    @property
    def read(self) -> PieceReader:
        """What turns spans into wordpieces."""
        if self._reader is None or self._reader.tokenizer is not self.tokenizer:
            self._reader = PieceReader(self.tokenizer)
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
    model: StockTransformerModel,
    loaded: HFObjects,
    *,
    keep_layers: Optional[int],
    lora: Optional[Dict[str, Any]],
) -> None:
    """Give a model its transformer: the layers that are kept, and adapters."""
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
    loaded.transformer = add_adapters(loaded.transformer, lora)
    stock.set_pytorch_transformer(model, loaded)
    hand_tokenizer_over(model)


def hand_tokenizer_over(model: StockTransformerModel) -> None:
    """Give the span getter the tokenizer of the model, if it can use one."""
    get_spans = model.attrs["get_spans"]
    if isinstance(get_spans, WordpieceSpans) and not get_spans.has_tokenizer:
        get_spans.set_tokenizer(model.tokenizer)


def forward(
    model: TransformerModel, docs: List[Doc], is_train: bool
) -> Tuple[FullTransformerBatch, Callable[[FullTransformerBatch], List[Doc]]]:
    """Run the transformer over the spans of docs.

    Returns (outputs, backprop); backprop of a frozen transformer does nothing.
    """
    # One that was loaded from a file has not been handed over yet.
    hand_tokenizer_over(model)
    get_spans = model.attrs["get_spans"]
    spans = get_spans(docs)
    is_each_once = isinstance(get_spans, WordpieceSpans)
    pieces, align = model.read(spans, is_each_once=is_each_once)
    output, backprop = model.layers[0](pieces, is_train)
    batch = LayeredBatch(
        spans=spans, wordpieces=pieces, model_output=output, align=align
    )
    shim: Any = model.layers[0].shims[0]
    is_frozen = shim.is_frozen

    def backprop_to_docs(d_batch: FullTransformerBatch) -> List[Doc]:
        if not is_frozen:
            backprop(d_batch.model_output)
        return docs

    return batch, backprop_to_docs
