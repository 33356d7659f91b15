"""The global random generators: their states read, checked and set."""

import random
import struct
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

import numpy
from thinc.api import fix_random_seed
from thinc.compat import has_torch, has_torch_cuda_gpu, torch

from ...checks import one_line

RngState = Dict[str, Any]
# Words of the Mersenne Twister that Python and numpy have.
N_WORDS = 624
# What a state of torch starts with: seed, words left, whether seeded, position.
TORCH_COUNTERS = struct.Struct("<8xiiQ")
MAX_GPUS = 1024


def get_rng_state(*, with_torch: bool = True) -> RngState:
    """Return the states of the global random generators as types of msgpack.

    with_torch: Whether to include those of torch.
    """
    version, words, gauss = random.getstate()
    state: RngState = {
        "python": [version, *words, gauss],
        "numpy": list(numpy.random.get_state(legacy=True)),
    }
    if has_torch and with_torch:
        state["torch"] = torch.get_rng_state().numpy().copy()
        if has_torch_cuda_gpu and torch.cuda.is_initialized():
            state["cuda"] = [s.numpy() for s in torch.cuda.get_rng_state_all()]
    return state


def set_rng_state(state: RngState) -> None:
    """Set the global random generators to what get_rng_state returned."""
    version, *words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy.random.set_state(tuple(state["numpy"]))
    if has_torch and "torch" in state:
        torch.set_rng_state(torch.tensor(state["torch"]))
        if "cuda" in state:
            torch.cuda.set_rng_state_all([torch.tensor(s) for s in state["cuda"]])


@contextmanager
def fork_rng(seed: Optional[int] = None, *, with_torch: bool = True) -> Iterator[None]:
    """Restore the global random generators after the body.

    seed: Start the body's generators with this; they go on if it is left out.
    with_torch: Whether the generators of torch are restored too.
    """
    state = get_rng_state(with_torch=with_torch)
    if seed is not None:
        fix_random_seed(seed)
    try:
        yield
    finally:
        set_rng_state(state)


def check_rng_state(state: Any) -> RngState:
    """Return what get_rng_state may have returned; raise ValueError for anything else.

    numpy uses a state as it is: with a position beyond its end, it reads foreign
    memory; with nothing but zeros, drawing from a normal distribution never ends.
    """
    if not isinstance(state, dict):
        raise ValueError("is not a block")
    _check_python(state.get("python"))
    _check_numpy(state.get("numpy"))
    if "torch" in state:
        _check_torch(state["torch"])
    gpus = state.get("cuda", [])
    if not isinstance(gpus, list) or len(gpus) > MAX_GPUS:
        raise ValueError("cuda is not a list of states")
    for gpu in gpus:
        _check_bytes("cuda", gpu)
    return state


def _check_python(state: Any) -> None:
    if not isinstance(state, list) or len(state) != N_WORDS + 3 or state[0] != 3:
        raise ValueError("python is not a state of its generator")
    *words, position, gauss = state[1:]
    if not all(type(word) is int and 0 <= word < 2**32 for word in words):
        raise ValueError("python has words that are not of 32 bits")
    if not any(words):
        raise ValueError("python has nothing but zeros")
    if type(position) is not int or not 0 <= position <= N_WORDS:
        raise ValueError(f"python is at {position!r}, but 0 to {N_WORDS} is possible")
    _check_gauss("python", gauss)


def _check_numpy(state: Any) -> None:
    if not isinstance(state, list) or len(state) != 5 or state[0] != "MT19937":
        raise ValueError("numpy is not a state of MT19937")
    _, words, position, has_gauss, gauss = state
    if not isinstance(words, numpy.ndarray) or words.dtype != numpy.dtype("uint32"):
        raise ValueError("numpy has words that are not of 32 bits")
    if words.shape != (N_WORDS,) or not words.any():
        raise ValueError(f"numpy has {words.shape} words, or nothing but zeros")
    if type(position) is not int or not 0 <= position <= N_WORDS:
        raise ValueError(f"numpy is at {position!r}, but 0 to {N_WORDS} is possible")
    if type(has_gauss) is not int or has_gauss not in (0, 1) or gauss is None:
        raise ValueError("numpy is not a state of MT19937")
    _check_gauss("numpy", gauss)


def _check_torch(state: Any) -> None:
    _check_bytes("torch", state)
    if not has_torch:
        return
    if len(state) != len(torch.get_rng_state()):
        raise ValueError(f"torch has {len(state)} bytes")
    try:
        torch.Generator().set_state(torch.tensor(state))
    except RuntimeError as err:
        raise ValueError(f"torch: {one_line(err)[:80]}") from err
    # torch checks each of them, but not that the words it has left are there.
    n_left, _, position = TORCH_COUNTERS.unpack_from(state.tobytes())
    if n_left + position > N_WORDS:
        raise ValueError(f"torch is at {position} with {n_left} words left")


def _check_gauss(name: str, value: Any) -> None:
    if value is not None and not (isinstance(value, float) and abs(value) < 100):
        raise ValueError(f"{name} has {value!r} as its next normal number")


def _check_bytes(name: str, array: Any) -> None:
    if (
        not isinstance(array, numpy.ndarray)
        or array.dtype != "uint8"
        or array.ndim != 1
    ):
        raise ValueError(f"{name} is not an array of bytes")
