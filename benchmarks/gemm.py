"""Matrix products of the fast backend against thinc's, by shape."""

from functools import partial

import numpy
from thinc.api import NumpyOps

from spacy_embedkit.backend import EmbedkitOps

from .timing import Row, Setting, compare

# Rows, and (outputs, inputs) of W: encoder, embed, tagger, parser, tiny ones.
N_ROWS = (1, 8, 100, 1000)
WEIGHTS = ((288, 288), (288, 480), (96, 50), (64, 96), (3, 3))


def run(setting: Setting) -> list[Row]:
    """Time X W' as layers compute it; figures are products a second."""
    random = numpy.random.default_rng(0)
    rows = []
    for n_rows in N_ROWS:
        for shape in WEIGHTS:
            X = random.normal(size=(n_rows, shape[1])).astype("f")
            W = random.normal(size=shape).astype("f")
            # About a tenth of a second, so that the clock's grain does not matter.
            n = max(1, int(2e8 / (2000 + n_rows * shape[0] * shape[1])))
            rows.append(
                compare(
                    f"({n_rows}, {shape[1]}) x ({shape[1]}, {shape[0]})",
                    n,
                    partial(multiply, NumpyOps(), X, W, n),
                    partial(multiply, EmbedkitOps(), X, W, n),
                    setting.repeats,
                )
            )
    return rows


def multiply(ops: NumpyOps, X: numpy.ndarray, W: numpy.ndarray, n: int) -> None:
    """Multiply n times."""
    for _ in range(n):
        ops.gemm(X, W, trans2=True)
