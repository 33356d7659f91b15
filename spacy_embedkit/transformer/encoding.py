"""Wordpieces to the outputs of a transformer and back, by batches of like lengths."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy
import torch
from spacy_transformers.data_classes import WordpieceBatch
from thinc.api import ArgsKwargs, Model
from transformers.file_utils import ModelOutput

from .batches import sorted_batches
from .hidden import HIDDEN_GRADIENTS
from .shim import TransformerShim

# Outputs that a text could go on from; none does, and not all have a row for each text.
CACHES = ("past_key_values", "mems")


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
    Returns (output, backprop): tensors (N, L, width) with zeros for padding; no
        CACHES. backprop takes the gradient of the last layer first, and those of
        hidden layers by their number under HIDDEN_GRADIENTS.
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
            shim.begin_backprop()
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
    """Put the outputs of batches together, as that of one batch of all.

    It is of the same class, so that what is not asked for is None.
    """
    joined: Dict[str, Any] = {}
    for key, first in parts[0].output.items():
        if key in CACHES:
            continue
        outputs = [part.output[key] for part in parts]
        if isinstance(first, tuple):
            layers = zip(*outputs, strict=True)
            joined[key] = tuple(_scatter(parts, layer, shape) for layer in layers)
        elif isinstance(first, torch.Tensor):
            joined[key] = _scatter(parts, outputs, shape)
    return type(parts[0].output)(**joined)


def _scatter(parts: List[Part], tensors: Sequence[Any], shape: Tuple[int, int]) -> Any:
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
