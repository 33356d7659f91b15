"""The rows of a table: full or quantised, mapped from files or in memory."""

from typing import ClassVar, Dict, Tuple, Type

import numpy
from numpy.typing import NDArray

from . import _lookup
from .views import DecodedArray

# Centroids of each part of a product-quantised row: a code is one byte.
N_CENTROIDS = 256


class Rows:
    """Base of the stores of V rows, O numbers each.

    A store gives float32, whatever it holds, and is not written to.

    arrays: What it holds, by the name of its file. names: These names.
    """

    dtype: ClassVar[str]
    names: ClassVar[Tuple[str, ...]] = ("rows",)
    arrays: Dict[str, NDArray]
    width: int

    def __init__(self, arrays: Dict[str, NDArray]) -> None:
        self.arrays = arrays
        self.check()
        self.arrays = {name: _read_only(array) for name, array in arrays.items()}

    @property
    def shape(self) -> Tuple[int, int]:
        """(V, O)."""
        return len(next(iter(self.arrays.values()))), self.width

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
        """Return an array (V, O) float32, or one that decodes what is asked for.

        It is not to be written to.
        """
        return DecodedArray.make(self)

    def check(self) -> None:
        """Raise ValueError unless the arrays fit together."""
        raise NotImplementedError

    def take(self, rows: NDArray) -> NDArray:
        """Return a copy of some rows: (N, O) float32.

        rows: (N,) int32 on the CPU, -1 to V - 1; row -1 is zeros.
        """
        out = numpy.empty((len(rows), self.width), dtype="f")
        self._take(numpy.ascontiguousarray(rows, dtype="i"), out)
        return out

    def _take(self, rows: NDArray, out: NDArray) -> None:
        raise NotImplementedError


class Float32Rows(Rows):
    """Rows as they are: 4 bytes a number."""

    dtype = "float32"

    def check(self) -> None:
        """Raise ValueError unless the arrays fit together."""
        _check(self.arrays, "rows", "float32", 2)
        self.width = self.arrays["rows"].shape[1]

    def as_array(self) -> NDArray:
        """Return the array itself."""
        return self.arrays["rows"]

    def _take(self, rows: NDArray, out: NDArray) -> None:
        _lookup.take_rows(self.arrays["rows"], rows, out)


class Float16Rows(Rows):
    """Rows rounded to half precision: 2 bytes a number."""

    dtype = "float16"

    def check(self) -> None:
        """Raise ValueError unless the arrays fit together."""
        _check(self.arrays, "rows", "float16", 2)
        self.width = self.arrays["rows"].shape[1]

    def _take(self, rows: NDArray, out: NDArray) -> None:
        bits = self.arrays["rows"].view("uint16")
        _lookup.take_half(bits, rows, out)


class Int8Rows(Rows):
    """Rows as whole numbers -127 to 127 times a scale of the row: 1 byte a number."""

    dtype = "int8"
    names = ("rows", "scales")

    def check(self) -> None:
        """Raise ValueError unless the arrays fit together."""
        _check(self.arrays, "rows", "int8", 2)
        _check(self.arrays, "scales", "float32", 1)
        if len(self.arrays["rows"]) != len(self.arrays["scales"]):
            raise ValueError("there is not one scale for each row")
        self.width = self.arrays["rows"].shape[1]

    def _take(self, rows: NDArray, out: NDArray) -> None:
        _lookup.take_int8(self.arrays["rows"], self.arrays["scales"], rows, out)


class ProductRows(Rows):
    """Rows cut into parts, each the nearest of 256 centroids: 1 byte a part.

    Product quantisation (Jegou, Douze and Schmid 2011, doi:10.1109/TPAMI.2010.57).
    """

    dtype = "pq"
    names = ("rows", "centroids")

    def check(self) -> None:
        """Raise ValueError unless the arrays fit together."""
        _check(self.arrays, "rows", "uint8", 2)
        _check(self.arrays, "centroids", "float32", 2)
        self.width = self.arrays["centroids"].shape[1]
        if len(self.arrays["centroids"]) != N_CENTROIDS:
            raise ValueError(f"there are not {N_CENTROIDS} centroids")
        if not 1 <= self.arrays["rows"].shape[1] <= self.width:
            raise ValueError("there are more parts than columns")

    @property
    def starts(self) -> NDArray:
        """Where the parts of a row begin and end: (P + 1,) int32."""
        return part_starts(self.width, self.arrays["rows"].shape[1])

    def _take(self, rows: NDArray, out: NDArray) -> None:
        _lookup.take_codes(
            self.arrays["rows"], self.arrays["centroids"], self.starts, rows, out
        )


STORES: Dict[str, Type[Rows]] = {
    store.dtype: store for store in (Float32Rows, Float16Rows, Int8Rows, ProductRows)
}


def part_starts(width: int, n_parts: int) -> NDArray:
    """Cut O columns into P parts as even as possible: (P + 1,) int32."""
    return (numpy.arange(n_parts + 1) * width // n_parts).astype("i")


def empty_rows() -> Rows:
    """Return a store of no rows."""
    return Float32Rows({"rows": numpy.zeros((0, 0), dtype="f")})


def _check(arrays: Dict[str, NDArray], name: str, dtype: str, ndim: int) -> None:
    if name not in arrays:
        raise ValueError(f"the array {name} is missing")
    array = arrays[name]
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(
            f"the array {name} is {array.dtype} with {array.ndim} dimensions, not "
            f"{dtype} with {ndim}"
        )


def _read_only(array: NDArray) -> NDArray:
    # A plain view: memmap objects are slow to pass around. It keeps the map alive.
    view = array.view(numpy.ndarray)
    view.flags.writeable = False
    return view
