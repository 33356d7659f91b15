"""Files in and out: complete or not there at all, locked, with errors of one line."""

import os
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, Union

from .checks import InputError


def describe_os_error(err: OSError, path: object = None) -> str:
    """Say in one line what the system refused, and for which file."""
    reason = err.strerror or str(err)
    where = err.filename or path
    return f"{where}: {reason}" if where else reason


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomic(path: Path, *parts: bytes) -> None:
    """Write a file that is all there, on the disk, or as it was before.

    Raises: OSError if the system refuses.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        # What went wrong is what the user has to know, not what comes after it.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def check_output(folder: Path, *, replaces: str) -> None:
    """Raise InputError unless a folder can be made there, or replaced.

    replaces: Name of a file that shows that the folder was made by the same command.
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
    """Yield an empty folder beside target; it becomes target if the body succeeds.

    A folder that a killed run left behind is removed first.
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
    # A folder that is not empty can't be replaced in one step.
    if target.exists():
        old = target.with_name(f".{target.name}.old")
        remove(old)
        target.replace(old)
        source.replace(target)
        remove(old)
    else:
        source.replace(target)


def try_lock(file: Any) -> bool:
    """Lock a file for this process; return False if another one has it.

    file: Open for writing; the lock is kept until it is closed.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            # A byte far behind the end: one that is locked can't be read by others.
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
