"""Layers on a backend without kernels: the array code that a GPU runs."""

import numpy
import pytest
from numpy.testing import assert_allclose
from thinc.api import CupyOps, fix_random_seed
from thinc.compat import has_cupy_gpu

from .helpers.array_ops import ArrayOps
from .helpers.embeds import BUILDERS, gradients_of


@pytest.fixture(
    params=[
        pytest.param(ArrayOps, id="arrays"),
        pytest.param(
            CupyOps,
            id="gpu",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(
                    not has_cupy_gpu, reason="needs an NVIDIA GPU and cupy"
                ),
            ],
        ),
    ]
)
def backend(request):
    return request.param()


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_layer_equals_the_one_on_kernels(builder, backend, docs):
    fix_random_seed(0)
    model = BUILDERS[builder]().initialize(X=docs)
    other = model.copy()
    other._to_ops(backend)
    results = []
    for layer in (model, other):
        Y, backprop = layer(docs, is_train=True)
        random = numpy.random.default_rng(0)
        dY = [random.normal(size=y.shape).astype("f") for y in Y]
        backprop([layer.ops.asarray(dy) for dy in dY])
        results.append((Y, gradients_of(layer)))
    (Y, grads), (Y2, grads2) = results
    for y, y2 in zip(Y, Y2, strict=True):
        assert_allclose(backend.to_numpy(y2), y, atol=1e-5)
    assert grads.keys() == grads2.keys()
    for key, grad in grads.items():
        assert_allclose(backend.to_numpy(grads2[key]), grad, rtol=1e-4, atol=1e-5)
