"""The rows of a table, full or quantised: in mapped files, in memory or on a GPU."""

from typing import Any, ClassVar, Dict, Tuple, Type, cast

import numpy
from numpy.typing import NDArray
from thinc.api import Ops, get_array_module

from . import _lookup
from .file_arrays import check_layout

# Centroids of each part of a product-quantised row: a code is one byte.
N_CENTROIDS = 256
# Rows decoded at a time on the way to a GPU.
BLOCK = 1 << 14


class Rows:
    """Base of the stores of V rows, O numbers each.

    A store gives float32, whatever it holds, and is read-only.

    arrays: What it holds, by the name of its file.
    layout: dtype and number of dimensions of each array.
    """

    dtype: ClassVar[str]
    layout: ClassVar[Dict[str, Tuple[str, int]]]
    arrays: Dict[str, NDArray]
    width: int

    def __init__(self, arrays: Dict[str, NDArray]) -> None:
        for name, (dtype, ndim) in self.layout.items():
            if name not in arrays:
                raise ValueError(f"the array {name} is missing")
            check_layout(name, arrays[name], dtype, ndim)
        self.arrays = {name: _read_only(array) for name, array in arrays.items()}
        self.width = self._check_width()

    @property
    def shape(self) -> Tuple[int, int]:
        """(V, O)."""
        return len(self.arrays["rows"]), self.width

    @property
    def size(self) -> int:
        """V times O."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take, in memory or in files."""
        return sum(array.nbytes for array in self.arrays.values())

    def __len__(self) -> int:
        return self.shape[0]

    def as_array(self) -> NDArray:
        """Return a read-only array (V, O) float32, or one that decodes when indexed."""
        return DecodedArray.make(self)

    def take(self, rows: NDArray) -> NDArray:
        """Return a copy of some rows: (N, O) float32.

        rows: (N,) int32 on the CPU, -1 to V - 1; row -1 is zeros.
        Raises: IndexError naming a row number that is outside of the table.
        """
        out = numpy.empty((len(rows), self.width), dtype="f")
        bad = self._take(numpy.ascontiguousarray(rows, dtype="i"), out)
        if bad >= 0:
            raise IndexError(
                f"rows: row {rows[bad]} is outside of the table of {len(self)} rows"
            )
        return out

    def _check_width(self) -> int:
        # Returns O; ValueError if the arrays do not fit together.
        return self.arrays["rows"].shape[1]

    def _take(self, rows: NDArray, out: NDArray) -> int:
        # Returns the position of a row number that is outside of the table, or -1.
        raise NotImplementedError


class Float32Rows(Rows):
    """Rows in full precision: 4 bytes per number."""

    dtype = "float32"
    layout: ClassVar = {"rows": ("float32", 2)}

    def as_array(self) -> NDArray:
        """Return the array itself."""
        return self.arrays["rows"]

    def _take(self, rows: NDArray, out: NDArray) -> int:
        return _lookup.take_rows(self.arrays["rows"], rows, out)


class Float16Rows(Rows):
    """Rows rounded to half precision: 2 bytes per number."""

    dtype = "float16"
    layout: ClassVar = {"rows": ("float16", 2)}

    def _take(self, rows: NDArray, out: NDArray) -> int:
        return _lookup.take_half(self.arrays["rows"].view("uint16"), rows, out)


class Int8Rows(Rows):
    """Rows as integers -127 to 127 times a scale per row: 1 byte per number."""

    dtype = "int8"
    layout: ClassVar = {"rows": ("int8", 2), "scales": ("float32", 1)}

    def _check_width(self) -> int:
        if len(self.arrays["rows"]) != len(self.arrays["scales"]):
            raise ValueError("there is not one scale for each row")
        return self.arrays["rows"].shape[1]

    def _take(self, rows: NDArray, out: NDArray) -> int:
        return _lookup.take_int8(self.arrays["rows"], self.arrays["scales"], rows, out)


class ProductRows(Rows):
    """Rows cut into parts, each the nearest of 256 centroids: 1 byte per part.

    Product quantisation (Jegou, Douze and Schmid 2011, doi:10.1109/TPAMI.2010.57).
    """

    dtype = "pq"
    layout: ClassVar = {"rows": ("uint8", 2), "centroids": ("float32", 2)}

    def _check_width(self) -> int:
        n_centroids, width = self.arrays["centroids"].shape
        if n_centroids != N_CENTROIDS:
            raise ValueError(f"there are not {N_CENTROIDS} centroids")
        if not 1 <= self.arrays["rows"].shape[1] <= width:
            raise ValueError("there are more parts than columns")
        return width

    def _take(self, rows: NDArray, out: NDArray) -> int:
        codes, centroids = self.arrays["rows"], self.arrays["centroids"]
        starts = part_starts(self.width, codes.shape[1])
        return _lookup.take_codes(codes, centroids, starts, rows, out)


STORES: Dict[str, Type[Rows]] = {
    store.dtype: store for store in (Float32Rows, Float16Rows, Int8Rows, ProductRows)
}


def part_starts(width: int, n_parts: int) -> NDArray:
    """Cut O columns into P parts of nearly equal size: (P + 1,) int32."""
    return (numpy.arange(n_parts + 1) * width // n_parts).astype("i")


def empty_rows() -> Rows:
    """Return a store of no rows."""
    return Float32Rows({"rows": numpy.zeros((0, 0), dtype="f")})


class DeviceRows:
    """Rows on a GPU: decoded once, then float32 there."""

    def __init__(self, rows: Rows, ops: Ops) -> None:
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
        """Return a copy of some rows on the GPU, see Rows.take."""
        xp = get_array_module(self._array)
        found = self._array[xp.asarray(rows)]
        found[xp.asarray(rows < 0)] = 0
        return found


class DecodedArray(numpy.ndarray):
    """Looks like an array of float32 (V, O), and decodes the rows it is indexed by.

    For code that expects the data of a table to be an array. It holds no numbers:
    code that reads it other than by index or numpy function gets NaN.
    """

    store: Rows

    @classmethod
    def make(cls, store: Rows) -> "DecodedArray":
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
    # Turns an index of the first axis into row numbers from 0.
    if isinstance(rows, slice):
        return numpy.arange(*rows.indices(n_rows))
    rows = numpy.asarray(rows)
    if rows.dtype == bool:
        return numpy.flatnonzero(rows)
    # spaCy's IDs are uint64, and the largest one means none: as int64 that is -1.
    rows = rows.astype("int64")
    rows = numpy.where(rows < 0, rows + n_rows, rows)
    if ((rows < 0) | (rows >= n_rows)).any():
        raise IndexError(f"rows: a row number is outside of the table of {n_rows} rows")
    return rows


def _read_only(array: NDArray) -> NDArray:
    # A plain view: memmap objects are slow to pass around. It keeps the map alive.
    view = array.view(numpy.ndarray)
    view.flags.writeable = False
    return view
