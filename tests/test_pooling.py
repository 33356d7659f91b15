"""Poolings against thinc's, differences and array code, with sequences of no rows."""

import numpy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from thinc import api
from thinc.api import NumpyOps, chain
from thinc.types import Ragged

from spacy_embedkit import ops
from spacy_embedkit.layers import pooling

from .helpers.array_ops import ArrayOps
from .helpers.gradients import assert_gradient
from .helpers.strategies import tables_and_rows

KINDS = ["sum", "mean", "max", "first", "last"]
NAMES = [*KINDS, "attention"]
CPU = NumpyOps()
FLOATS = st.sampled_from([-2.5, -1.0, 0.0, 1.0, 3.0])


def build(name):
    return getattr(pooling, f"build_reduce_{name}_v1")()


def with_query(model, width, dtype="f"):
    """The model with a query that prefers rows, where it has one."""
    if "Q" in model.param_names:
        model.set_dim("nO", width)
        model.set_param("Q", numpy.linspace(-1, 1, width).astype(dtype))
    return model


@st.composite
def ragged(draw, shortest=0):
    """Up to 6 sequences of rows with many equal values."""
    lengths = draw(
        arrays("int32", st.integers(0, 6), elements=st.integers(shortest, 5))
    )
    shape = (int(lengths.sum()), draw(st.integers(1, 5)))
    return Ragged(draw(arrays("float32", shape, elements=FLOATS)), lengths)


def ints(*values):
    return numpy.asarray(values, dtype="i")


def pooled(model, X, seed=0):
    """Output, the random gradient to it, and the gradient of the input."""
    Y, backprop = model(X, is_train=True)
    dY = numpy.random.default_rng(seed).normal(size=Y.shape).astype(Y.dtype)
    dX = backprop(model.ops.asarray(dY))
    assert_array_equal(dX.lengths, X.lengths)
    return Y, dY, dX.dataXd


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(X=ragged(shortest=1))
def test_equals_thinc_where_every_sequence_has_rows(kind, X):
    Y, _, dX = pooled(build(kind), X)
    expected, _, d_expected = pooled(getattr(api, f"reduce_{kind}")(), X)
    assert Y.dtype == dX.dtype == "float32"
    # thinc's Ragged forgets the width of no rows.
    assert_allclose(Y, expected.reshape(Y.shape), atol=1e-5)
    assert_allclose(dX, d_expected.reshape(dX.shape), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(X=ragged())
def test_no_rows_give_zeros_and_change_nothing_else(name, X):
    model = with_query(build(name), X.dataXd.shape[1])
    Y, dY, dX = pooled(model, X)
    filled = X.lengths > 0
    assert Y.shape == (len(X.lengths), X.dataXd.shape[1])
    assert dX.shape == X.dataXd.shape
    assert not Y[~filled].any()
    Y2, backprop = model(Ragged(X.dataXd, X.lengths[filled]), is_train=True)
    assert_allclose(Y[filled], Y2, atol=1e-6)
    assert_allclose(dX, backprop(dY[filled]).dataXd, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(X=ragged())
def test_equals_array_code(name, X):
    model = with_query(build(name), X.dataXd.shape[1])
    other = model.copy()
    other._to_ops(ArrayOps())
    for given_array, expected in zip(pooled(model, X), pooled(other, X), strict=True):
        assert_allclose(given_array, expected, rtol=1e-4, atol=1e-5)
    if name == "attention" and len(X.dataXd):
        assert_allclose(model.get_grad("Q"), other.get_grad("Q"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lengths", [(1,), (2, 0, 3), (0, 4, 1, 0)])
def test_gradient_matches_differences(name, lengths):
    # A layer with parameters before it, so that the gradient of the rows is seen.
    random = numpy.random.default_rng(0)
    X = Ragged(random.normal(size=(sum(lengths), 3)), ints(*lengths))
    rows = api.with_array(api.Linear(4, 3))
    model = chain(rows, build(name)).initialize(X=Ragged(X.data.astype("f"), X.lengths))
    # Weights of zeros would make all rows equal, where the maximum has a kink.
    rows.layers[0].set_param("W", random.normal(size=(4, 3)))
    if name == "attention":
        model.layers[1].set_param("Q", random.normal(size=4).astype("f"))
    assert_gradient(model, X)


def test_max_gradient_goes_to_the_first_largest_row():
    X = Ragged(numpy.asarray([[1, 5], [2, 5], [2, 0]], dtype="f"), ints(3))
    _, backprop = build("max")(X, is_train=True)
    dX = backprop(numpy.asarray([[10, 20]], dtype="f")).dataXd
    assert dX.tolist() == [[0, 20], [10, 0], [0, 0]]


def test_max_of_negative_rows_is_negative():
    X = Ragged(numpy.asarray([[-3], [-2]], dtype="f"), ints(0, 2))
    assert build("max").predict(X).tolist() == [[0], [-2]]


def test_attention_starts_from_the_mean_and_follows_the_query():
    X = Ragged(numpy.asarray([[1, 0], [0, 1], [4, 4]], dtype="f"), ints(2, 0, 1))
    model = build("attention").initialize(X=X)
    assert model.predict(X).tolist() == [[0.5, 0.5], [0, 0], [4, 4]]
    model.set_param("Q", numpy.asarray([1000, -1000], dtype="f"))
    assert_allclose(model.predict(X), [[1, 0], [0, 0], [4, 4]])


def test_attention_makes_its_query_when_it_first_sees_rows():
    # spacy-transformers does not initialise the pooling of a listener.
    model = build("attention")
    assert model.predict(Ragged(numpy.zeros((0, 0), dtype="f"), ints(0))).shape == (
        1,
        0,
    )
    X = Ragged(numpy.asarray([[1, 0], [0, 2]], dtype="f"), ints(2))
    _, backprop = model(X, is_train=True)
    backprop(numpy.ones((1, 2), dtype="f"))
    before = model.get_param("Q").copy()
    model.finish_update(api.Adam(0.1))
    assert (model.get_param("Q") != before).all()
    loaded = build("attention").from_bytes(model.to_bytes())
    assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_pool_rows_equals_pooling_of_the_gathered_rows(kind, dtype, data):
    table, index = data.draw(tables_and_rows(dtype))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(index)), max_size=5)))
    lengths = numpy.diff([0, *cuts, len(index)]).astype("i")
    table.flags.writeable = False
    Y, backprop = pooling.pool_rows(CPU, table, index, lengths, kind)
    assume(table.shape[1])
    expected, dY, d_gathered = pooled(build(kind), Ragged(table[index], lengths))
    d_table = numpy.zeros_like(table)
    numpy.add.at(d_table, index, d_gathered)
    assert Y.dtype == dtype
    assert_allclose(Y, expected, rtol=1e-5, atol=1e-3)
    assert_allclose(backprop(dY), d_table, rtol=1e-4, atol=1e-3)


ROWS = numpy.ones((2, 3), dtype="f")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (Ragged(ROWS[0], ints(3)), ValueError, "1d, of shape"),
        (Ragged(ROWS.astype("f2"), ints(2)), TypeError, "float16; give float32"),
        (Ragged(ROWS, ints(1)), ValueError, "lengths add up to 1"),
        (Ragged(ROWS, ints(3, -1)), ValueError, "smallest is -1"),
    ],
    ids=["1d", "float16", "too_short", "negative"],
)
def test_rows_that_do_not_fit_are_named(name, X, error, words):
    with pytest.raises(error, match=words):
        build(name).predict(X)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (3, 3)])
def test_gradient_of_another_shape_is_refused(name, shape):
    _, backprop = build(name)(Ragged(ROWS, ints(1, 1)), is_train=True)
    with pytest.raises(ValueError, match=r"the output was \(2, 3\)"):
        backprop(numpy.ones(shape, dtype="f"))


@pytest.mark.parametrize("kind", KINDS)
def test_pool_rows_names_a_row_outside_the_table(kind):
    with pytest.raises(IndexError, match=r"rows\[0\] is 2, .* has 2 rows"):
        pooling.pool_rows(CPU, ROWS, ints(2), ints(1), kind)


def test_attention_refuses_another_width():
    with pytest.raises(ValueError, match="nO is 0, but 1 or more"):
        pooling.build_reduce_attention_v1(nO=0)
    model = pooling.build_reduce_attention_v1(nO=2).initialize()
    with pytest.raises(ValueError, match="rows are 3 wide, but the query is 2"):
        model.predict(Ragged(ROWS, ints(2)))


@pytest.mark.parametrize("entry", [-2, 3])
def test_sources_outside_the_table_are_refused(entry):
    values = numpy.ones((1, 1), dtype="f")
    with pytest.raises(IndexError, match=r"give entries of -1 to 2"):
        ops.scatter_add_maxes(CPU, values, ints(entry).reshape(1, 1), 3)
