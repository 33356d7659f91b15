"""The layer of a pipeline that runs a transformer: docs to a batch of its outputs."""

import os
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy
import torch
from spacy.tokens import Doc, Span
from spacy_transformers.data_classes import (
    FullTransformerBatch,
    HFObjects,
    WordpieceBatch,
)
from spacy_transformers.layers import TransformerModel as StockTransformerModel
from spacy_transformers.layers import transformer_model as stock
from thinc.api import ArgsKwargs, Model
from transformers.file_utils import ModelOutput

from ..schedules import Scheduled
from ..wordpiece_spans import WordpieceSpans
from .batches import sorted_batches
from .encoder import drop_layers_above
from .hidden import HIDDEN_GRADIENTS, LayeredBatch
from .shim import TransformerShim

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
        )
        self._layers[0] = Model(
            "hf-pytorch",
            partial(encode, most=settings.batch_pieces),
            shims=[shim],
            dims={"nI": None, "nO": None},
        )
        self._func = forward
        self.attrs["set_transformer"] = partial(
            set_transformer, keep_layers=settings.keep_layers
        )
        self.attrs["replace_listener_cfg"] = replace_listener_cfg

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
    model: StockTransformerModel, loaded: HFObjects, *, keep_layers: Optional[int]
) -> None:
    """Give a model its transformer, without the layers that are not kept."""
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
    full, backprop = stock.forward(model, docs, is_train)
    batch = LayeredBatch(
        spans=full.spans,
        wordpieces=full.wordpieces,
        model_output=full.model_output,
        align=full.align,
    )
    shim: Any = model.layers[0].shims[0]
    if shim.is_frozen:
        return batch, lambda d_batch: docs
    return batch, backprop


@dataclass(frozen=True)
class Part:
    """What came of some of the texts: rows and columns of all, and the output."""

    rows: Any
    columns: slice
    output: Any


def encode(
    model: Model, pieces: WordpieceBatch, is_train: bool, *, most: int
) -> Tuple[ModelOutput, Callable[[ModelOutput], List[Any]]]:
    """Run the transformer over N texts of up to L wordpieces, by batches.

    most: Wordpieces of a batch with its padding.
    Returns (output, backprop): tensors (N, L, width) with zeros for padding. backprop
        takes the gradient of the last layer first, and those of hidden layers by their
        number under HIDDEN_GRADIENTS.
    """
    shim: TransformerShim = model.shims[0]  # type: ignore[assignment]
    is_train = is_train and not shim.is_frozen
    mask = numpy.asarray(pieces.attention_mask) > 0
    parts: List[Part] = []
    backprop: Callable[[ArgsKwargs], Any] = _nothing
    for rows in sorted_batches(mask.sum(axis=1), most):
        used = numpy.flatnonzero(mask[rows].any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        inputs = _inputs(pieces, rows, columns, shim.device)
        output, backprop = shim(inputs, is_train)
        parts.append(Part(torch.from_numpy(rows), columns, output))

    def backward(d_output: ModelOutput) -> List[Any]:
        gradients = dict(d_output)
        hidden = gradients.pop(HIDDEN_GRADIENTS, {})
        last = next(iter(gradients.values()))
        pairs = [
            (tensor, gradient[part.rows, part.columns])
            for layer, gradient in [(-1, last), *hidden.items()]
            # Without a gradient there is no update, nor any decay.
            if gradient.any()
            for part in parts
            for tensor in [_layer(part.output, layer)]
            # Layers below those that learn have no way back.
            if tensor.requires_grad
        ]
        if pairs:
            tensors, d_tensors = zip(*pairs, strict=True)
            backprop(ArgsKwargs((list(tensors),), {"grad_tensors": list(d_tensors)}))
        return []

    return _join(parts, mask.shape), backward


def _layer(output: Any, layer: int) -> Any:
    return output.last_hidden_state if layer < 0 else output.hidden_states[layer]


def _nothing(gradients: ArgsKwargs) -> None:
    """Go back through no text at all."""


def _inputs(
    pieces: WordpieceBatch, rows: Any, columns: slice, device: torch.device
) -> ArgsKwargs:
    arrays: Dict[str, Any] = {
        "input_ids": pieces.input_ids,
        "attention_mask": pieces.attention_mask,
    }
    if pieces.token_type_ids is not None:
        arrays["token_type_ids"] = pieces.token_type_ids
    tensors = {
        name: torch.from_numpy(numpy.ascontiguousarray(array[rows, columns])).to(device)
        for name, array in arrays.items()
    }
    return ArgsKwargs((), tensors)


def _join(parts: List[Part], shape: Tuple[int, int]) -> ModelOutput:
    """Put the outputs of batches together, as that of one batch of all."""
    joined = ModelOutput()
    for key, first in parts[0].output.items():
        if isinstance(first, tuple):
            joined[key] = tuple(
                _scatter(parts, [part.output[key][i] for part in parts], shape)
                for i in range(len(first))
            )
        elif isinstance(first, torch.Tensor):
            joined[key] = _scatter(parts, [part.output[key] for part in parts], shape)
    return joined


def _scatter(parts: List[Part], tensors: List[Any], shape: Tuple[int, int]) -> Any:
    """Copy (n, ...), (n, l, ...) or, for attention, (n, heads, l, l) to their place."""
    n_texts, length = shape
    first = tensors[0]
    is_attention = first.ndim == 4
    size = list(first.shape[1:])
    if is_attention:
        size[1:] = [length, length]
    elif first.ndim == 3:
        size[0] = length
    whole = first.new_zeros((n_texts, *size), requires_grad=False)
    for part, tensor in zip(parts, tensors, strict=True):
        tensor = tensor.detach()
        if is_attention:
            rows = whole[part.rows]
            rows[:, :, part.columns, part.columns] = tensor
            whole[part.rows] = rows
        elif first.ndim == 3:
            whole[part.rows, part.columns] = tensor
        else:
            whole[part.rows] = tensor
    return whole
