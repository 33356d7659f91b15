"""Targets on disk: a SQLite database, which several processes may read and fill."""

import sqlite3
import zlib
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence
from weakref import finalize

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from ...io import describe_os_error
from .database import (
    DATABASE,
    check_database,
    damaged,
    database_errors,
    failed,
)
from .reduction import Reduction

# Seconds to wait while another process writes.
TIMEOUT = 300
KEYS_AT_ONCE = 500
# Of a float16 that is infinite, without its sign.
INFINITE = 0x7C00


class TargetStore:
    """Targets of docs by a hash of the doc, and the reduction that made them.

    folder: Is made if it is not there. width: Numbers in a target.
    settings: What decides about the targets, as text.
    max_bytes: Of all targets; docs beyond it are not kept.
    A process that is killed leaves what it had added, but not half of it.
    Raises: InputError naming the folder, if it was made with other settings or in
        another format; StoreError and DamagedStoreError, then and later.
    """

    def __init__(self, folder: Path, width: int, settings: str, max_bytes: int) -> None:
        self.folder = folder
        self.width = width
        self.max_bytes = max_bytes
        self.is_full = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise failed(describe_os_error(err, folder)) from err
        if next(folder.glob("*.index"), None):
            raise InputError(
                f"{folder}: targets are kept in another format now, {DATABASE}; delete "
                "the folder, so that they are computed again"
            )
        with database_errors(self.folder):
            self._database = sqlite3.connect(
                folder / DATABASE, timeout=TIMEOUT, isolation_level=None
            )
            finalize(self, self._database.close)
            try:
                check_database(self._database, folder, f"{settings}, {width} wide")
            except BaseException:
                # The file has to be closed before it can be set aside.
                self._database.close()
                raise

    def __len__(self) -> int:
        with database_errors(self.folder):
            [[n]] = self._database.execute("SELECT COUNT(*) FROM targets")
        return int(n)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def reduction(self) -> Optional[Reduction]:
        """The reduction that made the targets, if there is one yet."""
        with database_errors(self.folder):
            found = self._database.execute("SELECT mean, axes, crc FROM reduction")
            row = found.fetchone()
        if row is None:
            return None
        *data, crc = row
        if not all(isinstance(part, bytes) and len(part) % 4 == 0 for part in data):
            raise damaged(self.folder, "the reduction is not two arrays")
        if zlib.crc32(b"".join(data)) != crc:
            raise damaged(self.folder, "the checksum of the reduction is wrong")
        mean, axes = (numpy.frombuffer(part, "<f4") for part in data)
        is_factors = len(axes) == len(mean) == self.width
        shape = (self.width,) if is_factors else (len(mean), self.width)
        if axes.size != numpy.prod(shape):
            raise damaged(self.folder, "the reduction has another width")
        if not (numpy.isfinite(mean).all() and numpy.isfinite(axes).all()):
            raise damaged(self.folder, "the reduction is not finite")
        return Reduction(mean, axes.reshape(shape))

    def set_reduction(self, reduction: Reduction) -> None:
        """Keep a reduction, unless another process has kept one meanwhile."""
        data = [
            part.astype("<f4").tobytes() for part in (reduction.mean, reduction.axes)
        ]
        with database_errors(self.folder):
            self._database.execute(
                "INSERT INTO reduction SELECT ?, ?, ? "
                "WHERE NOT EXISTS (SELECT * FROM reduction)",
                [*data, zlib.crc32(b"".join(data))],
            )

    def __contains__(self, key: int) -> bool:
        with database_errors(self.folder):
            found = self._database.execute(
                "SELECT 1 FROM targets WHERE key = ?", [_signed(key)]
            )
            return found.fetchone() is not None

    def read(self, keys: Sequence[int]) -> Dict[int, NDArray]:
        """Return the targets, (tokens, width) float16, of the docs that have any.

        Those that are damaged are left out.
        """
        found = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = [_signed(key) for key in keys[start : start + KEYS_AT_ONCE]]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, crc, data FROM targets WHERE key IN ({marks})"
            with database_errors(self.folder):
                rows = self._database.execute(query, some).fetchall()
            for key, crc, data in rows:
                array = self._array(data, crc)
                if array is not None:
                    found[key % 2**64] = array
        return found

    def _array(self, data: object, crc: object) -> Optional[NDArray]:
        """Return targets, or None if they are damaged."""
        if not isinstance(data, bytes) or len(data) % (2 * self.width):
            return None
        bits = numpy.frombuffer(data, "<u2") & 0x7FFF
        if zlib.crc32(data) != crc or (bits == INFINITE).any():
            return None
        return numpy.frombuffer(data, "<f2").reshape(-1, self.width)

    def add(self, targets: Mapping[int, NDArray]) -> None:
        """Keep targets, (tokens, width) float16, as long as there is room.

        They are on the disk when this returns.
        """
        with database_errors(self.folder), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            [[n_bytes]] = self._database.execute("SELECT n_bytes FROM about")
            for key, array in targets.items():
                data = numpy.ascontiguousarray(array, "<f2").data
                # Those that are there are damaged, or another process was faster.
                found = self._database.execute(
                    "SELECT ifnull(length(data), 0) FROM targets WHERE key = ?",
                    [_signed(key)],
                )
                [n_before] = found.fetchone() or [0]
                n_bytes += data.nbytes - n_before
                if n_bytes > self.max_bytes:
                    self.is_full = True
                    n_bytes -= data.nbytes - n_before
                    break
                self._database.execute(
                    "INSERT OR REPLACE INTO targets VALUES (?, ?, ?)",
                    [_signed(key), zlib.crc32(data), data],
                )
            self._database.execute("UPDATE about SET n_bytes = ?", [n_bytes])


def _signed(key: int) -> int:
    """Return a number of 64 bits as SQLite has it."""
    return key - 2**64 if key >= 2**63 else key
