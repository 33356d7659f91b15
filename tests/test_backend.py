"""The fast backend: the numbers of thinc's own, and which backends it replaces."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import cython_blas
from thinc.api import NumpyOps, Ops, get_current_ops, get_ops, set_current_ops, use_ops

from spacy_embedkit import _blas
from spacy_embedkit.backend import EmbedkitOps, use_fast_ops

sizes = st.integers(0, 40)


@pytest.fixture(autouse=True)
def numpy_backend():
    with use_ops("numpy"):
        yield


@given(
    m=sizes,
    n=sizes,
    k=sizes,
    trans1=st.booleans(),
    trans2=st.booleans(),
    out=st.booleans(),
)
def test_gemm_equals_thinc(m, n, k, trans1, trans2, out):
    random = numpy.random.default_rng(0)
    x = random.normal(size=(k, m) if trans1 else (m, k)).astype("f")
    y = random.normal(size=(n, k) if trans2 else (k, n)).astype("f")
    target = numpy.full((m, n), numpy.nan, dtype="f") if out else None
    x.flags.writeable = y.flags.writeable = False
    Y = EmbedkitOps().gemm(x, y, out=target, trans1=trans1, trans2=trans2)
    assert target is None or Y is target
    assert Y.dtype == "float32"
    expected = (x.T if trans1 else x) @ (y.T if trans2 else y)
    assert_allclose(Y, expected, atol=1e-4)
    if m and n and k:
        stock = NumpyOps().gemm(x, y, trans1=trans1, trans2=trans2)
        assert_allclose(Y, stock, atol=1e-4)


@pytest.mark.parametrize("trans1", [False, True])
@pytest.mark.parametrize("trans2", [False, True])
@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [
        # Thin ones, which are multiplied in blocks: rows, terms, both, odd remainders.
        (2, 700, 1500),
        (33, 701, 97),
        (64, 300, 1203),
        (65, 300, 1203),
        (500, 1, 4001),
        (700, 13, 1501),
        (3, 3, 300_001),
        (1, 1_000_003, 2),
    ],
)
def test_gemm_of_thin_matrices(m, k, n, trans1, trans2, out):
    random = numpy.random.default_rng(0)
    x = random.normal(size=(k, m) if trans1 else (m, k)).astype("f")
    y = random.normal(size=(n, k) if trans2 else (k, n)).astype("f")
    target = numpy.full((m, n), numpy.nan, dtype="f") if out else None
    Y = EmbedkitOps().gemm(x, y, out=target, trans1=trans1, trans2=trans2)
    assert target is None or Y is target
    assert Y.flags.c_contiguous
    expected = (x.T if trans1 else x) @ (y.T if trans2 else y)
    assert_allclose(Y, expected, rtol=1e-4, atol=1e-3 * k**0.5)


def test_dropout_mask_has_the_rate_and_the_scale():
    numpy.random.seed(0)
    mask = EmbedkitOps().get_dropout_mask((400, 500), 0.2)
    assert mask.shape == (400, 500)
    assert mask.dtype == "float32"
    assert set(numpy.unique(mask)) == {0.0, numpy.float32(1.25)}
    assert abs((mask == 0).mean() - 0.2) < 0.005
    # Masks follow from the seed, and differ from each other.
    assert not numpy.array_equal(EmbedkitOps().get_dropout_mask((400, 500), 0.2), mask)
    numpy.random.seed(0)
    assert numpy.array_equal(EmbedkitOps().get_dropout_mask((400, 500), 0.2), mask)


@pytest.mark.parametrize(("rate", "value"), [(None, 1), (0.0, 1), (1.0, 0)])
def test_dropout_mask_at_the_ends(rate, value):
    mask = EmbedkitOps().get_dropout_mask((2, 3), rate)
    assert (mask == value).all()


def test_gemm_writes_into_strided_output():
    target = numpy.zeros((2, 4), dtype="f")
    EmbedkitOps().gemm(
        numpy.eye(2, dtype="f"), numpy.ones((2, 2), "f"), out=target[:, ::2]
    )
    assert target.tolist() == [[1, 0, 1, 0], [1, 0, 1, 0]]


def test_gemm_of_vectors_is_named():
    with pytest.raises(
        ValueError, match="1 and 2 dimensions were given, but both need 2"
    ):
        EmbedkitOps().gemm(numpy.ones(2, "f"), numpy.ones((2, 2), "f"))


def test_backend_is_found_by_name():
    assert type(get_ops("embedkit")) is EmbedkitOps
    assert type(get_ops("cpu")) is not EmbedkitOps


def test_use_fast_ops_replaces_the_backend():
    assert use_fast_ops()
    assert use_fast_ops()
    assert type(get_current_ops()) is EmbedkitOps


def test_use_fast_ops_leaves_other_backends():
    class OtherOps(NumpyOps):
        name = "other"

    for other in (OtherOps(), Ops()):
        set_current_ops(other)
        assert not use_fast_ops()
        assert get_current_ops() is other


def test_blas_of_another_signature_is_refused():
    capi = dict(cython_blas.__pyx_capi__)
    capi["sgemm"] = capi["saxpy"]
    with pytest.raises(ImportError, match="sgemm takes 6 arguments, but 13 were"):
        _blas.load(capi)
