"""Prediction of the window encoder, in chunks whose rows stay in the CPU's cache."""

from typing import List, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from thinc.types import Ints2d

from .. import ops
from ..backend import multiply
from . import _window
from .window_nodes import WindowWeights

# Positions that run through all layers before the next ones start, so that their rows
# stay in the cache. From 256 to 1024 the speed is the same within 3%.
CHUNK = 768
# Positions that share a table of first-layer products: at width 96 this takes 28 MB if
# no two are of one type, and 6 MB in a text. From 2048 to 16384 it matters as little.
BLOCK = 8192


def predict_tokens(
    weights: List[WindowWeights],
    w: int,
    table: NDArray,
    inverse: NDArray,
    lengths: Sequence[int],
) -> NDArray:
    """Encode the tokens of docs: (N, nO).

    w: Neighbours that a token sees on each side. table: (T, nO), rows of word types.
    inverse: (N,), the table row of each token. lengths: Tokens of each doc, sum N.
    """
    reach = w * len(weights)
    rows = pad_docs(inverse, lengths, reach)
    Y = numpy.empty((len(inverse), table.shape[1]), dtype=table.dtype)
    is_token = rows >= 0
    begin = 0
    for start in range(reach, len(rows) - reach, BLOCK):
        # A block reads as far beyond its ends as its tokens can see.
        stop = min(start + BLOCK, len(rows) - reach)
        around = slice(start - reach, stop + reach)
        wanted = is_token[around].copy()
        wanted[:reach] = wanted[len(wanted) - reach :] = False
        end = begin + int(numpy.count_nonzero(wanted))
        if end > begin:
            _predict_block(weights, w, table, rows[around], wanted, Y[begin:end])
        begin = end
    return Y


def _predict_block(
    weights: List[WindowWeights],
    w: int,
    table: NDArray,
    rows: NDArray,
    wanted: NDArray,
    Y: NDArray,
) -> None:
    """Encode the wanted positions among those whose table rows are given, into Y."""
    width = table.shape[1]
    centers = find_centers(wanted, w, len(weights))
    table, rows = _types_of_block(table, rows)
    products = multiply(table, weights[0].W)
    size = max(len(c) for c in centers)
    size = min(size, CHUNK + 2 * w * len(weights))
    windows = numpy.empty((size, (2 * w + 1) * width), dtype=table.dtype)
    pieces = numpy.empty((size, len(weights[0].bias)), dtype=table.dtype)
    hidden = numpy.empty((2, size, width), dtype=table.dtype)
    positions = numpy.flatnonzero(wanted)
    last = 0
    while last < len(Y):
        first = last
        last = int(numpy.searchsorted(positions, positions[first] + CHUNK))
        spans = _spans(centers, w, first, last)
        for i, (layer, (begin, end)) in enumerate(zip(weights, spans, strict=True)):
            n = end - begin
            is_last = i == len(weights) - 1
            out = Y[first:last] if is_last else hidden[i % 2, :n]
            Z = pieces[:n]
            at = centers[i][begin:end]
            if i == 0:
                _window.sum_windows(products, rows, at, w, Z)
                X, at = table, rows[at]
            else:
                X, at = hidden[(i - 1) % 2], at - spans[i - 1][0]
                _window.gather_windows(X, at, w, windows[:n])
                multiply(windows[:n], layer.W, Z)
            _window.maxout_norm(Z, layer.bias, layer.G, layer.b, X, at, out)


def pad_docs(rows: NDArray, lengths: Sequence[int], gap: int) -> NDArray:
    """Put -1 before, between and after the docs: (N,) to (N + gap * ...,) int32."""
    filled = [n for n in lengths if n]
    out = numpy.full(len(rows) + gap * (len(filled) + 1), -1, dtype="i")
    shifts = numpy.repeat(numpy.arange(1, len(filled) + 1) * gap, filled)
    out[numpy.arange(len(rows)) + shifts] = rows
    return out


def find_centers(wanted: NDArray, w: int, depth: int) -> List[NDArray]:
    """Find what each layer has to compute so that the last gives what is wanted.

    wanted: (M,) bool, positions of the first layer's input.
    Returns for each layer (N,) int32: where its output rows lie in its input, which is
        the output of the layer before.
    """
    place = numpy.arange(len(wanted), dtype="i")
    reach = w * depth
    if wanted[reach : len(wanted) - reach].all():
        # One doc, as far as it can be seen: all that the next layer can see of it.
        return [place[w : len(wanted) - w - 2 * w * i] for i in range(depth)]
    needed = [wanted]
    for _ in range(depth - 1):
        near = needed[0].copy()
        for k in range(1, w + 1):
            near[k:] |= needed[0][:-k]
            near[:-k] |= needed[0][k:]
        needed.insert(0, near)
    centers = []
    for need in needed:
        centers.append(place[need])
        place = numpy.cumsum(need, dtype="i") - 1
    return centers


def _spans(
    centers: List[NDArray], w: int, first: int, last: int
) -> List[Tuple[int, int]]:
    """Output rows of each layer that rows first..last-1 of the last layer need."""
    spans = [(first, last)]
    for layer in reversed(centers[1:]):
        first, last = int(layer[first]) - w, int(layer[last - 1]) + w + 1
        spans.insert(0, (first, last))
    return spans


def _types_of_block(table: NDArray, rows: NDArray) -> Tuple[NDArray, NDArray]:
    """Pick the table rows that a block uses, zeros for -1: a table, and rows of it."""
    keys = rows.astype("uint64").reshape(-1, 1)
    first, index = ops.unique_rows(cast(Ints2d, keys))
    used = rows[first]
    out = table[used]
    out[used < 0] = 0
    return out, cast(NDArray, index)
