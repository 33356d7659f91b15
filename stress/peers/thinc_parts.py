"""Our backend and reductions in place of thinc's."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import thinc.api
import thinc.backends
from thinc.api import NumpyOps

from spacy_embedkit.backend import EmbedkitOps, use_fast_ops
from spacy_embedkit.layers import pooling

from .notes import note, note_calls, noting, replace_everywhere

REDUCTIONS = [f"reduce_{kind}" for kind in ("first", "last", "max", "mean", "sum")]


def put_in_place(variant: str) -> Callable[[], Any]:
    """Put the parts of a variant in place; return what to call before each test."""
    for name in REDUCTIONS:
        stock = getattr(thinc.api, name)
        if variant in ("layers", "all"):
            ours = noting(f"our {name}", getattr(pooling, f"build_{name}_v1"), stock)
            replace_everywhere(stock, ours)
        else:
            replace_everywhere(stock, noting(name, stock))
    note_calls(pooling, "pool_rows", "pool_rows ran")
    note_backends()
    return replace_backend() if variant in ("backend", "all") else lambda: None


def replace_backend() -> Callable[[], Any]:
    """Make EmbedkitOps the backend for the CPU."""
    get_ops = thinc.api.get_ops

    @wraps(get_ops)
    def get_ops_or_ours(name: str, **settings: Any) -> Any:
        if name in ("cpu", "numpy"):
            return EmbedkitOps(**settings)
        return get_ops(name, **settings)

    replace_everywhere(get_ops, get_ops_or_ours)
    for module in (thinc.api, thinc.backends):
        # Only what tests import and thinc makes; the checks of thinc's types stay.
        vars(module)["NumpyOps"] = EmbedkitOps
    return use_fast_ops


def note_backends() -> None:
    """Note which backend multiplies."""
    gemm = NumpyOps.gemm

    @wraps(gemm)
    def gemm_and_note(self: NumpyOps, *args: Any, **settings: Any) -> Any:
        note("NumpyOps")
        return gemm(self, *args, **settings)

    type.__setattr__(NumpyOps, "gemm", gemm_and_note)
    for method in ("gemm", "cblas"):
        note_calls(EmbedkitOps, method, "EmbedkitOps")
