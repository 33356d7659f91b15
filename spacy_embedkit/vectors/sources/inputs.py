"""Open the file that the user named, unpacked, or standard input."""

import atexit
import functools
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, Optional, Tuple, cast

from ...checks import InputError
from ...io import describe_os_error
from ...locks import create_locked, remove_unlocked
from .unpacking import (
    BUFFER,
    ZIP,
    Opener,
    decompressed,
    decompressor,
    is_npz,
    is_tar,
    open_packed,
    tar_member,
    zip_member,
)

# Holds the first lines of any table; the format is detected from it.
HEAD_BYTES = 1 << 20
STANDARD_INPUT = "standard input"
PREFIX = "spacy-embedkit.input-"


@dataclass(frozen=True)
class Input:
    """One file of vectors, out of its archive and decompressed.

    label: Its name in messages, such as "wiki.zip!wiki.vec" or "standard input".
    head: Its first bytes, up to HEAD_BYTES.
    open: Opens it for reading from the start, decompressing on the way.
    local: Returns a file on disk with the same content, which is only read; the data
        is unpacked to a temporary file if it is packed.
    """

    label: str
    head: bytes
    open: Callable[[], BinaryIO]
    local: Callable[[], Path]


def open_input(path: str, member: Optional[str] = None) -> Input:
    """Find the one file of vectors in a file that may be an archive or compressed.

    path: A file, or "-" for standard input, which is saved to a temporary file.
    member: Name of the file in an archive; needed if there are several.
    Raises: InputError, also from the streams it opens, if data is broken or cut off.
    """
    label = path if path != "-" else STANDARD_INPUT
    file = _check_file(path) if path != "-" else _save(sys.stdin.buffer, label)
    size = file.stat().st_size
    open_file = cast(Callable[[], BinaryIO], functools.partial(file.open, "rb"))
    head = _read_head(label, open_file)
    opener: Optional[Opener] = None
    if head.startswith(ZIP) and not is_npz(label, file):
        label, opener = zip_member(label, file, member)
    elif is_tar(file, head):
        label, opener = tar_member(label, file, member)
    elif member is not None:
        raise InputError(
            f"{label}: is not an archive, so it has no member {member!r}; name the "
            "file alone"
        )
    if opener is not None:
        head = _read_head(label, functools.partial(open_packed, label, size, opener))
    if decompress := decompressor(head):
        opener = decompressed(decompress, opener or (lambda parts: open_file()))
        head = _read_head(label, functools.partial(open_packed, label, size, opener))
        if decompressor(head):
            raise InputError(
                f"{label}: is compressed more than once; unpack it, and name the file"
            )
    if opener is None:
        return Input(label, head, open_file, lambda: file)
    open_stream = functools.partial(open_packed, label, size, opener)

    def local() -> Path:
        with open_stream() as stream:
            return _save(stream, label)

    return Input(label, head, open_stream, functools.cache(local))


def _read_head(label: str, open_stream: Callable[[], BinaryIO]) -> bytes:
    with open_stream() as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        raise InputError(f"{label}: is empty; check how it was made or copied")
    return head


def _check_file(path: str) -> Path:
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISREG(mode):
            Path(path).open("rb").close()
    except OSError as err:
        raise InputError(
            f"{describe_os_error(err, path)}; check the name and the permissions"
        ) from err
    except ValueError as err:
        raise InputError(f"{path!r}: {err}; check the name") from err
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; name the file in it")
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path}: is a pipe or a device, not a file; send its data to standard "
            "input, and name it -"
        )
    return Path(path)


def _save(stream: BinaryIO, label: str) -> Path:
    """Save a stream to a temporary file, which is deleted when the process ends.

    What killed processes left is deleted first.
    """
    folder = tempfile.gettempdir()
    for left in Path(folder).glob(f"{PREFIX}*"):
        remove_unlocked(left)

    def create() -> Tuple[BinaryIO, Path]:
        handle, name = tempfile.mkstemp(prefix=PREFIX, dir=folder)
        return os.fdopen(handle, "wb"), Path(name)

    out, path = create_locked(create)
    # Closed earlier, it would look like what a killed process left.
    atexit.register(_discard, out, path)
    try:
        shutil.copyfileobj(stream, out, BUFFER)
        out.flush()
    except BaseException as err:
        _discard(out, path)
        if isinstance(err, OSError):
            raise InputError(
                f"{label}: could not be saved to {folder} ({describe_os_error(err)}); "
                "make room, or set TMPDIR to another folder"
            ) from err
        raise
    return path


def _discard(file: BinaryIO, path: Path) -> None:
    with suppress(OSError):
        file.close()
    path.unlink(missing_ok=True)
