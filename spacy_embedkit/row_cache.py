"""Caches of what layers compute in prediction, valid while the weights stay the same.

Nothing here is part of a model: a copy, a pickle or a saved file of the model holds an
empty cache, and a forked process starts with one.
"""

import os
import threading
import weakref
from typing import (
    Any,
    Callable,
    Generic,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import numpy
from numpy.typing import NDArray
from thinc.api import Model

from . import ops
from .param_watch import ModelTree, ParamWatch

ValueT = TypeVar("ValueT")

# Attribute of a model that holds its cache. thinc leaves it out of saved models.
CACHE = "cache"


class _Cache:
    """Base of the caches, with a lock that is made anew in a forked process."""

    def __init__(self) -> None:
        self._watch = ParamWatch()
        self._tree: Optional[ModelTree] = None
        self._lock = threading.Lock()
        _caches.add(self)

    def tree(self, model: Model) -> ModelTree:
        """Return the nodes of the model whose values are cached here."""
        tree = self._tree
        if tree is None or not tree.is_current(model):
            tree = self._tree = ModelTree(model)
        return tree

    def invalidate(self) -> None:
        """Clear the cache, and compare all of the weights from now on.

        To be called when the model is trained.
        """
        with self._lock:
            self._watch.is_trained = True
            self._clear()

    def _clear(self) -> None:
        raise NotImplementedError

    def _restart(self) -> None:
        self._lock = threading.Lock()
        self._clear()


class CachedValue(_Cache, Generic[ValueT]):
    """One value computed from the weights."""

    def __init__(self) -> None:
        super().__init__()
        self._value: Optional[ValueT] = None

    def __reduce__(self) -> Tuple[Any, ...]:
        return CachedValue, ()

    def get(self, arrays: Sequence[NDArray], compute: Callable[[], ValueT]) -> ValueT:
        """Return the value, computed again if the arrays have changed."""
        with self._lock:
            self._watch.refresh(arrays, self._clear)
            if self._value is None:
                self._value = compute()
            return self._value

    def _clear(self) -> None:
        self._value = None


class RowCache(_Cache):
    """Rows computed for distinct keys, such as word types.

    It holds max_rows rows in two generations: when the recent one is full it becomes
    the previous one, and rows of that one are added again when they are asked for. So
    words that keep coming up stay.

    max_rows: Rows that are kept, 0 or more; 0 turns the cache off.
    """

    _recent: "Optional[_Generation]"
    _previous: "Optional[_Generation]"

    def __init__(self, max_rows: int) -> None:
        super().__init__()
        self.max_rows = max_rows
        self._clear()

    def __reduce__(self) -> Tuple[Any, ...]:
        return RowCache, (self.max_rows,)

    def __len__(self) -> int:
        return sum(len(part) for part in (self._recent, self._previous) if part)

    def get(
        self,
        keys: NDArray,
        arrays: Sequence[NDArray],
        compute: Callable[[NDArray], NDArray],
    ) -> NDArray:
        """Return the rows of the keys: (U, nO).

        keys: (U, A) uint64, distinct rows. Another A than before clears the cache.
        arrays: What the rows depend on, besides the keys.
        compute: Makes the rows of the keys that are missing; it is given their
            positions in keys, (M,), in order.
        """
        with self._lock:
            self._watch.refresh(arrays, self._clear)
            if self._recent is not None and self._recent.n_columns != keys.shape[1]:
                # As after a change to vectors that are keyed by another attribute.
                self._clear()
            found = _find(self._recent, keys)
            absent = numpy.flatnonzero(found < 0)
            if not len(absent) and self._recent is not None:
                return self._recent.rows[found]
            again = _find(self._previous, keys[absent])
            recent, previous, epoch = self._recent, self._previous, self._epoch
        # Others may look rows up meanwhile; rows that are there never change.
        missing = absent[again < 0]
        if recent is None or len(missing) == len(keys):
            out = compute(missing)
        else:
            out = numpy.empty((len(keys), recent.rows.shape[1]), recent.rows.dtype)
            known = numpy.flatnonzero(found >= 0)
            out[known] = recent.rows[found[known]]
            if previous is not None:
                out[absent] = previous.rows[again]
            if len(missing):
                out[missing] = compute(missing)
        with self._lock:
            if self._epoch is epoch:
                self._add(keys[absent], out[absent])
        return out

    def _add(self, keys: NDArray, rows: NDArray) -> None:
        if self._recent is not None:
            # Another thread may have added some.
            absent = _find(self._recent, keys) < 0
            keys, rows = keys[absent], rows[absent]
        # Half of the rows for each generation; with room for one there is one.
        capacity = min(self.max_rows, max(1, self.max_rows // 2))
        keys, rows = keys[:capacity], rows[:capacity]
        if not len(keys):
            return
        if self._recent is None or len(self._recent) + len(keys) > capacity:
            fresh = _Generation(capacity, keys, rows)
            self._previous = self._recent if self.max_rows > 1 else None
            self._recent = fresh
        self._recent.add(keys, rows)

    def _clear(self) -> None:
        self._recent = None
        self._previous = None
        # What was computed before it is not for those who come after.
        self._epoch = object()


class _Generation:
    """A table of rows by key, which only grows."""

    def __init__(self, capacity: int, keys: NDArray, rows: NDArray) -> None:
        self._n = 0
        self.n_columns = keys.shape[1]
        self._keys = numpy.empty((capacity, keys.shape[1]), dtype="uint64")
        self.rows = numpy.empty((capacity, rows.shape[1]), dtype=rows.dtype)
        self._slots = ops.empty_slots(capacity)

    def __len__(self) -> int:
        return self._n

    def add(self, keys: NDArray, rows: NDArray) -> None:
        end = self._n + len(keys)
        self._keys[self._n : end] = keys
        self.rows[self._n : end] = rows
        begin, self._n = self._n, end
        ops.add_rows(self._keys, begin, end, self._slots)

    def find(self, keys: NDArray) -> NDArray:
        return ops.find_rows(keys, self._keys, self._slots)


def _find(generation: Optional[_Generation], keys: NDArray) -> NDArray:
    if generation is None:
        return numpy.full(len(keys), -1, dtype="i")
    return generation.find(keys)


_caches: "weakref.WeakSet[_Cache]" = weakref.WeakSet()


def _restart_all() -> None:
    for cache in _caches:
        cache._restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
