"""Run a transformer of a pipeline by batches of like lengths, and go back."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy
import torch
from spacy_transformers.data_classes import WordpieceBatch
from thinc.api import ArgsKwargs, Model
from transformers.file_utils import ModelOutput

from ..checks import one_line
from .inference import sorted_batches
from .shim import TransformerShim
from .trf_data import HIDDEN_GRADIENTS

# Outputs for generating more text: nothing uses them, and not all have a row per text.
CACHES = ("past_key_values", "mems")


@dataclass(frozen=True)
class EncodedBatch:
    """The output for a batch, and its rows and columns among those of all texts."""

    rows: Any
    columns: slice
    output: Any


def encode(
    model: Model, pieces: WordpieceBatch, is_train: bool, *, batch_pieces: int
) -> Tuple[ModelOutput, Callable[[ModelOutput], List[Any]]]:
    """Run the transformer over N texts of up to L wordpieces, by batches.

    batch_pieces: Wordpieces of a batch with its padding.
    Returns (output, backprop): tensors (N, L, width) with zeros for padding; no
        CACHES. backprop takes the gradient of the last layer first, and those of
        hidden layers by their number under HIDDEN_GRADIENTS.
    Raises: ValueError if the tokenizer and the transformer don't fit.
    """
    shim: TransformerShim = model.shims[0]  # type: ignore[assignment]
    is_train = is_train and not shim.is_frozen
    mask = numpy.asarray(pieces.attention_mask) > 0
    batches: List[EncodedBatch] = []
    backprop: Callable[[ArgsKwargs], Any] = _nothing
    for rows in sorted_batches(mask.sum(axis=1), batch_pieces):
        used = numpy.flatnonzero(mask[rows].any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        inputs = _inputs(pieces, rows, columns, shim.device)
        try:
            output, backprop = shim(inputs, is_train)
        except (IndexError, TypeError) as err:
            raise ValueError(
                "TransformerModel.v1: the transformer can't read what its tokenizer "
                f"gives, or its config is damaged ({type(err).__name__}: "
                f"{one_line(err)}); save or download both again"
            ) from err
        batches.append(EncodedBatch(torch.from_numpy(rows), columns, output))

    def backward(d_output: ModelOutput) -> List[Any]:
        gradients = dict(d_output)
        hidden = gradients.pop(HIDDEN_GRADIENTS, {})
        last = next(iter(gradients.values()))
        pairs = [
            (tensor, gradient[batch.rows, batch.columns])
            for layer, gradient in [(-1, last), *hidden.items()]
            # Without a gradient there is neither an update nor weight decay.
            if gradient.any()
            for batch in batches
            for tensor in [_layer(batch.output, layer)]
            # Layers below those that are trained take no gradient.
            if tensor.requires_grad
        ]
        if pairs:
            tensors, d_tensors = zip(*pairs, strict=True)
            shim.begin_backprop()
            backprop(ArgsKwargs((list(tensors),), {"grad_tensors": list(d_tensors)}))
        return []

    return _join(batches, mask.shape), backward


def _layer(output: Any, layer: int) -> Any:
    return output.last_hidden_state if layer < 0 else output.hidden_states[layer]


def _nothing(gradients: ArgsKwargs) -> None:
    """Go back where there were no texts."""


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


def _join(batches: List[EncodedBatch], shape: Tuple[int, int]) -> ModelOutput:
    """Join the outputs of batches, as if all texts had been in one.

    The class stays the same, so that outputs that were not asked for are None.
    """
    joined: Dict[str, Any] = {}
    for key, first in batches[0].output.items():
        if key in CACHES:
            continue
        outputs = [batch.output[key] for batch in batches]
        if isinstance(first, tuple):
            layers = zip(*outputs, strict=True)
            joined[key] = tuple(_scatter(batches, layer, shape) for layer in layers)
        elif isinstance(first, torch.Tensor):
            joined[key] = _scatter(batches, outputs, shape)
    return type(batches[0].output)(**joined)


def _scatter(
    batches: List[EncodedBatch], tensors: Sequence[Any], shape: Tuple[int, int]
) -> Any:
    """Copy tensors (n, ...), (n, l, ...) or, of attention, (n, heads, l, l) to one."""
    n_texts, length = shape
    first = tensors[0]
    is_attention = first.ndim == 4
    size = list(first.shape[1:])
    if is_attention:
        size[1:] = [length, length]
    elif first.ndim == 3:
        size[0] = length
    joined = first.new_zeros((n_texts, *size), requires_grad=False)
    for batch, tensor in zip(batches, tensors, strict=True):
        tensor = tensor.detach()
        if is_attention:
            rows = joined[batch.rows]
            rows[:, :, batch.columns, batch.columns] = tensor
            joined[batch.rows] = rows
        elif first.ndim == 3:
            joined[batch.rows, batch.columns] = tensor
        else:
            joined[batch.rows] = tensor
    return joined
