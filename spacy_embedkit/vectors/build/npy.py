"""Write an npy file row by row, without knowing their number beforehand."""

from pathlib import Path
from typing import Any, Tuple

import numpy
from numpy.lib import format as npy_format
from numpy.typing import NDArray

# The header, padded so that the number of rows can be filled in at the end.
HEADER_BYTES = 128


class NpyWriter:
    """Appends arrays to a file, which numpy.load reads after the `with` block.

    path: The file. dtype: Of the numbers. row_shape: Shape without the first axis.
    """

    def __init__(self, path: Path, dtype: Any, row_shape: Tuple[int, ...]) -> None:
        self.path = path
        self.n_rows = 0
        self._dtype = numpy.dtype(dtype)
        self._row_shape = tuple(row_shape)
        self._file = path.open("wb")
        self._file.write(bytes(HEADER_BYTES))

    def append(self, array: NDArray) -> None:
        """Write some rows: (n, *row_shape)."""
        self._file.write(numpy.ascontiguousarray(array, dtype=self._dtype).data)
        self.n_rows += len(array)

    def __enter__(self) -> "NpyWriter":
        return self

    def __exit__(self, error: object, *rest: object) -> None:
        try:
            if error is None:
                self._write_header()
        finally:
            self._file.close()

    def _write_header(self) -> None:
        header = {
            "descr": npy_format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.n_rows, *self._row_shape),
        }
        text = repr(header).encode("latin1")
        magic = npy_format.magic(1, 0)
        size = HEADER_BYTES - len(magic) - 2
        self._file.seek(0)
        self._file.write(magic + size.to_bytes(2, "little"))
        self._file.write(text.ljust(size - 1) + b"\n")
