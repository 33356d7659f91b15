"""Learned rows for character n-grams."""

from typing import Any, Callable, List, Optional, Tuple, cast

import numpy
from thinc.api import Model
from thinc.initializers import uniform_init
from thinc.types import Floats2d, Ints1d

from .. import ops
from .types import Types


def ngram_table(
    nO: int,
    nV: int,
    *,
    attr: int,
    min_n: int,
    max_n: int,
    n_hashes: int,
    boundaries: bool,
) -> Model[Types, Floats2d]:
    """Embed each type as the sum of the rows of its character n-grams.

    A type with P entries (n-grams times n_hashes) gets their sum over sqrt(P): that
    keeps the variance of a row the same for short and long words.

    nO (int): Width of an output row.
    nV (int): Rows of the table E, shape (nV, nO), shared by all n-grams.
    attr (int): ID of the string attribute whose n-grams are taken, such as NORM.
    min_n, max_n (int): Length of the n-grams in code points.
    n_hashes (int): Rows summed for each n-gram.
    boundaries (bool): Put < and > around the word first, so that n-grams at its
        edges differ from the same characters inside it.
    Shapes: T types -> (T, nO) float32.
    Source: ops.ngram_rows says how n-grams are hashed, and by whom.
    """
    return Model(
        "ngram_table",
        forward,
        init=init,
        dims={"nO": nO, "nV": nV},
        params={"E": None},
        attrs={
            "attr": attr,
            "min_n": min_n,
            "max_n": max_n,
            "n_hashes": n_hashes,
            "boundaries": boundaries,
        },
    )


def forward(
    model: Model[Types, Floats2d], types: Types, is_train: bool
) -> Tuple[Floats2d, Callable]:
    """Sum the n-gram rows of each type."""
    E = cast(Floats2d, model.get_param("E"))
    rows, lengths, scale = _find_rows(model, types)
    Y = ops.sum_rows(model.ops, E, rows, lengths) * scale

    def backprop(dY: Floats2d) -> List[Any]:
        dE = ops.scatter_add_sums(model.ops, dY * scale, rows, lengths, E.shape[0])
        model.inc_grad("E", dE)
        return []

    return Y, backprop


def init(
    model: Model[Types, Floats2d],
    X: Optional[Types] = None,
    Y: Optional[Floats2d] = None,
) -> None:
    """Draw the table as HashEmbed draws its own."""
    shape = (model.get_dim("nV"), model.get_dim("nO"))
    model.set_param("E", uniform_init(model.ops, shape))


def _find_rows(model: Model, types: Types) -> Tuple[Ints1d, Ints1d, Floats2d]:
    words = types.strings(model.attrs["attr"])
    if model.attrs["boundaries"]:
        words = [f"<{word}>" for word in words]
    rows, lengths = ops.ngram_rows(
        words,
        model.attrs["min_n"],
        model.attrs["max_n"],
        model.attrs["n_hashes"],
        model.get_dim("nV"),
    )
    scale = 1.0 / numpy.sqrt(numpy.asarray(lengths, dtype="f"))
    return (
        model.ops.asarray1i(rows),
        model.ops.asarray1i(lengths),
        model.ops.asarray2f(scale.reshape(-1, 1)),
    )
