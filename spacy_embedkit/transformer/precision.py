"""Inference with fewer bits than a transformer was trained with."""

from copy import deepcopy
from typing import Any, List, Literal, Tuple

import torch
from torch import nn

Precision = Literal["float32", "bfloat16", "int8"]
# The range of bytes is made symmetric: -128 is never used.
MAX_BYTE = 127
MIN_SCALE = 1e-12
# Rows of inputs at a time, so that their bytes and products stay in the CPU's cache.
BLOCK_ROWS = 256


def to_precision(model: nn.Module, precision: Precision) -> nn.Module:
    """Return a copy of a transformer that computes with fewer bits.

    precision: bfloat16, or int8 for the products of its linear layers.
    Raises: ValueError, for int8 on a GPU or without linear layers.
    """
    copied = deepcopy(model).eval().requires_grad_(False)
    if precision == "bfloat16":
        return copied.to(torch.bfloat16)
    if any(weights.device.type != "cpu" for weights in copied.parameters()):
        raise ValueError(
            "the precision of a transformer is int8, which is for the CPU; use "
            "bfloat16 on a GPU"
        )
    found = linear_layers(copied)
    if not found:
        raise ValueError(
            "the precision of a transformer is int8, but "
            f"{type(model).__name__} has no linear layers of torch; use bfloat16"
        )
    for parent, name, child in found:
        setattr(parent, name, Int8Linear(child))
    return copied


def linear_layers(model: nn.Module) -> List[Tuple[nn.Module, str, nn.Linear]]:
    """Return each linear layer of torch with its parent and its name there."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]


class Int8Linear(nn.Module):
    """A linear layer that multiplies bytes: weights by output, inputs by row.

    Each output has its own scale, and so has each row of the input: transformers have
    some wordpieces with large values, and these do not cost the others precision.
    Source: Dettmers et al. 2022, LLM.int8(), arXiv:2208.07339, vector-wise
        quantisation.
    """

    weights: torch.Tensor
    scales: torch.Tensor
    bias: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weights, scales = quantise_rows(linear.weight.detach())
        self.register_buffer("weights", weights.t())
        self.register_buffer("scales", scales.reshape(-1))
        bias = scales.new_zeros(linear.out_features)
        if linear.bias is not None:
            bias += linear.bias.detach()
        self.register_buffer("bias", bias)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Multiply: (..., I) float32 -> (..., O) float32."""
        rows = X.reshape(-1, X.shape[-1])
        Y = X.new_empty((len(rows), len(self.scales)))
        for start in range(0, len(rows), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            quantised, row_scales = quantise_rows(rows[block])
            products = torch._int_mm(quantised, self.weights).float()
            torch.addcmul(
                self.bias, products.mul_(row_scales), self.scales, out=Y[block]
            )
        return Y.reshape(*X.shape[:-1], len(self.scales))


def quantise_rows(X: torch.Tensor) -> Any:
    """Return X as bytes, (N, I) int8, and the scale of each row, (N, 1) float32."""
    scales = X.abs().amax(dim=1, keepdim=True).div_(MAX_BYTE).clamp_(min=MIN_SCALE)
    return (X / scales).round_().to(torch.int8), scales
