"""Arrays in files: where they stand, checked against the size before they are mapped.

The headers of .npy and safetensors are parsed here, and not by their libraries: these
evaluate or allocate by what a header says before they look at the file.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from .source import Batch

# Bytes of a batch of rows, at least one row.
BATCH_BYTES, BATCH_ROWS = 1 << 22, 4096
MAX_NPY_HEADER, MAX_SAFETENSORS_HEADER = 1 << 16, 100_000_000

_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_SAFETENSORS |= {
    f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind in "IU" for n in (1, 2, 4, 8)
}


def cut_off(shown: str, byte: int, found: str) -> InputError:
    """The error for a file that ends before its header says it does."""
    return InputError(
        f"{shown}: byte {byte}: {found}; the file is cut off; download it again"
    )


def damaged(shown: str, byte: int, found: str) -> InputError:
    """The error for bytes that the format can't have."""
    return InputError(
        f"{shown}: byte {byte}: {found}; the file is damaged; download it again"
    )


@dataclass(frozen=True)
class Place:
    """An array in a file.

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
        """Whether it holds numbers that a float32 can stand for."""
        return self.dtype.kind in "fiu" and self.dtype.itemsize <= 8

    def describe(self) -> str:
        """Its shape and type, for messages."""
        shape = " x ".join(map(str, self.shape)) or "1"
        return f"{shape} {'bfloat16' if self.bfloat16 else self.dtype}"

    def check_end(self, shown: str, size: int) -> None:
        """Raise InputError if the file of this size ends before the array does."""
        if self.end > size:
            raise cut_off(
                shown,
                size,
                f"an array of {self.describe()} should end at byte {self.end}",
            )

    def map(self, path: Path) -> NDArray:
        """Map it for reading; the file's size has been checked."""
        if self.end == self.offset:
            return numpy.empty(self.shape, dtype=self.dtype)
        return numpy.memmap(
            path,
            self.dtype,
            mode="r",
            offset=self.offset,
            shape=self.shape,
            order="F" if self.by_columns else "C",
        )

    def floats(self, rows: NDArray) -> NDArray:
        """Copy some of its numbers as float32; what is too large becomes infinite."""
        if self.bfloat16:
            return (rows.astype("uint32") << 16).view("float32")
        with numpy.errstate(over="ignore", invalid="ignore"):
            return numpy.array(rows, dtype="float32", order="C")


def row_name(start: int) -> Callable[[int], str]:
    """Name the rows of a batch that begins at this row, counted from 0."""
    return lambda i: f"row {start + i + 1}"


def rows_at_once(width: int) -> int:
    """Return how many rows make a batch."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // (4 * width)))


def batches_of(
    place: Place, path: Path, words: Sequence[str], start: int = 0
) -> Iterator[Batch]:
    """Read the rows of a table from row start on; words is empty or one each."""
    table = place.map(path)[start:]
    step = rows_at_once(table.shape[1])
    for at in range(0, len(table), step):
        rows = place.floats(table[at : at + step])
        yield Batch(list(words[at : at + step]), rows, row_name(at))


def read_npy_header(file: BinaryIO, shown: str) -> Place:
    """Read where the array of an .npy file stands; file is left at its first byte."""
    start = file.read(8)
    if start[:6] != b"\x93NUMPY"[: len(start)]:
        raise damaged(shown, 0, f"{start!r} is not the beginning of an .npy file")
    n_length = 2 if start[6:7] == b"\x01" else 4
    length = file.read(n_length)
    if len(start) < 8 or len(length) < n_length:
        raise cut_off(shown, len(start) + len(length), "the header ends")
    n_header, offset = int.from_bytes(length, "little"), 8 + n_length
    if start[6] not in (1, 2, 3) or n_header > MAX_NPY_HEADER:
        raise damaged(shown, 6, f"version {start[6]} with a header of {n_header} bytes")
    header = file.read(n_header)
    if len(header) < n_header:
        raise cut_off(shown, offset + len(header), f"a header of {n_header} bytes ends")
    return _parse_npy_header(header.decode("latin1"), shown, offset)


def _parse_npy_header(header: str, shown: str, offset: int) -> Place:
    def find(name: str, pattern: str) -> str:
        found = re.search(rf"['\"]{name}['\"]\s*:\s*{pattern}", header)
        if found is None:
            raise InputError(
                f"{shown}: byte {offset}: {name} of the header {header[:200]!r} is "
                "not that of a plain array; save one array of numbers"
            )
        return found[1]

    # Objects (O) are pickles, and are not read.
    descr = find("descr", r"['\"]([<>|=]?(?:[fiub][1248]|[US]\d{1,6}|O8?))['\"]")
    if "O" in descr:
        raise InputError(
            f"{shown}: holds Python objects, which are pickled and can run any code "
            "when opened; it was not opened; save numbers or text: array.astype('U')"
        )
    try:
        dtype = numpy.dtype(descr)
    except TypeError as err:
        raise damaged(shown, offset, f"{descr!r} is no type of numbers") from err
    by_columns = find("fortran_order", "(True|False)") == "True"
    sizes = find("shape", r"\(((?:\d{1,18}L?\s*,?\s*)*)\)")
    shape = tuple(int(size) for size in re.findall(r"\d+", sizes))
    return Place(dtype, shape, offset + len(header), by_columns)


def read_safetensors(path: Path, shown: str) -> Tuple[Dict[str, Place], Dict[str, str]]:
    """Read where the tensors of a file stand, and the file's metadata.

    Tensors in types that numpy lacks are left out. All have been checked to be there.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        n_header = int.from_bytes(start, "little")
        if len(start) < 8 or n_header > MAX_SAFETENSORS_HEADER or n_header > size - 8:
            raise cut_off(shown, size, f"a header of {n_header} bytes ends")
        text = file.read(n_header)
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        places = {name: _tensor(entry, 8 + n_header) for name, entry in header.items()}
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("its metadata is not text")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as err:
        raise damaged(
            shown, 8, f"the header is not that of safetensors: {err}"
        ) from err
    for place in places.values():
        place.check_end(shown, size)
    return {
        k: place for k, place in places.items() if place.dtype.kind != "V"
    }, metadata


def _tensor(entry: Dict[str, Any], data: int) -> Place:
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and 0 <= n < 2**60 for n in [*shape, begin, end]):
        raise ValueError(f"sizes {shape}, {begin}, {end}")
    kind = entry["dtype"]
    if kind not in _SAFETENSORS:
        return Place(numpy.dtype("V1"), (max(0, end - begin),), data + begin)
    dtype = numpy.dtype(_SAFETENSORS[kind])
    place = Place(dtype, tuple(shape), data + begin, bfloat16=kind == "BF16")
    if place.end != data + end:
        raise ValueError(f"{place.describe()} is not {end - begin} bytes long")
    return place


def one_table(shown: str, places: Dict[str, Place], names: Sequence[str]) -> str:
    """Return the name of the only table, or of the one that has a usual name."""
    tables = [name for name, place in places.items() if place.is_table]
    usual = [name for name in tables if name in names]
    found = tables if len(tables) == 1 else usual
    if len(found) != 1:
        held: List[str] = [f"{k} ({v.describe()})" for k, v in places.items()]
        raise InputError(
            f"{shown}: holds {', '.join(held[:9]) or 'no arrays'}; needed is one table "
            f"of numbers, or one of the names {', '.join(names)}; save that alone"
        )
    return found[0]
