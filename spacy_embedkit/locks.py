"""Locks on files, which the system frees when a process ends, killed or not."""

import errno
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, Tuple

from .checks import InputError

# What locking fails with where another process has the lock.
_LOCKED = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)


def try_lock(file: Any) -> bool:
    """Lock a file for this process; return False if another process has the lock.

    file: Open for writing; the lock is kept until it is closed.
    Raises: OSError where the file system has no locks.
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
    except OSError as err:
        if err.errno in _LOCKED:
            return False
        raise
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Keep other processes that ask for it from writing a file or folder meanwhile.

    The lock is an empty file next to path, which exists while the body runs; that of a
    killed process keeps nobody out. Yields False where the file system has no locks.
    Raises: InputError if another process is writing; OSError from the system.
    """
    lock = path.with_name(f".{path.name}.lock")
    while True:
        file = lock.open("ab")
        try:
            is_locked = try_lock(file)
        except OSError:
            is_locked = False
            break
        if not is_locked:
            file.close()
            raise InputError(
                f"{path}: another command is writing it; wait for it, or name another"
            )
        if is_same(file, lock):
            break
        # Its last owner has just removed it.
        file.close()
    try:
        yield is_locked
    finally:
        if os.name == "nt":
            file.close()
        with suppress(OSError):
            if lock.stat().st_size == 0:
                lock.unlink()
        file.close()


def create_locked(
    create: Callable[[], Tuple[BinaryIO, Path]],
) -> Tuple[BinaryIO, Path]:
    """Create a file that remove_unlocked leaves alone until it is closed.

    create: Opens a new file, of another name each time, and returns it with its path.
    """
    while True:
        file, path = create()
        try:
            is_locked = try_lock(file)
        except OSError:
            # Without locks, nothing is removed.
            return file, path
        if is_locked and is_same(file, path):
            return file, path
        # Taken for a left one, and removed, before it was locked.
        file.close()


def is_same(file: Any, path: Path) -> bool:
    """Return whether an open file is the one that has this path now."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def remove_unlocked(path: Path) -> bool:
    """Delete a file unless a process has locked it; return whether it is gone."""
    with suppress(OSError):
        if os.name == "nt":
            # The system keeps files that are open.
            path.unlink(missing_ok=True)
            return True
        with path.open("r+b") as file:
            if try_lock(file) and is_same(file, path):
                path.unlink(missing_ok=True)
                return True
    return False
