"""Atomic writes, msgpack, and one-line errors of the file system."""

import gc
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, Collection, Iterator, Tuple, Union, cast

import srsly

from .checks import InputError, one_line
from .locks import create_locked, exclusive, remove_unlocked

# Files that an error names, of those that would be lost.
MAX_NAMES = 5
# Of renameat2(2): paths are relative to the working directory, and are swapped.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


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

    Of several processes that write it at once, the last one wins. What killed ones
    left next to it is removed.
    Raises: OSError from the system.
    """
    _remove_left(path)

    def create() -> Tuple[BinaryIO, Path]:
        partial = _private(path, "partial")
        return partial.open("xb"), partial

    file, partial = create_locked(create)
    try:
        with file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            # Once it is closed, others may take it for what a killed process left.
            if os.name != "nt":
                partial.replace(path)
        if os.name == "nt":
            partial.replace(path)
        _sync(path.parent)
    except BaseException:
        # A second error must not hide this one.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _private(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.{kind}")


def _find_left(path: Path, kind: str) -> list[Path]:
    """Return what writers of path, running or killed, have next to it."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.{kind}")
    with suppress(OSError):
        return [other for other in path.parent.iterdir() if name.fullmatch(other.name)]
    return []


def _remove_left(path: Path) -> None:
    for partial in _find_left(path, "partial"):
        if partial.is_file():
            remove_unlocked(partial)


def _sync(path: Path) -> None:
    # Otherwise a power failure may take a new name, or what is in a file, back.
    if os.name != "nt":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_output(
    folder: Path, *, replaces: str, holds: Collection[str], force: bool = False
) -> None:
    """Raise InputError unless a folder can be made there, or replaced.

    replaces: A file that all folders made by the same command have. holds: Patterns
        of all files that they have, by their paths in the folder.
    force: Whether any other folder may be replaced, too, with all that is in it.
    """
    if folder.is_symlink():
        raise InputError(f"{folder}: is a symbolic link; name the folder itself")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if (folder / replaces).exists():
        lost = list(_find_others(folder, "", holds))
    else:
        lost = sorted(path.name for path in folder.iterdir())
    if lost:
        refuse_loss(folder, lost, force)


def refuse_loss(folder: Path, lost: Collection[str], force: bool) -> None:
    """Raise InputError, which names what would be lost, unless that is wanted.

    The folder that a command runs in, or the user's, is never replaced.
    """
    around = folder.resolve()
    for inside in (Path.cwd(), Path.home()):
        if force and (around == inside or around in inside.parents):
            raise InputError(f"{folder}: has {inside} in it; name another folder")
    if not force:
        more = f" and {len(lost) - MAX_NAMES} more" if len(lost) > MAX_NAMES else ""
        raise InputError(
            f"{folder}: holds other files, which would be lost "
            f"({', '.join([*lost][:MAX_NAMES])}{more}); name a new folder, or give "
            "--force"
        )


def _find_others(folder: Path, inner: str, holds: Collection[str]) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        name = f"{inner}{path.name}"
        if any(fnmatchcase(name, pattern) for pattern in holds):
            continue
        is_folder = path.is_dir() and not path.is_symlink()
        if is_folder and any(pattern.startswith(f"{name}/") for pattern in holds):
            yield from _find_others(path, f"{name}/", holds)
        else:
            yield name


@contextmanager
def atomic_folder(target: Union[str, Path]) -> Iterator[Path]:
    """Yield an empty folder next to target; it becomes target if the body succeeds.

    What killed runs left there is removed first. An OSError becomes an InputError, and
    so does another process that is writing the same target.
    """
    target = Path(target).absolute()
    partial = _private(target, "partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(target) as is_locked:
            if is_locked:
                _recover(target)
            partial.mkdir()
            try:
                yield partial
                _publish(partial, target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as err:
        raise InputError(
            f"could not write {target} ({describe_os_error(err)}); check free space "
            "and permissions, then run again"
        ) from err


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder next to target, where there is room, for temporary files.

    It is removed at the end; what killed runs left is removed first.
    Raises: OSError from the system.
    """
    for left in _find_left(target, "work"):
        if remove_unlocked(left / "lock"):
            shutil.rmtree(left, ignore_errors=True)

    def create() -> Tuple[BinaryIO, Path]:
        folder = _private(target, "work")
        folder.mkdir(parents=True)
        return (folder / "lock").open("xb"), folder / "lock"

    file, lock = create_locked(create)
    folder = lock.parent
    try:
        with file:
            try:
                (folder / "files").mkdir()
                yield folder / "files"
            finally:
                # The lock goes last: without it, nobody would remove the rest.
                shutil.rmtree(folder / "files", ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _recover(target: Path) -> None:
    """Undo what killed runs left; the caller has the lock of target."""
    for old in _find_left(target, "old"):
        # Killed between the two steps of _publish.
        if not target.exists():
            old.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    for partial in _find_left(target, "partial"):
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, target: Path) -> None:
    for path in partial.rglob("*"):
        if not path.is_symlink():
            _sync(path)
    if not target.exists():
        partial.replace(target)
    elif not _exchange(partial, target):
        old = _private(target, "old")
        target.replace(old)
        partial.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    _sync(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; return False where the system can't."""
    # Python has no function for it.
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    paths = [os.fsencode(path) for path in (one, other)]
    status = renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    return cast(int, status) == 0


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
