"""The nodes of spaCy's MaxoutWindowEncoder, run without waste on a CPU.

The stock layer puts zero rows between the docs, as many as a token can see, then runs
depth times: windows side by side (expand_window), maxout, layer norm, dropout, plus its
input (residual). The rows between the docs become non-zero after the first time, and
the tokens next to them read that, so they are part of what the weights have learned.

Its tree of nodes stays as it is. The forward here differs in four ways, none of which
changes a number by more than rounding. It skips those padding rows that no token will
read. The first layer multiplies the types of the batch rather than its tokens: a window
is the sum of one product for each place in it. Maxout, norm and residual run in one
pass over rows that are still in the CPU's cache. And prediction goes over the text in
chunks that fit there, see window_predict.py.
"""

from functools import partial
from typing import Callable, List, Tuple, cast

import numpy
from numpy.typing import NDArray
from thinc.api import Model
from thinc.types import Floats2d, FloatsXd

from .. import ops
from ..backend import multiply
from ..row_cache import CACHE
from . import _window
from .stock_nodes import stock
from .types import TokenRows, split
from .window_nodes import (
    WindowNodes,
    layer_weights,
    match_nodes,
    prediction_weights,
)
from .window_predict import find_centers, pad_docs, predict_tokens


def forward(
    model: Model[List[Floats2d], List[Floats2d]], X: List[Floats2d], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Encode the tokens of the docs: one (len(doc), nO) array each, in and out."""
    if is_train:
        model.attrs[CACHE].invalidate()
    layers = model.attrs[CACHE].tree(model).match(match_nodes)
    if layers is not None and isinstance(X, list) and not any(len(x) for x in X):
        # The stock layer raises here, in backprop at the latest.
        nO = layers[0].maxout.get_dim("nO")
        return _without_tokens(model, nO, X), partial(_without_tokens, model, nO)
    if layers is None or not _is_supported(model, layers, X):
        return stock.with_array(model, X, is_train)
    if is_train:
        return _train(layers, X)
    return _predict(model, layers, X), lambda dY: []


def predict_forward(
    model: Model[List[Floats2d], List[Floats2d]], X: List[Floats2d], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Predict as forward does, train as the stock layer does."""
    if is_train:
        model.attrs[CACHE].invalidate()
        return stock.with_array(model, X, is_train)
    return forward(model, X, is_train)


def _is_supported(model: Model, layers: List[WindowNodes], Xs: List[Floats2d]) -> bool:
    """Whether the input is what this module is made for: docs on a CPU."""
    if not ops.has_kernels(model.ops) or not isinstance(Xs, list):
        return False
    if model.attrs["pad"] < layers[0].window_size * len(layers):
        # Docs would see their neighbours.
        return False
    W = layers[0].maxout.get_param("W")
    if W.dtype not in ("float32", "float64"):
        return False
    return all(X.ndim == 2 and X.dtype == W.dtype for X in Xs)


def _without_tokens(model: Model, nO: int, docs: List[Floats2d]) -> List[Floats2d]:
    """Return the output, or the gradient, of docs without tokens: (0, nO) each."""
    return [model.ops.alloc2f(0, nO) for _ in docs]


def _predict(
    model: Model, layers: List[WindowNodes], Xs: List[Floats2d]
) -> List[Floats2d]:
    """Encode without keeping what a backward pass would need."""
    lengths = [len(X) for X in Xs]
    cache = model.attrs[CACHE]
    weights = cache.get(cache.tree(model).params(), lambda: prediction_weights(layers))
    if isinstance(Xs, TokenRows):
        table, inverse = cast(NDArray, Xs.table), cast(NDArray, Xs.inverse)
    else:
        table = _join(Xs)
        inverse = numpy.arange(len(table), dtype="i")
    Y = predict_tokens(weights, layers[0].window_size, table, inverse, lengths)
    return split(cast(Floats2d, Y), lengths)


def _train(
    layers: List[WindowNodes], Xs: List[Floats2d]
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[Floats2d]]]:
    """Encode, and keep what the backward pass needs."""
    lengths = [len(X) for X in Xs]
    w = layers[0].window_size
    flat = _join(Xs)
    rows = pad_docs(numpy.arange(len(flat), dtype="i"), lengths, w * len(layers))
    wanted = rows >= 0
    X = numpy.zeros((len(rows), flat.shape[1]), dtype=flat.dtype)
    X[wanted] = flat
    backprops = []
    centers = find_centers(wanted, w, len(layers))
    for nodes, places in zip(layers, centers, strict=True):
        X, backprop_layer = _train_layer(nodes, X, places)
        backprops.append(backprop_layer)

    def backprop(dYs: List[Floats2d]) -> List[Floats2d]:
        dY = _join(dYs)
        for backprop_layer in reversed(backprops):
            dY = backprop_layer(dY)
        return split(cast(Floats2d, dY[wanted]), lengths)

    return split(cast(Floats2d, X), lengths), backprop


def _train_layer(
    nodes: WindowNodes, X: NDArray, centers: NDArray
) -> Tuple[NDArray, Callable[[NDArray], NDArray]]:
    """Run one layer at the centers: (M, nO) to (N, nO)."""
    layer, w = layer_weights(nodes), nodes.window_size
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
