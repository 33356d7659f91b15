"""Rows in other shapes: on a GPU, and as an array that decodes what it is asked for."""

from typing import TYPE_CHECKING, Any, cast

import numpy
from numpy.typing import NDArray
from thinc.api import Ops, get_array_module

if TYPE_CHECKING:
    from .rows import Rows

# Rows decoded at a time on the way to a GPU.
BLOCK = 1 << 14


class DeviceRows:
    """Rows on a GPU: decoded once, then float32 there."""

    def __init__(self, rows: "Rows", ops: Ops) -> None:
        self.width = rows.width
        self._array: Any = ops.alloc2f(*rows.shape, zeros=False)
        for start in range(0, len(rows), BLOCK):
            block = rows.take(numpy.arange(start, min(start + BLOCK, len(rows))))
            on_device: Any = ops.asarray(cast(Any, block))
            self._array[start : start + BLOCK] = on_device

    def __len__(self) -> int:
        return len(self._array)

    def as_array(self) -> Any:
        """Return the array itself."""
        return self._array

    def take(self, rows: NDArray) -> Any:
        """Return a copy of some rows, see Rows.take, on the GPU."""
        xp = get_array_module(self._array)
        found = self._array[xp.asarray(rows)]
        found[xp.asarray(rows < 0)] = 0
        return found


class DecodedArray(numpy.ndarray):
    """Looks like an array of float32 (V, O), and decodes the rows it is indexed by.

    For code that expects the data of a table to be an array. It holds no numbers:
    what reads it in another way than by index or numpy function gets NaN.
    """

    store: "Rows"

    @classmethod
    def make(cls, store: "Rows") -> "DecodedArray":
        """Let a store be indexed as an array."""
        nothing = numpy.broadcast_to(numpy.float32("nan"), store.shape)
        array = nothing.view(cls)
        array.store = store
        return array

    def __getitem__(self, index: Any) -> Any:
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        positions = _positions(first, len(self))
        found: Any = self.store.take(positions.reshape(-1))
        found = found.reshape((*positions.shape, self.store.width))
        return found[(..., *rest)] if rest else found

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kw: Any) -> Any:
        return getattr(ufunc, method)(*map(_decoded, inputs), **kw)

    def __array_function__(
        self, function: Any, types: Any, args: Any, kwargs: Any
    ) -> Any:
        args = [_decoded(arg) for arg in args]
        return function(*args, **{k: _decoded(v) for k, v in kwargs.items()})

    def __reduce__(self) -> Any:
        return _decoded(self).__reduce__()


def _decoded(value: Any) -> Any:
    return value[:] if isinstance(value, DecodedArray) else value


def _positions(rows: Any, n_rows: int) -> NDArray:
    # What an index of the first axis of an array names, as row numbers from 0.
    if isinstance(rows, slice):
        return numpy.arange(*rows.indices(n_rows))
    rows = numpy.asarray(rows)
    if rows.dtype == bool:
        return numpy.flatnonzero(rows)
    # spaCy's IDs are uint64, and the largest stands for none: as int64 that is -1.
    rows = rows.astype("int64")
    rows = numpy.where(rows < 0, rows + n_rows, rows)
    if ((rows < 0) | (rows >= n_rows)).any():
        raise IndexError(f"rows: a row is not among the {n_rows} of the table")
    return rows
