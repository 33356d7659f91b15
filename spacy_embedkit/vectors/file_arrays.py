"""Arrays in files: their position is checked against the file's size, then mapped."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Tuple

import numpy
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ..checks import InputError, one_line

# Numpy's own limit is 10,000 bytes; sizes beyond the other are not in any file.
MAX_HEADER, MAX_SIZE = 1 << 16, 1 << 60


def cut_off(label: str, byte: int, found: str) -> InputError:
    """Return the error for a file that ends earlier than its header states."""
    return InputError(
        f"{label}: byte {byte}: {found}; the file is cut off; download it again"
    )


def damaged(label: str, byte: int, found: str) -> InputError:
    """Return the error for bytes that are not valid in the format."""
    return InputError(
        f"{label}: byte {byte}: {found}; the file is damaged; download it again"
    )


@dataclass(frozen=True)
class FileArray:
    """Where an array lies in a file.

    offset: Its first byte. by_columns: Whether the first index runs fastest.
    bfloat16: Whether the numbers, read as uint16, are upper halves of float32.
    """

    dtype: numpy.dtype
    shape: Tuple[int, ...]
    offset: int
    by_columns: bool = False
    bfloat16: bool = False

    @property
    def end(self) -> int:
        """The byte after the last one."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_table(self) -> bool:
        """Whether it has rows of numbers, at least one number in all."""
        return len(self.shape) == 2 and self.end > self.offset and self.is_numeric

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers that convert to float32."""
        return self.dtype.kind in "fiu" and self.dtype.itemsize <= 8

    def describe(self) -> str:
        """Return its shape and type, for messages."""
        shape = " x ".join(map(str, self.shape)) or "1"
        return f"{shape} {'bfloat16' if self.bfloat16 else self.dtype}"

    def check_end(self, label: str, size: int) -> None:
        """Raise InputError if a file of this size ends before the array does."""
        if self.end > size:
            found = f"an array of {self.describe()} should end at byte {self.end}"
            raise cut_off(label, size, found)

    def map(self, path: Path) -> NDArray:
        """Map it for reading; the file's size has been checked.

        Raises: InputError if the file became shorter meanwhile.
        """
        if self.end == self.offset:
            return numpy.empty(self.shape, dtype=self.dtype)
        try:
            return numpy.memmap(
                path,
                self.dtype,
                mode="r",
                offset=self.offset,
                shape=self.shape,
                order="F" if self.by_columns else "C",
            )
        except ValueError as err:
            raise InputError(
                f"{path}: is being changed by another program ({err}); copy it, and "
                "name the copy"
            ) from err

    def floats(self, rows: NDArray) -> NDArray:
        """Copy some of its numbers as float32; those too large become infinite."""
        if self.bfloat16:
            return (rows.astype("uint32") << 16).view("float32")
        with numpy.errstate(over="ignore", invalid="ignore"):
            return numpy.array(rows, dtype="float32", order="C")


def read_npy_header(file: BinaryIO, label: str) -> FileArray:
    """Read the header of an .npy file; the file is left at the array's first byte."""
    try:
        head = _read_head(file)
        version = npy_format.read_magic(head)
        if version == (1, 0):
            shape, by_columns, dtype = npy_format.read_array_header_1_0(head)
        elif version == (2, 0):
            shape, by_columns, dtype = npy_format.read_array_header_2_0(head)
        else:
            raise ValueError(f"its version is {version}")
    except OSError:
        raise
    except Exception as err:
        # Numpy evaluates the header, and raises nearly all that Python can.
        raise InputError(
            f"{label}: has no header of a plain .npy array, or is cut off in it "
            f"({one_line(err)[:200]}); download it again"
        ) from err
    if dtype.hasobject:
        # Objects are stored as pickles.
        raise InputError(
            f"{label}: holds Python objects, which are pickled and can run any code "
            "when opened; it was not opened; save numbers or text: array.astype('U')"
        )
    if min(shape, default=0) < 0:
        raise damaged(label, 0, f"the shape {shape} has a negative size")
    # Numpy would make room for numbers of no bytes.
    if math.prod(filter(None, shape)) > MAX_SIZE or not dtype.itemsize:
        raise damaged(label, 0, f"the shape {shape} of {dtype} is not possible")
    return FileArray(dtype, shape, head.tell(), by_columns)


def _read_head(file: BinaryIO) -> BinaryIO:
    # In a buffer of its own, since numpy reads as much as the file asks for.
    head = file.read(10)
    if head[6:8] == b"\x02\x00":
        head += file.read(2)
    size = int.from_bytes(head[8:], "little")
    if size > MAX_HEADER:
        raise ValueError(f"its header is {size} bytes long")
    return io.BytesIO(head + file.read(size))


def open_npy(path: Path, label: str) -> FileArray:
    """Find the array of an .npy file; InputError if the file is cut off or damaged."""
    with path.open("rb") as file:
        array = read_npy_header(file, label)
    array.check_end(label, path.stat().st_size)
    return array


def map_array(path: Path) -> NDArray:
    """Map an npy file; InputError if it is missing or damaged."""
    try:
        return open_npy(path, str(path)).map(path)
    except FileNotFoundError as err:
        raise InputError(
            f"{path}: is missing; copy or convert the table again"
        ) from err


def check_layout(name: str, array: NDArray, dtype: str, ndim: int) -> None:
    """Raise ValueError unless the kernels can read an array of a file in place."""
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(
            f"the array {name} is {array.dtype} with {array.ndim} dimensions, not "
            f"{dtype} with {ndim}"
        )
    if not array.flags.c_contiguous or not array.flags.aligned:
        raise ValueError(f"the array {name} is stored by columns, or is not aligned")
