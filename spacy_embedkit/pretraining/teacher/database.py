"""The SQLite database of targets: its tables, its errors, and what a strange one is."""

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ...checks import InputError, one_line
from ...io import describe_os_error

DATABASE = "targets.sqlite"
# Of a database; a change of the tables gets another one.
FORMAT = 1
# key: Hash of a text as a signed number. data: (tokens, width) float16. crc: CRC-32 of
# the data, since SQLite has no checksums of its own.
TABLES = {
    "targets": "(key INTEGER PRIMARY KEY, crc INTEGER, data BLOB)",
    "reduction": "(mean BLOB, axes BLOB, crc INTEGER)",
    "about": "(settings TEXT, n_bytes INTEGER)",
}


class StoreError(InputError):
    """The targets can't be read or written, though they may be later."""


class DamagedStoreError(StoreError):
    """The database is what no process has written; a new one has to take its place."""


def damaged(folder: Path, reason: str) -> DamagedStoreError:
    """Return the error of a damaged database."""
    return DamagedStoreError(
        f"{folder}: {DATABASE} is damaged ({reason}); its targets are computed again"
    )


def failed(reason: str) -> StoreError:
    """Return the error of a database that can't be read or written."""
    return StoreError(
        f"targets: {reason}; check free space and permissions, lower max_cache_gb "
        "or name another cache_dir"
    )


@contextmanager
def database_errors(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite into one line."""
    try:
        yield
    except MemoryError as err:
        # Of SQLite, which was asked for what a damaged size says.
        raise damaged(folder, "a size in it is too large") from err
    except (sqlite3.DatabaseError, UnicodeDecodeError) as err:
        # Of errors of operation, those of a statement or a text are the tables' fault.
        code = getattr(err, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        is_ours = isinstance(err, sqlite3.OperationalError)
        if is_ours and code != sqlite3.SQLITE_ERROR:
            raise failed(f"{folder}: {err}") from err
        raise damaged(folder, one_line(err)) from err


def check_database(database: sqlite3.Connection, folder: Path, settings: str) -> None:
    """Make the tables of a new database, or compare what it was made with.

    settings: What decides about the targets, as text.
    Raises: InputError, if it was made with other settings or in another format;
    DamagedStoreError; an error of SQLite.
    """
    # What SQLite advises for databases of strangers.
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    [[found]] = database.execute("PRAGMA user_version")
    if found == 0:
        _create(database, folder, settings)
    elif found != FORMAT:
        raise InputError(
            f"{folder}: has format {found}, but {FORMAT} is read; delete the "
            "folder, so that the targets are computed again"
        )
    # Views and triggers of a stranger would run as part of our queries.
    schema = {(name, f"CREATE TABLE {name} {x}") for name, x in TABLES.items()}
    if schema != {*database.execute("SELECT name, sql FROM sqlite_master")}:
        raise damaged(folder, "its tables are not those of targets")
    query = "SELECT settings, n_bytes FROM about LIMIT 2"
    about = database.execute(query).fetchall()
    if [tuple(map(type, row)) for row in about] != [(str, int)] or about[0][1] < 0:
        raise damaged(folder, "it does not say how it was made")
    made_with = about[0][0]
    if made_with != settings:
        raise InputError(
            f"{folder}: was made with other settings "
            f"({' '.join(made_with.split())[:500]}, not {settings}); name another "
            "cache_dir"
        )


def _create(database: sqlite3.Connection, folder: Path, settings: str) -> None:
    with database:
        database.execute("BEGIN IMMEDIATE")
        names = database.execute("SELECT name FROM sqlite_master").fetchall()
        if not {name for [name] in names} <= TABLES.keys():
            raise damaged(folder, "it is a database of something else")
        for name, columns in TABLES.items():
            database.execute(f"CREATE TABLE IF NOT EXISTS {name} {columns}")
        database.execute(
            "INSERT INTO about SELECT ?, 0 WHERE NOT EXISTS (SELECT * FROM about)",
            [settings],
        )
        database.execute(f"PRAGMA user_version = {FORMAT}")


def set_aside(folder: Path) -> None:
    """Rename the files of a damaged database, so that a new one can take their place.

    Raises: StoreError.
    """
    for ending in ("", "-journal", "-wal", "-shm"):
        path = folder / f"{DATABASE}{ending}"
        try:
            path.replace(folder / f"damaged.{path.name}")
        except FileNotFoundError:
            continue
        except OSError as err:
            raise failed(describe_os_error(err, path)) from err
