"""A table of vectors: its parts, its folder and its bytes.

The folder holds a header in JSON and one npy file for each array:

    table.json       what is in the folder, and a fingerprint of it
    rows.npy         (V, O) float32, float16 or int8; or (V, P) uint8 codes
    scales.npy       (V,) float32, with int8
    centroids.npy    (256, O) float32, with codes
    mean.npy         (O,) float32, the mean of all rows
    keys.npy, key_rows.npy, buckets.npy    the row of each key; not for n-grams
    words.npy, word_ends.npy               the word of each row; not for n-grams
    subwords/        a table of n-grams for the words that have no row, if any

The arrays are mapped, so that opening reads a few kilobytes and all processes share
the pages. What can be checked in the same time for a table of any size is checked when
it is opened; the rest, such as each row number, where it is used, so that a damaged
table gives wrong rows or an error, but never reads outside of its arrays. `vectors info
--verify` checks all of it.

No file is modified once it is written: a table is replaced by renaming, and those who
mapped the old one keep it. That is all that can be promised: if another program changes
a mapped file, the vectors change, and if it shortens one, the system kills the process
that reads there (SIGBUS). Who can't rule that out loads a copy by to_bytes.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

import numpy
import srsly
from numpy.typing import NDArray

from ..checks import InputError
from .file_arrays import check_layout, map_array
from .header import FORMAT, HEADER, MAX_ROWS, VERSION, read_header
from .keys import KEY_ARRAYS, KeyRows, Words
from .ngrams import Ngrams
from .rows import STORES, Rows, empty_rows

WORD_ARRAYS = ("words", "word_ends")
# Folder of the table inside a pipeline's vocab, and that of the subwords inside it.
FOLDER, SUBWORDS = "embedkit_vectors", "subwords"


@dataclass
class Table:
    """Rows of numbers, and how words find them.

    rows: V rows, O wide. mean: (O,) float32, their mean.
    keys: The row of each key. words: The word of each row. Both None for n-grams.
    ngrams: How words find their rows, in a table of n-grams.
    subwords: Table of n-grams for the words without a row.
    attr: Token attribute that is looked up. name: Name of the table, for users.
    folder: Folder of its files; None if it is in memory.
    fingerprint: Hexadecimal digest of all of it; equal tables have equal ones.
    """

    rows: Rows = field(default_factory=empty_rows)
    mean: NDArray = field(default_factory=lambda: numpy.zeros(0, dtype="f"))
    keys: Optional[KeyRows] = None
    words: Optional[Words] = None
    ngrams: Optional[Ngrams] = None
    subwords: "Optional[Table]" = None
    attr: str = "ORTH"
    name: Optional[str] = None
    folder: Optional[Path] = None
    fingerprint: str = ""

    def arrays(self) -> Dict[str, NDArray]:
        """Return all arrays by the names of their files, without the subwords'."""
        found = dict(self.rows.arrays)
        found["mean"] = self.mean
        for part in (self.keys, self.words):
            found.update(part.arrays if part is not None else {})
        return found

    def header(self) -> Dict[str, Any]:
        """Return what is written to the header."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "dtype": self.rows.dtype,
            "shape": list(self.rows.shape),
            "keys": None if self.keys is None else len(self.keys),
            "attr": self.attr,
            "name": self.name,
            "ngrams": None if self.ngrams is None else self.ngrams.to_dict(),
            "subwords": self.subwords is not None,
            "fingerprint": self.fingerprint,
        }

    def sign(self) -> "Table":
        """Compute the fingerprint, which reads all of the table; return the table."""
        if self.subwords is not None and not self.subwords.fingerprint:
            self.subwords.sign()
        self.fingerprint = ""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps(self.header(), sort_keys=True).encode())
        digest.update((self.subwords.fingerprint if self.subwords else "").encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(name.encode())
            for block in _blocks(array):
                digest.update(numpy.ascontiguousarray(block).data)
        self.fingerprint = digest.hexdigest()
        return self

    def has_files(self) -> bool:
        """Whether its folder still holds this very table."""
        folder = self.folder
        return (
            folder is not None
            and (folder / HEADER).exists()
            and read_header(folder) == self.header()
        )


def open_table(folder: Path, is_inner: bool = False) -> Table:
    """Map the table of a folder.

    is_inner: Whether it is the subwords of another one, which have none themselves.
    Raises: InputError if its files are damaged, or do not fit together.
    """
    header = read_header(folder)
    has_subwords = header["subwords"] and not is_inner
    subwords = open_table(folder / SUBWORDS, True) if has_subwords else None
    try:
        table = assemble(header, map_arrays(folder, header), subwords)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"{folder}: the files do not fit together ({err}); copy or convert the "
            "table again"
        ) from err
    if not table.rows.size:
        raise InputError(f"{folder}: has no rows; convert the table again")
    table.folder = folder.resolve()
    return table


def finish_table(
    folder: Path,
    *,
    dtype: str,
    attr: str,
    name: str,
    ngrams: Optional[Ngrams],
    subwords: Optional[Table],
) -> Table:
    """Write the header of a folder that has the arrays already; return its table."""
    header = {"dtype": dtype, "attr": attr, "name": name}
    header["ngrams"] = ngrams.to_dict() if ngrams else None  # type: ignore[assignment]
    table = assemble(header, map_arrays(folder, header), subwords).sign()
    srsly.write_json(folder / HEADER, table.header())
    table.folder = folder.resolve()
    return table


def map_arrays(folder: Path, header: Dict[str, Any]) -> Dict[str, NDArray]:
    """Map all arrays of a table with this header, by name."""
    names = [*STORES[header["dtype"]].layout, "mean"]
    if header["ngrams"] is None:
        names += [*KEY_ARRAYS, *WORD_ARRAYS]
    return {name: map_array(folder / f"{name}.npy") for name in names}


def assemble(
    header: Dict[str, Any], arrays: Dict[str, NDArray], subwords: Optional[Table]
) -> Table:
    """Make a table of its parts; ValueError if they do not fit together.

    It takes the same time whatever the size of the table.
    """
    store = STORES[header["dtype"]]
    rows = store({name: arrays[name] for name in store.layout})
    n_rows, width = rows.shape
    shape = list(header.get("shape", rows.shape))
    if [n_rows, width] != shape or n_rows > MAX_ROWS or bool(n_rows) != bool(width):
        raise ValueError(f"the rows are {n_rows} x {width}, not {shape}")
    check_layout("mean", arrays["mean"], "float32", 1)
    if arrays["mean"].shape != (width,):
        raise ValueError("the mean is not as wide as the rows")
    table = Table(
        rows,
        arrays["mean"],
        subwords=subwords,
        attr=header["attr"],
        name=header["name"],
        fingerprint=header.get("fingerprint", ""),
    )
    if header["ngrams"] is not None:
        table.ngrams = Ngrams(**header["ngrams"])
        if not n_rows:
            raise ValueError("a table of n-grams has no rows")
    elif n_rows or "keys" in arrays:
        _add_keys(table, arrays, header.get("keys"))
    if subwords is not None and (
        subwords.ngrams is None or subwords.rows.width != width
    ):
        raise ValueError("the subwords are not a table of n-grams of this width")
    return table


def _add_keys(table: Table, arrays: Dict[str, NDArray], n_keys: Optional[int]) -> None:
    n_rows = len(table.rows)
    table.keys = KeyRows({name: arrays[name] for name in KEY_ARRAYS}, n_rows)
    table.words = Words({name: arrays[name] for name in WORD_ARRAYS})
    if len(table.words) != n_rows or n_keys not in (None, len(table.keys)):
        raise ValueError("the numbers of words, keys and rows differ")


def _blocks(array: NDArray) -> Iterator[NDArray]:
    step = max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]
