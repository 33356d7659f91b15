"""Comparison of backprop with differences."""

import numpy
from thinc.api import NumpyOps


def assert_gradient(model, X, *, eps=1e-6, tolerance=1e-4):
    """Check the gradient of every parameter along a random direction, in float64.

    The loss is a random weighting of the output, so d loss / d output is known.
    """
    random = numpy.random.default_rng(0)
    for node in model.walk():
        # blis takes float32 only.
        node.ops = NumpyOps(use_blis=False)
        for name in node.param_names:
            node.set_param(name, node.get_param(name).astype("d"))
    Y, backprop = model(X, is_train=True)
    weights = [random.normal(size=y.shape) for y in _arrays(Y)]
    backprop(weights if isinstance(Y, list) else weights[0])
    gradients = model.get_gradients()
    assert gradients, "backprop left no gradient"
    for node in model.walk():
        for name in node.grad_names:
            param, grad = gradients[(node.id, name)]
            direction = random.normal(size=param.shape)
            losses = []
            for sign in (1, -1):
                node.set_param(name, param + sign * eps * direction)
                losses.append(_loss(model, X, weights))
            node.set_param(name, param)
            expected = (losses[0] - losses[1]) / (2 * eps)
            given = float((grad * direction).sum())
            scale = max(1.0, abs(expected), abs(given))
            assert abs(expected - given) / scale < tolerance, (
                node.name,
                name,
                expected,
                given,
            )


def _arrays(Y):
    return Y if isinstance(Y, list) else [Y]


def _loss(model, X, weights):
    pairs = zip(_arrays(model.predict(X)), weights, strict=True)
    return sum(float((y * w).sum()) for y, w in pairs)
