"""Open the file that the user named: in an archive, compressed, or standard input.

No member of an archive is ever written under its own name.
"""

import atexit
import bz2
import functools
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, cast

from ...checks import InputError
from ...io import describe_os_error

# Holds the first lines of any table; the format is detected from it.
HEAD_BYTES = 1 << 20
BUFFER = 1 << 20
# Data that unpacks to more than both is taken for a zip bomb.
MAX_RATIO, MAX_BYTES = 200, 100_000_000
MAX_NAMES = 10
STANDARD_INPUT = "standard input"
_COMPRESSED: Dict[bytes, Callable[..., Any]] = {
    rb"\x1f\x8b\x08": gzip.open,
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": bz2.open,
    rb"\xfd7zXZ\x00": lzma.open,
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What the libraries raise on broken data.
_BROKEN = (
    EOFError,
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
# Opens a stream, and leaves to the stack what has to be closed with it.
Opener = Callable[[ExitStack], BinaryIO]


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
    if head.startswith(_ZIP) and not _is_npz(label, file):
        label, opener = _zip_member(label, file, member)
    elif _is_tar(file):
        label, opener = _tar_member(label, file, member)
    elif member is not None:
        raise InputError(
            f"{label}: is not an archive, so it has no member {member!r}; name the "
            "file alone"
        )
    if opener is not None:
        head = _read_head(label, functools.partial(_open_packed, label, size, opener))
    if decompress := _decompressor(head):
        opener = _decompressed(decompress, opener or (lambda parts: open_file()))
        head = _read_head(label, functools.partial(_open_packed, label, size, opener))
        if _decompressor(head):
            raise InputError(
                f"{label}: is compressed more than once; unpack it, and name the file"
            )
    if opener is None:
        return Input(label, head, open_file, lambda: file)
    open_stream = functools.partial(_open_packed, label, size, opener)
    local = functools.cache(lambda: _save(open_stream(), label))
    return Input(label, head, open_stream, local)


@contextmanager
def unpacking(label: str, done: int = 0) -> Iterator[None]:
    """Turn what the body raises on broken data into an InputError.

    done: Bytes that were unpacked before.
    """
    try:
        yield
    except InputError:
        raise
    except _BROKEN as err:
        raise InputError(
            f"{label}: the packed data is broken or cut off, about {done:,} bytes into "
            f"what it unpacks to ({err or type(err).__name__}); get the file again"
        ) from err


class _Unpacked(io.RawIOBase):
    """A stream of unpacked bytes that turns errors into InputError and stops bombs."""

    def __init__(
        self, label: str, packed: int, stream: BinaryIO, parts: ExitStack
    ) -> None:
        self._label, self._packed = label, packed
        self._stream, self._parts = stream, parts
        self._done = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there are bytes left."""
        with unpacking(self._label, self._done):
            data = self._stream.read(len(buffer))
        self._done += len(data)
        if self._done > max(MAX_RATIO * self._packed, MAX_BYTES):
            raise InputError(
                f"{self._label}: unpacks to more than {MAX_RATIO} times the "
                f"{self._packed:,} bytes of the file; unpack it yourself if "
                "you trust it"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close all streams below."""
        if not self.closed:
            super().close()
            self._parts.close()


def _open_packed(label: str, packed: int, opener: Opener) -> BinaryIO:
    # packed: Bytes of the file on disk.
    with unpacking(label), ExitStack() as parts:
        stream = parts.enter_context(opener(parts))
        raw = _Unpacked(label, packed, stream, parts.pop_all())
    return cast(BinaryIO, io.BufferedReader(raw, BUFFER))


def _read_head(label: str, open_stream: Callable[[], BinaryIO]) -> bytes:
    with open_stream() as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        raise InputError(f"{label}: is empty; check how it was made or copied")
    return head


def _decompressor(head: bytes) -> Optional[Callable[..., Any]]:
    return next((f for magic, f in _COMPRESSED.items() if re.match(magic, head)), None)


def _decompressed(decompress: Callable[..., Any], packed: Opener) -> Opener:
    def opener(parts: ExitStack) -> BinaryIO:
        return cast(BinaryIO, decompress(parts.enter_context(packed(parts)), "rb"))

    return opener


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


def _is_npz(label: str, file: Path) -> bool:
    with unpacking(label), zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _is_tar(file: Path) -> bool:
    try:
        return tarfile.is_tarfile(file)
    except _BROKEN:
        # Broken data that may be compressed: reading it finds the place.
        return False


def _zip_member(label: str, file: Path, wanted: Optional[str]) -> tuple[str, Opener]:
    with unpacking(label), zipfile.ZipFile(file) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    name = _choose(label, names, wanted)

    def opener(parts: ExitStack) -> BinaryIO:
        archive = parts.enter_context(zipfile.ZipFile(file))
        return cast(BinaryIO, archive.open(name))

    return f"{label}!{name}", opener


def _tar_member(label: str, file: Path, wanted: Optional[str]) -> tuple[str, Opener]:
    with unpacking(label), tarfile.open(file) as archive:
        members = {info.name: info for info in archive if info.isreg()}
    name = _choose(label, list(members), wanted)

    def opener(parts: ExitStack) -> BinaryIO:
        archive = parts.enter_context(tarfile.TarFile.open(file))
        return cast(BinaryIO, archive.extractfile(members[name]))

    return f"{label}!{name}", opener


def _choose(label: str, names: List[str], wanted: Optional[str]) -> str:
    if wanted is not None:
        files = [name for name in names if name == wanted][:1]
    else:
        # macOS adds files that begin with "._".
        files = [n for n in names if not PurePosixPath(n).name.startswith("._")]
    if len(files) == 1:
        return files[0]
    if not names:
        raise InputError(f"{label}: holds no files; name another archive or file")
    listed = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    what = f"holds {len(names)} files" if wanted is None else f"has no file {wanted!r}"
    raise InputError(f"{label}: {what}; choose a member of it, one of: {listed}")


def _save(stream: BinaryIO, label: str) -> Path:
    """Save a stream to a temporary file, which is deleted when the process ends."""
    folder = tempfile.gettempdir()
    handle, name = tempfile.mkstemp(prefix="spacy-embedkit-", dir=folder)
    atexit.register(Path(name).unlink, missing_ok=True)
    try:
        with os.fdopen(handle, "wb") as out:
            shutil.copyfileobj(stream, out, BUFFER)
    except BaseException as err:
        Path(name).unlink(missing_ok=True)
        if isinstance(err, OSError):
            raise InputError(
                f"{label}: could not be saved to {folder} ({describe_os_error(err)}); "
                "make room, or set TMPDIR to another folder"
            ) from err
        raise
    return Path(name)
