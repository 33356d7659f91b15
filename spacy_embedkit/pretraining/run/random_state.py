"""Random states: to go on with, and to set aside for a while."""

import random
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

import numpy
from thinc.api import Ops

States = Dict[str, Any]


def make_states(seed: int) -> States:
    """Return states of Python's and numpy's generators that begin with a seed."""
    kind, key, *rest = numpy.random.RandomState(seed % 2**32).get_state(legacy=True)
    return {
        "python": _flat(random.Random(seed).getstate()),
        "numpy": [kind, key, *rest],
    }


def take_states(*, libraries: bool = True) -> States:
    """Return the global states: of Python, numpy and, if it is in use, torch.

    libraries: Whether to look at torch at all.
    """
    states = {
        "python": _flat(random.getstate()),
        "numpy": list(numpy.random.get_state(legacy=True)),
    }
    torch = sys.modules.get("torch") if libraries else None
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().copy()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            states["cuda"] = [s.numpy() for s in torch.cuda.get_rng_state_all()]
    return states


def put_states(states: States) -> None:
    """Set the global states to what take_states returned."""
    version, *words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    numpy.random.set_state(tuple(states["numpy"]))
    torch = sys.modules.get("torch")
    if torch is not None and "torch" in states:
        torch.set_rng_state(torch.tensor(states["torch"]))
        if "cuda" in states:
            torch.cuda.set_rng_state_all([torch.tensor(s) for s in states["cuda"]])


def seed_device(ops: Ops, number: int) -> None:
    """Seed the generator of a GPU, whose state can't be read, before an update.

    number: Of the update, with the seed of the run; 0 or more.
    """
    if ops.device_type == "gpu":
        ops.xp.random.seed(number % 2**32)


@contextmanager
def set_aside(seed: Optional[int] = None) -> Iterator[None]:
    """Let the body draw what it wants: the global states are afterwards as before.

    seed: What the body's states begin with; they go on if it is left out.
    """
    before = take_states()
    if seed is not None:
        put_states(make_states(seed))
    try:
        yield
    finally:
        put_states(before)


def _flat(state: Any) -> Any:
    version, words, gauss = state
    return [version, *words, gauss]
