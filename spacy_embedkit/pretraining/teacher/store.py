"""Targets on disk: a SQLite database, which several processes may read and fill."""

import sqlite3
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, Mapping, Optional, Sequence
from weakref import finalize

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from ...io import describe_os_error
from .reduction import Reduction

DATABASE = "targets.sqlite"
# Seconds to wait while another process writes.
TIMEOUT = 300
# Of a database; a change of the tables gets another one.
FORMAT = 1
KEYS_AT_ONCE = 500
# key: Hash of a text as a signed number. data: (tokens, width) float16. crc: CRC-32 of
# the data, since SQLite has no checksums of its own.
TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS targets (key INTEGER PRIMARY KEY, crc INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS reduction (mean BLOB, axes BLOB, crc INTEGER);
CREATE TABLE IF NOT EXISTS about (settings TEXT, n_bytes INTEGER);
"""


class TargetStore:
    """Targets of docs by a hash of the doc, and the reduction that made them.

    folder: Is made if it is not there. width: Numbers in a target.
    settings: What decides about the targets, as text.
    max_bytes: Of all targets; docs beyond it are not kept.
    A process that is killed leaves what it had added, but not half of it.
    Raises: InputError naming the folder, if it can't be read or written, is damaged, or
        was made with other settings or in another format.
    """

    def __init__(self, folder: Path, width: int, settings: str, max_bytes: int) -> None:
        self.folder = folder
        self.width = width
        self.max_bytes = max_bytes
        self.is_full = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise self._failed(describe_os_error(err, folder)) from err
        if next(folder.glob("*.index"), None):
            raise InputError(
                f"{folder}: targets are kept in another format now, {DATABASE}; delete "
                "the folder, so that they are computed again"
            )
        with self._errors():
            self._database = sqlite3.connect(
                folder / DATABASE, timeout=TIMEOUT, isolation_level=None
            )
            finalize(self, self._database.close)
            self._check_format(f"{settings}, {width} wide")

    def _check_format(self, settings: str) -> None:
        """Make the tables of a new database, or compare what it was made with."""
        [[found]] = self._database.execute("PRAGMA user_version")
        if found == 0:
            with self._database:
                self._database.executescript(TABLES)
                self._database.execute(
                    "INSERT INTO about SELECT ?, 0 "
                    "WHERE NOT EXISTS (SELECT * FROM about)",
                    [settings],
                )
                self._database.execute(f"PRAGMA user_version = {FORMAT}")
        elif found != FORMAT:
            raise InputError(
                f"{self.folder}: has format {found}, but {FORMAT} is read; delete the "
                "folder, so that the targets are computed again"
            )
        [[made_with]] = self._database.execute("SELECT settings FROM about")
        if made_with != settings:
            raise InputError(
                f"{self.folder}: was made with other settings ({made_with}, not "
                f"{settings}); name another cache_dir"
            )

    def __len__(self) -> int:
        with self._errors():
            [[n]] = self._database.execute("SELECT COUNT(*) FROM targets")
        return int(n)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def reduction(self) -> Optional[Reduction]:
        """The reduction that made the targets, if there is one yet."""
        with self._errors():
            found = self._database.execute("SELECT mean, axes, crc FROM reduction")
            row = found.fetchone()
        if row is None:
            return None
        *data, crc = row
        if zlib.crc32(b"".join(data)) != crc:
            raise self._damaged("the checksum of the reduction is wrong")
        mean, axes = (numpy.frombuffer(part, "<f4") for part in data)
        is_factors = len(axes) == len(mean) == self.width
        shape = (self.width,) if is_factors else (len(mean), self.width)
        return Reduction(mean, axes.reshape(shape))

    def set_reduction(self, reduction: Reduction) -> None:
        """Keep a reduction, unless another process has kept one meanwhile."""
        data = [
            part.astype("<f4").tobytes() for part in (reduction.mean, reduction.axes)
        ]
        with self._errors():
            self._database.execute(
                "INSERT INTO reduction SELECT ?, ?, ? "
                "WHERE NOT EXISTS (SELECT * FROM reduction)",
                [*data, zlib.crc32(b"".join(data))],
            )

    def __contains__(self, key: int) -> bool:
        with self._errors():
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
            with self._errors():
                rows = self._database.execute(query, some).fetchall()
            for key, crc, data in rows:
                if zlib.crc32(data) == crc:
                    array = numpy.frombuffer(data, "<f2")
                    found[key % 2**64] = array.reshape(-1, self.width)
        return found

    def add(self, targets: Mapping[int, NDArray]) -> None:
        """Keep targets, (tokens, width) float16, as long as there is room.

        They are on the disk when this returns.
        """
        with self._errors(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            [[n_bytes]] = self._database.execute("SELECT n_bytes FROM about")
            for key, array in targets.items():
                data = numpy.ascontiguousarray(array, "<f2").data
                # Those that are there are damaged, or another process was faster.
                found = self._database.execute(
                    "SELECT length(data) FROM targets WHERE key = ?", [_signed(key)]
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

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of SQLite into one line."""
        try:
            yield
        except sqlite3.OperationalError as err:
            raise self._failed(f"{self.folder}: {err}") from err
        except sqlite3.DatabaseError as err:
            raise self._damaged(str(err)) from err

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"{self.folder}: {DATABASE} is damaged ({reason}); delete the folder, so "
            "that the targets are computed again"
        )

    def _failed(self, reason: str) -> InputError:
        return InputError(
            f"targets: {reason}; check free space and permissions, lower max_cache_gb "
            "or name another cache_dir"
        )


def _signed(key: int) -> int:
    """Return a number of 64 bits as SQLite has it."""
    return key - 2**64 if key >= 2**63 else key
