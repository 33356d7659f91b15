"""The nodes of spaCy's MaxoutWindowEncoder, run without waste on a CPU.

The stock layer puts zero rows between the docs, as many as a token can see, then runs
depth times: windows side by side (expand_window), maxout, layer norm, dropout, plus its
input (residual). The rows between the docs become non-zero after the first time, and
the tokens next to them read that, so they are part of what the weights have learned.

Its tree of nodes stays as it is. The forward here differs in four ways, none of which
changes a number by more than rounding. It skips those padding rows that no token will
read. The first layer multiplies the types of the batch rather than its tokens: a window
is the sum of one product for each place in it. Maxout, norm and residual run in one
pass over rows that are still in the cache. And prediction goes over the text in
chunks that fit there.
"""

from typing import Callable, List, NamedTuple, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from thinc.api import Model, NumpyOps
from thinc.layers.chain import forward as chain_forward
from thinc.layers.with_array import forward as stock_forward
from thinc.types import Floats2d, FloatsXd, Ints2d

from .. import ops
from ..backend import multiply
from ..row_cache import params_of
from . import _window
from .types import TokenRows, split

# Positions that run through all layers before the next ones start, so that their rows
# stay in the cache. From 256 to 1024 the speed is the same within 3%.
CHUNK = 768
# Positions that share a table of first-layer products: at width 96 this takes 28 MB if
# no two are of one type, and 6 MB in a text. From 2048 to 16384 it matters as little.
BLOCK = 8192
# Attribute of a model that holds its weights in the order that the kernels read.
WEIGHTS = "weights"


class Nodes(NamedTuple):
    """The nodes of one layer that have weights or settings."""

    maxout: Model
    norm: Model
    dropout: Model


class Weights(NamedTuple):
    """Weights of one layer. A row has P pieces, and each piece nO values.

    W: ((2w + 1) * nO, P * nO), or for the first layer (nO, (2w + 1) * P * nO).
    bias: (P * nO,). G, b: (nO,), of the layer norm.
    """

    W: NDArray
    bias: NDArray
    G: NDArray
    b: NDArray


def find_layers(model: Model) -> List[Nodes]:
    """Pick the nodes out of the tree that spacy.MaxoutWindowEncoder builds."""
    layers = []
    for residual in _residuals(model):
        _, block = residual.layers[0].layers
        normalized, dropout = block.layers
        maxout, norm = normalized.layers
        layers.append(Nodes(maxout, norm, dropout))
    return layers


def window_size(model: Model) -> int:
    """Return how many neighbours a token sees on each side, in one layer."""
    expand = _residuals(model)[0].layers[0].layers[0]
    return expand.attrs["window_size"]


def forward(
    model: Model[List[Floats2d], List[Floats2d]], X: List[Floats2d], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Encode the tokens of the docs: one (len(doc), nO) array each, in and out."""
    if not _is_ours(model, X):
        return stock_forward(model, X, is_train)
    if is_train:
        model.attrs[WEIGHTS].forget()
        return _train(model, X)
    return predict(model, X), lambda dY: []


def predict_forward(
    model: Model[List[Floats2d], List[Floats2d]], X: List[Floats2d], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Predict as forward does, train as the stock layer does."""
    if is_train:
        model.attrs[WEIGHTS].forget()
        return stock_forward(model, X, is_train)
    return forward(model, X, is_train)


def predict(model: Model, Xs: List[Floats2d]) -> List[Floats2d]:
    """Encode without keeping what a backward pass would need."""
    lengths = [len(X) for X in Xs]
    weights = model.attrs[WEIGHTS].get(params_of(model), lambda: _weights(model))
    if isinstance(Xs, TokenRows):
        table, inverse = cast(NDArray, Xs.table), cast(NDArray, Xs.inverse)
    else:
        table = _join(Xs)
        inverse = numpy.arange(len(table), dtype="i")
    w = window_size(model)
    reach = w * len(weights)
    rows = _with_gaps(inverse, lengths, reach)
    Y = numpy.empty((sum(lengths), table.shape[1]), dtype=table.dtype)
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
    return split(cast(Floats2d, Y), lengths)


def _predict_block(
    weights: List[Weights],
    w: int,
    table: NDArray,
    rows: NDArray,
    wanted: NDArray,
    Y: NDArray,
) -> None:
    """Encode the wanted positions among those whose table rows are given, into Y."""
    width = table.shape[1]
    centers = _centers(wanted, w, len(weights))
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


def _train(
    model: Model, Xs: List[Floats2d]
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[Floats2d]]]:
    """Encode, and keep what the backward pass needs."""
    lengths = [len(X) for X in Xs]
    layers = find_layers(model)
    w = window_size(model)
    flat = _join(Xs)
    rows = _with_gaps(numpy.arange(len(flat), dtype="i"), lengths, w * len(layers))
    wanted = rows >= 0
    X = numpy.zeros((len(rows), flat.shape[1]), dtype=flat.dtype)
    X[wanted] = flat
    backprops = []
    for nodes, centers in zip(layers, _centers(wanted, w, len(layers)), strict=True):
        X, backprop_layer = _train_layer(model, nodes, X, centers, w)
        backprops.append(backprop_layer)

    def backprop(dYs: List[Floats2d]) -> List[Floats2d]:
        dY = _join(dYs)
        for backprop_layer in reversed(backprops):
            dY = backprop_layer(dY)
        return split(cast(Floats2d, dY[wanted]), lengths)

    return split(cast(Floats2d, X), lengths), backprop


def _train_layer(
    model: Model, nodes: Nodes, X: NDArray, centers: NDArray, w: int
) -> Tuple[NDArray, Callable[[NDArray], NDArray]]:
    """Run one layer at the centers: (M, nO) to (N, nO)."""
    layer = _layer_weights(nodes)
    n, width = len(centers), X.shape[1]
    windows = numpy.empty((n, (2 * w + 1) * width), dtype=X.dtype)
    _window.gather_windows(X, centers, w, windows)
    Z = multiply(windows, layer.W)
    normal = numpy.empty((n, width), dtype=X.dtype)
    scale = numpy.empty(n, dtype=X.dtype)
    which = numpy.empty((n, width), dtype="i")
    _window.maxout_norm_train(Z, layer.bias, normal, scale, which)
    Y, backprop_dropout = nodes.dropout(normal * layer.G + layer.b, True)
    n_inputs = len(X)

    def backprop(dY: NDArray) -> NDArray:
        dH = numpy.ascontiguousarray(backprop_dropout(dY), dtype=dY.dtype)
        dZ = numpy.empty_like(Z)
        dG, db, dbias = (
            numpy.zeros_like(param) for param in (layer.G, layer.b, layer.bias)
        )
        _window.backprop_maxout_norm(
            dH, normal, scale, which, layer.G, dZ, dG, db, dbias
        )
        dbias = dbias.reshape(-1, width)
        dW = multiply(dZ.T, windows).reshape(len(dbias), width, -1)
        _add_gradient(nodes.norm, "G", dG)
        _add_gradient(nodes.norm, "b", db)
        _add_gradient(nodes.maxout, "b", dbias.T)
        _add_gradient(nodes.maxout, "W", dW.transpose(1, 0, 2))
        dX = numpy.zeros((n_inputs, width), dtype=dY.dtype)
        dX[centers] = dY
        _window.scatter_windows(multiply(dZ, layer.W.T), centers, w, dX)
        return dX

    return Y + X[centers], backprop


def _add_gradient(node: Model, name: str, gradient: NDArray) -> None:
    node.inc_grad(name, cast(FloatsXd, numpy.ascontiguousarray(gradient)))


def _join(Xs: List[Floats2d]) -> NDArray:
    return numpy.concatenate(cast(List[NDArray], Xs))


def _is_ours(model: Model, Xs: List[Floats2d]) -> bool:
    """Whether the input is what this module is made for: docs on a CPU."""
    if not isinstance(model.ops, NumpyOps) or not isinstance(Xs, list):
        return False
    if model.attrs["pad"] < window_size(model) * len(_residuals(model)):
        # Docs would see their neighbours.
        return False
    W = find_layers(model)[0].maxout.get_param("W")
    if W.dtype not in ("float32", "float64") or not any(len(X) for X in Xs):
        return False
    return all(X.ndim == 2 and X.dtype == W.dtype for X in Xs)


def _weights(model: Model) -> List[Weights]:
    layers = [_layer_weights(nodes) for nodes in find_layers(model)]
    layers = [w._replace(W=numpy.ascontiguousarray(w.W)) for w in layers]
    # Places in the window become places in the output.
    W = layers[0].W
    width = len(layers[0].G)
    W = W.reshape(-1, width, W.shape[1]).transpose(1, 0, 2)
    layers[0] = layers[0]._replace(W=numpy.ascontiguousarray(W).reshape(width, -1))
    return layers


def _layer_weights(nodes: Nodes) -> Weights:
    W = cast(NDArray, nodes.maxout.get_param("W"))
    bias = cast(NDArray, nodes.maxout.get_param("b"))
    G, b = (cast(NDArray, nodes.norm.get_param(name)) for name in ("G", "b"))
    # By piece, then by output, instead of the other way round.
    W = numpy.ascontiguousarray(W.transpose(1, 0, 2)).reshape(-1, W.shape[2])
    return Weights(W.T, numpy.ascontiguousarray(bias.T).reshape(-1), G, b)


def _with_gaps(rows: NDArray, lengths: Sequence[int], gap: int) -> NDArray:
    """Put -1 before, between and behind the docs: (N,) to (N + gap * ...,) int32."""
    filled = [n for n in lengths if n]
    out = numpy.full(len(rows) + gap * (len(filled) + 1), -1, dtype="i")
    shifts = numpy.repeat(numpy.arange(1, len(filled) + 1) * gap, filled)
    out[numpy.arange(len(rows)) + shifts] = rows
    return out


def _centers(wanted: NDArray, w: int, depth: int) -> List[NDArray]:
    """Find what each layer has to compute so that the last gives what is wanted.

    wanted: (M,) bool, positions of the first layer's input.
    Returns for each layer (N,) int32: where its output rows lie in its input, which is
        the output of the layer before.
    """
    needed = [wanted]
    for _ in range(depth - 1):
        near = needed[0].copy()
        for k in range(1, w + 1):
            near[k:] |= needed[0][:-k]
            near[:-k] |= needed[0][k:]
        needed.insert(0, near)
    centers = []
    place = numpy.arange(len(wanted))
    for need in needed:
        centers.append(place[need].astype("i"))
        place = numpy.cumsum(need) - 1
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


def _residuals(model: Model) -> Sequence[Model]:
    # A clone of depth 1 is the layer itself.
    inner = model.layers[0]
    return inner.layers if inner._func is chain_forward else [inner]
