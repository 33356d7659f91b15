"""Types of the kernels; what they do stands in _decode.pyx."""

from numpy.typing import NDArray

def hidden_states(
    table: NDArray, bias: NDArray, tokens: NDArray, sums: NDArray, out: NDArray
) -> None: ...
def decode_entities(
    table: NDArray,
    bias: NDArray,
    upper: NDArray,
    upper_bias: NDArray,
    scores: NDArray,
    moves: NDArray,
    labels: NDArray,
    inside: NDArray,
    lengths: NDArray,
    attrs: NDArray,
    tokens: NDArray,
    sums: NDArray,
    out: NDArray,
) -> None: ...
def decode_arcs(
    table: NDArray,
    bias: NDArray,
    upper: NDArray,
    upper_bias: NDArray,
    columns: NDArray,
    moves: NDArray,
    subtoken: NDArray,
    lengths: NDArray,
    starts: NDArray,
    links: NDArray,
    was_back: NDArray,
    sums: NDArray,
    scores: NDArray,
    heads: NDArray,
    classes: NDArray,
) -> bool: ...
