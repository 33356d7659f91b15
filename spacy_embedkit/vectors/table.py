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
the pages. No file is modified once it is written.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

import numpy
import srsly
from numpy.typing import NDArray

from ..checks import InputError
from .file_arrays import open_npy
from .keys import KeyRows, Words
from .ngrams import Ngrams
from .rows import STORES, Rows, empty_rows

FORMAT, VERSION = "spacy-embedkit vectors", 1
KEY_ARRAYS = ("keys", "key_rows", "buckets")
WORD_ARRAYS = ("words", "word_ends")
# Folder of the table inside a pipeline's vocab, and the header inside that.
FOLDER, HEADER, SUBWORDS = "embedkit_vectors", "table.json", "subwords"


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


def open_table(folder: Path) -> Table:
    """Map the table of a folder; InputError if its files do not fit together."""
    header = read_header(folder)
    subwords = open_table(folder / SUBWORDS) if header["subwords"] else None
    try:
        table = _assemble(header, map_arrays(folder, header), subwords)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"{folder}: the files do not fit together ({err}); copy or convert the "
            "table again"
        ) from err
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
    table = _assemble(header, map_arrays(folder, header), subwords).sign()
    srsly.write_json(folder / HEADER, table.header())
    table.folder = folder.resolve()
    return table


def read_header(folder: Path) -> Dict[str, Any]:
    """Read and check the header of a table's folder."""
    path = folder / HEADER
    try:
        header = srsly.read_json(path)
    except (OSError, ValueError) as err:
        raise InputError(
            f"{path}: cannot be read as the header of a table ({err}); copy or convert "
            "the table again"
        ) from err
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path}: is not the header of a table of vectors")
    if header.get("version") != VERSION:
        raise InputError(
            f"{path}: has version {header.get('version')}, but this package reads "
            f"{VERSION}; upgrade spacy-embedkit"
        )
    missing = set(Table().header()) - set(header)
    if missing or header["dtype"] not in STORES:
        raise InputError(
            f"{path}: is damaged ({', '.join(sorted(missing)) or 'dtype'}); copy or "
            "convert the table again"
        )
    return header


def write_table(table: Table, folder: Path) -> None:
    """Write a table to a folder, which holds nothing else.

    Files are written under another name and renamed; the header comes last. A folder
    that holds this very table already is left as it is.
    """
    if folder.is_dir() and (folder / HEADER).exists():
        if read_header(folder) == table.header():
            return
        (folder / HEADER).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    # The files may have been replaced since they were mapped.
    source = table.folder if table.has_files() else None
    if table.subwords is not None:
        write_table(table.subwords, folder / SUBWORDS)
    for name, array in table.arrays().items():
        partial = folder / f".{name}.npy.partial"
        if source is not None:
            shutil.copyfile(source / f"{name}.npy", partial)
        else:
            with partial.open("wb") as file:
                numpy.save(file, array, allow_pickle=False)
        partial.replace(folder / f"{name}.npy")
    partial = folder / f".{HEADER}.partial"
    srsly.write_json(partial, table.header())
    partial.replace(folder / HEADER)


def map_arrays(folder: Path, header: Dict[str, Any]) -> Dict[str, NDArray]:
    """Map all arrays of a table with this header, by name."""
    names = [*STORES[header["dtype"]].layout, "mean"]
    if header["ngrams"] is None:
        names += [*KEY_ARRAYS, *WORD_ARRAYS]
    return {name: map_array(folder / f"{name}.npy") for name in names}


def map_array(path: Path) -> NDArray:
    """Map an npy file; InputError if it is missing or damaged."""
    try:
        return open_npy(path, str(path)).map(path)
    except FileNotFoundError as err:
        raise InputError(
            f"{path}: is missing; copy or convert the table again"
        ) from err


def table_to_bytes(table: Table) -> bytes:
    """Serialise a table to bytes."""
    parts = {
        "header": table.header(),
        "arrays": table.arrays(),
        "subwords": None if table.subwords is None else table_to_bytes(table.subwords),
    }
    return srsly.msgpack_dumps(parts)


def table_from_bytes(data: bytes) -> Table:
    """Deserialise a table into memory."""
    parts = srsly.msgpack_loads(data)
    inner = parts["subwords"]
    subwords = None if inner is None else table_from_bytes(inner)
    return _assemble(parts["header"], parts["arrays"], subwords)


def _assemble(
    header: Dict[str, Any], arrays: Dict[str, NDArray], subwords: Optional[Table]
) -> Table:
    """Make a table of its parts; ValueError if they do not fit together."""
    store = STORES[header["dtype"]]
    rows = store({name: arrays[name] for name in store.layout})
    n_rows, width = rows.shape
    shape = list(header.get("shape", rows.shape))
    if [n_rows, width] != shape or arrays["mean"].shape != (width,):
        raise ValueError(f"the rows are {n_rows} x {width}, not {shape}")
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
    else:
        table.keys = KeyRows({name: arrays[name] for name in KEY_ARRAYS}, n_rows)
        table.words = Words({name: arrays[name] for name in WORD_ARRAYS})
        n_keys = header.get("keys", len(table.keys))
        if len(table.words) != n_rows or len(table.keys) != n_keys:
            raise ValueError("the numbers of words, keys and rows differ")
    if subwords is not None and (
        subwords.ngrams is None or subwords.rows.width != width
    ):
        raise ValueError("the subwords are not a table of n-grams of this width")
    return table


def _blocks(array: NDArray) -> Iterator[NDArray]:
    step = max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]
