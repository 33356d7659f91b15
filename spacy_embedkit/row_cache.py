"""What a layer remembers between batches, for as long as its weights stay the same.

Nothing here is part of a model: a copy, a pickle or a saved file of the model holds an
empty memory, and a forked process starts with one.
"""

import os
import threading
import weakref
from typing import (
    Any,
    Callable,
    Generic,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    cast,
)

import numpy
from numpy.typing import NDArray
from thinc.api import Model

from . import _ops

ValueT = TypeVar("ValueT")

# Words of each array that are looked at in each batch, see ParamWatch.
N_SAMPLES = 64


class ParamWatch:
    """Tells whether arrays have changed since they were last looked at.

    An array that was set anew (by from_bytes, from_disk, use_params or set_param) is
    another object. One that an optimizer changed in place is the same object with
    other numbers: a sample of them is compared each time, and all of them once the
    model has been trained in this process.
    """

    def __init__(self) -> None:
        self._arrays: List[NDArray] = []
        self._sums: List[int] = []
        self.is_trained = False

    def has_changed(self, arrays: Sequence[NDArray]) -> bool:
        """Compare with the arrays of the last call, and take these for the next."""
        sums = [_checksum(array, whole=self.is_trained) for array in arrays]
        same = (
            sums == self._sums
            and len(arrays) == len(self._arrays)
            and all(a is b for a, b in zip(arrays, self._arrays, strict=True))
        )
        self._arrays, self._sums = list(arrays), sums
        return not same


class Memory:
    """Base of the memories: a lock that a forked process gets anew, and no copies."""

    def __init__(self) -> None:
        self._watch = ParamWatch()
        self._lock = threading.Lock()
        _memories.add(self)

    def forget(self) -> None:
        """Drop everything, and compare all of the weights from now on.

        To be called when the model is trained.
        """
        with self._lock:
            self._drop()
            self._watch.is_trained = True

    def _drop(self) -> None:
        raise NotImplementedError

    def _restart(self) -> None:
        self._lock = threading.Lock()
        self._drop()


class CachedValue(Memory, Generic[ValueT]):
    """One value that was computed from the weights."""

    def __init__(self) -> None:
        super().__init__()
        self._value: Optional[ValueT] = None

    def __reduce__(self) -> Tuple[Any, ...]:
        return CachedValue, ()

    def get(self, arrays: Sequence[NDArray], compute: Callable[[], ValueT]) -> ValueT:
        """Return the value, computed anew if the arrays are others than before."""
        with self._lock:
            if self._watch.has_changed(arrays) or self._value is None:
                self._value = compute()
            return self._value

    def _drop(self) -> None:
        self._value = None


class RowCache(Memory):
    """Rows that an embedding layer computed for word types.

    It holds max_rows types at most, in two generations: when the recent one is full
    it becomes the previous one, and whatever is asked for of that moves on. So words
    that keep coming up stay.

    max_rows: Types that are remembered, 0 or more; 0 turns the memory off.
    """

    _recent: "Optional[_Generation]"
    _previous: "Optional[_Generation]"

    def __init__(self, max_rows: int) -> None:
        super().__init__()
        self.max_rows = max_rows
        self._drop()

    def __reduce__(self) -> Tuple[Any, ...]:
        return RowCache, (self.max_rows,)

    def __len__(self) -> int:
        return sum(len(part) for part in (self._recent, self._previous) if part)

    def find(
        self,
        keys: NDArray,
        arrays: Sequence[NDArray],
        compute: Callable[[NDArray], NDArray],
    ) -> NDArray:
        """Return the rows of the types: (U, nO).

        keys: (U, A) uint64, distinct rows.
        arrays: What the rows depend on, besides the keys.
        compute: Makes the rows of those types that are not remembered; it is given
            their positions in keys, (M,), in order.
        """
        with self._lock:
            if self._watch.has_changed(arrays):
                self._drop()
            found = _find(self._recent, keys)
            missing = numpy.flatnonzero(found < 0)
            if not len(missing) and self._recent is not None:
                return self._recent.rows[found]
            fresh = self._find_or_compute(keys[missing], missing, compute)
            if len(missing) == len(keys):
                self._add(keys, fresh)
                return fresh
            out = numpy.empty((len(keys), fresh.shape[1]), dtype=fresh.dtype)
            out[missing] = fresh
            if self._recent is not None:
                known = numpy.flatnonzero(found >= 0)
                out[known] = self._recent.rows[found[known]]
            self._add(keys[missing], fresh)
            return out

    def _find_or_compute(
        self,
        keys: NDArray,
        positions: NDArray,
        compute: Callable[[NDArray], NDArray],
    ) -> NDArray:
        found = _find(self._previous, keys)
        unknown = numpy.flatnonzero(found < 0)
        if self._previous is None or len(unknown) == len(keys):
            return compute(positions)
        out = self._previous.rows[found]
        if len(unknown):
            out[unknown] = compute(positions[unknown])
        return out

    def _add(self, keys: NDArray, rows: NDArray) -> None:
        # Half of the rows for each generation; with room for one there is one.
        capacity = min(self.max_rows, max(1, self.max_rows // 2))
        if len(keys) > capacity:
            keys, rows = keys[:capacity], rows[:capacity]
        if not len(keys):
            return
        if self._recent is None or len(self._recent) + len(keys) > capacity:
            self._previous = self._recent if self.max_rows > 1 else None
            self._recent = _Generation(capacity, keys, rows)
        self._recent.add(keys, rows)

    def _drop(self) -> None:
        self._recent = None
        self._previous = None


class _Generation:
    """A table of rows by key, which only grows."""

    def __init__(self, capacity: int, keys: NDArray, rows: NDArray) -> None:
        self._n = 0
        self._keys = numpy.empty((capacity, keys.shape[1]), dtype="uint64")
        self.rows = numpy.empty((capacity, rows.shape[1]), dtype=rows.dtype)
        size = 1 << max(3, (2 * capacity).bit_length())
        self._slots = numpy.full(size, -1, dtype="i")

    def __len__(self) -> int:
        return self._n

    def add(self, keys: NDArray, rows: NDArray) -> None:
        end = self._n + len(keys)
        self._keys[self._n : end] = keys
        self.rows[self._n : end] = rows
        _ops.add_rows(self._keys, self._n, end, self._slots)
        self._n = end

    def find(self, keys: NDArray) -> NDArray:
        out = numpy.empty(len(keys), dtype="i")
        if keys.shape[1] != self._keys.shape[1]:
            out.fill(-1)
        else:
            _ops.find_rows(numpy.ascontiguousarray(keys), self._keys, self._slots, out)
        return out


def params_of(model: Model) -> List[NDArray]:
    """Return every weight of a model and its layers."""
    return [
        cast(NDArray, node.get_param(name))
        for node in model.walk()
        for name in node.param_names
        if node.has_param(name)
    ]


def _find(generation: Optional[_Generation], keys: NDArray) -> NDArray:
    if generation is None:
        return numpy.full(len(keys), -1, dtype="i")
    return generation.find(keys)


def _checksum(array: NDArray, *, whole: bool) -> int:
    flat = numpy.ascontiguousarray(array).reshape(-1).view("uint32")
    return _ops.checksum(flat, 1 if whole else max(1, len(flat) // N_SAMPLES))


_memories: "weakref.WeakSet[Memory]" = weakref.WeakSet()


def _restart_all() -> None:
    for memory in _memories:
        memory._restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
