"""Targets on disk: files that are only appended to, and mapped for reading.

    reduction.npz     how they were made from the teacher's rows
    0.rows            (n, width) float16, one row a token
    0.index           which rows a doc has, with checksums: a record for each time that
                      docs were added, written once their rows are on the disk
    1.rows, 1.index   ... of a process that wrote while another had the first ones

A process that is killed leaves rows without a record, or part of a record at the end:
the next one that writes cuts them off.
"""

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Optional, Sequence
from weakref import finalize

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from ...io import describe_os_error, try_lock

MAGIC = 0x31544B45
RECORD = numpy.dtype([("magic", "<u4"), ("n_docs", "<u4"), ("first_row", "<u8")])
# Of a doc: its hash, its tokens, and the CRC-32 of their rows.
DOC = numpy.dtype([("key", "<u8"), ("n", "<u4"), ("crc", "<u4")])
ENTRY = numpy.dtype(
    [("key", "<u8"), ("n", "<u4"), ("crc", "<u4"), ("row", "<u8"), ("shard", "<u4")]
)


class TargetStore:
    """Rows of docs by a hash of the doc, in a folder.

    folder: Is made if it is not there. width: Numbers in a row.
    max_bytes: Of all rows in the folder; docs beyond it are not kept.
    It has what was in the folder when it was opened, and what it adds itself. In memory
    it holds 36 bytes a doc. Several processes may read and add at a time.
    Raises: InputError naming the folder, if it can't be read or written.
    """

    def __init__(self, folder: Path, width: int, max_bytes: int) -> None:
        self.folder = folder
        self.width = width
        self.max_bytes = max_bytes
        self.is_full = False
        self._row_bytes = 2 * width
        self._entries = numpy.zeros(0, dtype=ENTRY)
        self._keys = numpy.zeros(0, dtype="uint64")
        self._maps: Dict[int, NDArray] = {}
        self._writer: Optional[_Writer] = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.index"):
                if path.stem.isdecimal():
                    shard = _Shard(path, self._row_bytes)
                    self._merge(_entries(int(path.stem), shard))
        except OSError as err:
            raise self._failed(err) from err

    def __len__(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Let another process append to the files of this one."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def find(self, keys: NDArray) -> NDArray:
        """Return the places of keys, (K,) uint64, in the index; -1 if not there."""
        if not len(self._keys):
            return numpy.full(len(keys), -1)
        at = numpy.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return numpy.where(self._keys[at] == keys, at, -1)

    def read(self, place: int) -> Optional[NDArray]:
        """Return the rows of a doc, (tokens, width) float16, or None if damaged.

        place: From find.
        """
        entry = self._entries[place]
        start, n, shard = int(entry["row"]), int(entry["n"]), int(entry["shard"])
        rows = self._maps.get(shard)
        if rows is None or len(rows) < start + n:
            rows = self._maps[shard] = self._map(shard)
        found = numpy.ascontiguousarray(rows[start : start + n])
        return found if zlib.crc32(found.data) == entry["crc"] else None

    def _map(self, shard: int) -> NDArray:
        path = self.folder / f"{shard}.rows"
        try:
            # Behind what the index names there may be part of a row.
            shape = (path.stat().st_size // self._row_bytes, self.width)
            if not shape[0]:
                return numpy.zeros(shape, dtype="<f2")
            return numpy.memmap(path, "<f2", "r", shape=shape)
        except OSError as err:
            raise self._failed(err) from err

    def add(self, keys: NDArray, rows: Sequence[NDArray]) -> int:
        """Keep the rows of docs, as long as there is room; return how many were.

        keys: (K,) uint64, different ones. rows: K arrays (tokens, width) float16.
        They are on the disk when this returns.
        """
        ends = numpy.cumsum([array.nbytes for array in rows])
        n = int(numpy.searchsorted(ends, self.max_bytes - self._bytes(), side="right"))
        self.is_full = self.is_full or n < len(keys)
        if not n:
            return 0
        docs = numpy.zeros(n, dtype=DOC)
        docs["key"], docs["n"] = keys[:n], [len(array) for array in rows[:n]]
        blocks = [numpy.ascontiguousarray(array, dtype="<f2") for array in rows[:n]]
        docs["crc"] = [zlib.crc32(block.data) for block in blocks]
        try:
            if self._writer is None:
                self._writer = _open_writer(self.folder, self._row_bytes)
                finalize(self, self._writer.close)
            first = self._writer.append(docs, blocks)
        except OSError as err:
            self.close()
            raise self._failed(err) from err
        self._merge(_placed(docs, first, self._writer.number))
        return n

    def _bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*.rows"))

    def _merge(self, entries: NDArray) -> None:
        entries = numpy.concatenate([self._entries, entries])
        entries = entries[numpy.argsort(entries["key"], kind="stable")]
        # Of docs that are there twice, because the first was damaged, the last.
        is_last = numpy.append(entries["key"][1:] != entries["key"][:-1], True)
        self._entries = entries[is_last[: len(entries)]]
        self._keys = self._entries["key"].astype("uint64")

    def _failed(self, err: OSError) -> InputError:
        return InputError(
            f"targets: {describe_os_error(err, self.folder)}; check free space and "
            "permissions, lower max_cache_gb or name another cache_dir"
        )


class _Shard:
    """What is whole in a pair of files."""

    def __init__(self, index: Path, row_bytes: int) -> None:
        data = index.read_bytes()
        rows = index.with_suffix(".rows")
        n_rows = rows.stat().st_size // row_bytes if rows.exists() else 0
        self.docs: List[NDArray] = []
        self.first_rows: List[int] = []
        self.index_bytes = self.n_rows = 0
        while (end := self._read(data, n_rows)) is not None:
            self.index_bytes = end

    def _read(self, data: bytes, n_rows: int) -> Optional[int]:
        """Take in the next record, and return where it ends; None if it is broken."""
        start = self.index_bytes
        if len(data) < start + RECORD.itemsize:
            return None
        record = numpy.frombuffer(data, RECORD, 1, start)[0]
        docs_start = start + RECORD.itemsize
        end = docs_start + int(record["n_docs"]) * DOC.itemsize
        if record["magic"] != MAGIC or len(data) < end + 4:
            return None
        if zlib.crc32(data[start:end]).to_bytes(4, "little") != data[end : end + 4]:
            return None
        docs = numpy.frombuffer(data[docs_start:end], DOC)
        first = int(record["first_row"])
        if first != self.n_rows or first + int(docs["n"].sum()) > n_rows:
            return None
        self.docs.append(docs)
        self.first_rows.append(first)
        self.n_rows = first + int(docs["n"].sum())
        return end + 4


class _Writer:
    """Appends to a pair of files that no other process has."""

    def __init__(self, number: int, index: BinaryIO, path: Path, width: int) -> None:
        self.number = number
        self._index = index
        shard = _Shard(path, width)
        self._n_rows = shard.n_rows
        index.truncate(shard.index_bytes)
        index.seek(shard.index_bytes)
        self._rows = path.with_suffix(".rows").open("ab")
        self._rows.truncate(shard.n_rows * width)

    def append(self, docs: NDArray, blocks: Sequence[NDArray]) -> int:
        """Write rows, then the record; return the number of the first row."""
        first = self._n_rows
        for block in blocks:
            self._rows.write(block.data)
        _sync(self._rows)
        record = numpy.asarray([(MAGIC, len(docs), first)], dtype=RECORD)
        data = record.tobytes() + docs.tobytes()
        self._index.write(data + zlib.crc32(data).to_bytes(4, "little"))
        _sync(self._index)
        self._n_rows += int(docs["n"].sum())
        return first

    def close(self) -> None:
        """Close the files, and so free them for others."""
        for file in (self._rows, self._index):
            with suppress(OSError):
                file.close()


def _open_writer(folder: Path, row_bytes: int) -> _Writer:
    """Take the first pair of files that is free, or a new one."""
    number = 0
    while True:
        path = folder / f"{number}.index"
        path.touch()
        file = path.open("r+b")
        if try_lock(file):
            return _Writer(number, file, path, row_bytes)
        file.close()
        number += 1


def _entries(number: int, shard: _Shard) -> NDArray:
    placed = [
        _placed(docs, first, number)
        for docs, first in zip(shard.docs, shard.first_rows, strict=True)
    ]
    return numpy.concatenate([numpy.zeros(0, dtype=ENTRY), *placed])


def _placed(docs: NDArray, first_row: int, number: int) -> NDArray:
    entries = numpy.zeros(len(docs), dtype=ENTRY)
    for name in ("key", "n", "crc"):
        entries[name] = docs[name]
    lengths = docs["n"].astype("<u8")
    entries["row"] = first_row + numpy.cumsum(lengths) - lengths
    entries["shard"] = number
    return entries


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
