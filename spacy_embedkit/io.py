"""Atomic writes, locks, msgpack, and one-line errors of the file system."""

import gc
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, Union

import srsly

from .checks import InputError, one_line


def describe_os_error(err: OSError, path: object = None) -> str:
    """Describe an error of the system in one line, with the file it is about."""
    reason = err.strerror or str(err)
    where = err.filename or path
    return f"{where}: {reason}" if where else reason


def remove(path: Path) -> None:
    """Delete a file, or a folder with its contents, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomic(path: Path, *parts: bytes) -> None:
    """Write a file to the disk; if that fails, the file stays as it was.

    Raises: OSError from the system.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError:
        # A second error must not hide this one.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    # Otherwise a power failure may take the new name back.
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_output(folder: Path, *, replaces: str) -> None:
    """Raise InputError unless a folder can be made there, or replaced.

    replaces: A file that only folders made by the same command have.
    """
    if folder.is_symlink():
        raise InputError(f"{folder}: is a symbolic link; name the folder itself")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / replaces).exists():
        raise InputError(
            f"{folder}: holds other files, and would be replaced; name a new folder"
        )


@contextmanager
def atomic_folder(target: Union[str, Path]) -> Iterator[Path]:
    """Yield an empty folder next to target; it becomes target if the body succeeds.

    What a killed run left there is removed first. An OSError becomes an InputError.
    """
    target = Path(target).absolute()
    partial = target.with_name(f".{target.name}.partial")
    remove(partial)
    try:
        partial.mkdir(parents=True)
        yield partial
        _replace(partial, target)
    except OSError as err:
        raise InputError(
            f"could not write {target} ({describe_os_error(err)}); check free space "
            "and permissions, then run again"
        ) from err
    finally:
        remove(partial)


def _replace(source: Path, target: Path) -> None:
    # The system replaces only empty folders in one step.
    if target.exists():
        old = target.with_name(f".{target.name}.old")
        remove(old)
        target.replace(old)
        source.replace(target)
        remove(old)
    else:
        source.replace(target)


def try_lock(file: Any) -> bool:
    """Lock a file for this process; return False if another process has the lock.

    file: Open for writing; the lock is kept until it is closed.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            # A byte far after the end, since others can't read a locked byte.
            place = file.tell()
            file.seek(1 << 62)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(place)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def load_msgpack(data: bytes) -> Any:
    """Return what msgpack data hold: plain values, lists, dicts and numpy arrays.

    Raises: ValueError with one line for all that can be wrong with them.
    """
    was_on = gc.isenabled()
    try:
        return srsly.msgpack_loads(data)
    except Exception as err:
        # Types, lengths and arrays fail in many ways, some of them only in numpy.
        raise ValueError(one_line(err)[:80] or type(err).__name__) from err
    finally:
        # srsly leaves the garbage collector off after an error.
        if was_on:
            gc.enable()
