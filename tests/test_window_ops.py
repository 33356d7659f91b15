"""The window encoder's kernels against array code."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from spacy_embedkit import reference_ops
from spacy_embedkit.layers import _window


@st.composite
def windows(draw):
    """Rows of either dtype, a window size, and centers that have neighbours."""
    dtype = draw(st.sampled_from(["float32", "float64"]))
    w, width = draw(st.integers(1, 3)), draw(st.integers(1, 37))
    n_rows = 2 * w + draw(st.integers(1, 20))
    centers = draw(st.lists(st.integers(w, n_rows - w - 1), max_size=20))
    seed = draw(st.integers(0, 100))
    X = numpy.random.default_rng(seed).normal(size=(n_rows, width)).astype(dtype)
    return X, numpy.asarray(centers, dtype="i"), w


def tolerance(X):
    return 1e-5 if X.dtype == "float32" else 1e-12


@given(drawn=windows())
def test_gather_windows_equals_reference(drawn):
    X, centers, w = drawn
    X.flags.writeable = False
    out = numpy.empty((len(centers), (2 * w + 1) * X.shape[1]), dtype=X.dtype)
    _window.gather_windows(X, centers, w, out)
    assert_array_equal(out, reference_ops.gather_windows(X, centers, w))


@given(drawn=windows())
def test_scatter_windows_equals_reference(drawn):
    X, centers, w = drawn
    dY = reference_ops.gather_windows(X, centers, w)
    out = numpy.zeros_like(X)
    _window.scatter_windows(dY, centers, w, out)
    expected = reference_ops.scatter_windows(dY, centers, w, len(X))
    assert_allclose(out, expected, atol=20 * tolerance(X))


@given(drawn=windows(), n_types=st.integers(1, 5))
def test_sum_windows_equals_reference(drawn, n_types):
    X, centers, w = drawn
    random = numpy.random.default_rng(0)
    size = X.shape[1]
    products = random.normal(size=(n_types, (2 * w + 1) * size)).astype(X.dtype)
    rows = random.integers(0, n_types, len(X)).astype("i")
    out = numpy.empty((len(centers), size), dtype=X.dtype)
    _window.sum_windows(products, rows, centers, w, out)
    expected = reference_ops.sum_windows(products, rows, centers, w)
    assert_allclose(out, expected, atol=tolerance(X))


def layer(X, n_pieces):
    random = numpy.random.default_rng(1)
    n, width = X.shape
    Y = random.normal(size=(n, n_pieces * width)).astype(X.dtype)
    bias = random.normal(size=n_pieces * width).astype(X.dtype)
    G, b = random.normal(size=(2, width)).astype(X.dtype)
    return Y, bias, G, b


@given(drawn=windows(), n_pieces=st.integers(1, 4))
def test_maxout_norm_equals_reference(drawn, n_pieces):
    X, index, _ = drawn
    Y, bias, G, b = layer(X[index], n_pieces)
    normal = reference_ops.maxout_norm(Y, bias, X.shape[1])
    out = numpy.empty_like(X[index])
    _window.maxout_norm(Y.copy(), bias, G, b, X, index, out)
    scale = 1 + abs(normal).max(initial=0)
    assert_allclose(out, X[index] + normal * G + b, atol=scale * tolerance(X) * 10)


@given(drawn=windows(), n_pieces=st.integers(1, 4))
def test_training_finds_the_first_of_the_largest_pieces(drawn, n_pieces):
    X, index, _ = drawn
    Y, bias, _, _ = layer(X[index], n_pieces)
    # Ties: whole numbers, few of them.
    Y, bias = numpy.round(Y), numpy.round(bias)
    width = X.shape[1]
    normal, which = numpy.empty_like(X[index]), numpy.empty(X[index].shape, dtype="i")
    scale = numpy.empty(len(Y), dtype=X.dtype)
    _window.maxout_norm_train(Y, bias, normal, scale, which)
    pieces = (Y + bias).reshape(len(Y), n_pieces, width)
    assert_array_equal(which, pieces.argmax(axis=1))
    expected = reference_ops.maxout_norm(Y, bias, width)
    assert_allclose(normal, expected, atol=1e-3)
    deviation = numpy.sqrt(pieces.max(axis=1).var(axis=1) + 1e-8)
    assert_allclose(scale * deviation, 1, rtol=1e-3)


@pytest.mark.parametrize("n_pieces", [1, 2, 3])
def test_backprop_maxout_norm_equals_differences(n_pieces):
    random = numpy.random.default_rng(2)
    n, width = 4, 19
    Y, bias, G, b = layer(random.normal(size=(n, width)), n_pieces)
    weights = random.normal(size=(n, width))

    def loss(Y, bias, G, b):
        normal = reference_ops.maxout_norm(Y, bias, width)
        return ((normal * G + b) * weights).sum()

    normal, which = numpy.empty((n, width)), numpy.empty((n, width), dtype="i")
    scale = numpy.empty(n)
    _window.maxout_norm_train(Y, bias, normal, scale, which)
    gradients = [numpy.zeros_like(array) for array in (Y, G, b, bias)]
    _window.backprop_maxout_norm(weights, normal, scale, which, G, *gradients)
    dY, dG, db, dbias = gradients
    arrays = [Y, bias, G, b]
    for i, gradient in enumerate((dY, dbias, dG, db)):
        direction = random.normal(size=gradient.shape)
        sides = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[i] = moved[i] + sign * 1e-6 * direction
            sides.append(loss(*moved))
        expected = (sides[0] - sides[1]) / 2e-6
        assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-5)
