"""Streams of unpacked data: compressed files and the members of archives.

No member of an archive is ever written under its own name.
"""

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, cast

from ...checks import InputError

BUFFER = 1 << 20
# Data that unpacks to more than both is taken for a zip bomb.
MAX_RATIO, MAX_BYTES = 200, 100_000_000
# Files that an error names, and that a tar archive may hold: each takes memory.
MAX_NAMES, MAX_MEMBERS = 10, 100_000
_COMPRESSED: Dict[bytes, Callable[..., Any]] = {
    rb"\x1f\x8b\x08": gzip.open,
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": bz2.open,
    rb"\xfd7zXZ\x00": lzma.open,
}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What the libraries raise on broken data.
_BROKEN = (
    EOFError,
    OSError,
    MemoryError,
    OverflowError,
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


def open_packed(label: str, packed: int, opener: Opener) -> BinaryIO:
    """Open a stream of unpacked bytes; the file on disk has `packed` bytes."""
    with unpacking(label), ExitStack() as parts:
        stream = parts.enter_context(opener(parts))
        raw = _Unpacked(label, packed, stream, parts.pop_all())
    return cast(BinaryIO, io.BufferedReader(raw, BUFFER))


def decompressor(head: bytes) -> Optional[Callable[..., Any]]:
    """Return what opens data that begins like this, or None if it is not compressed."""
    return next((f for magic, f in _COMPRESSED.items() if re.match(magic, head)), None)


def decompressed(decompress: Callable[..., Any], packed: Opener) -> Opener:
    """Decompress the stream of another opener."""

    def opener(parts: ExitStack) -> BinaryIO:
        return cast(BinaryIO, decompress(parts.enter_context(packed(parts)), "rb"))

    return opener


def is_npz(label: str, file: Path) -> bool:
    """Return whether a zip archive is one of numpy's."""
    with unpacking(label), zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def is_tar(file: Path, head: bytes) -> bool:
    """Return whether a file that begins like this is a tar archive, maybe compressed.

    Other data could be taken for that of an old program which asks for much memory.
    """
    try:
        if decompressor(head) is None:
            tarfile.TarInfo.frombuf(head[:512], "utf8", "surrogateescape")
        return tarfile.is_tarfile(file)
    except _BROKEN:
        # Broken data that may be compressed: reading it finds the place.
        return False


def zip_member(label: str, file: Path, wanted: Optional[str]) -> tuple[str, Opener]:
    """Return label and opener of the only or the wanted file in a zip archive."""
    with unpacking(label), zipfile.ZipFile(file) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    name = _choose(label, names, wanted)

    def opener(parts: ExitStack) -> BinaryIO:
        archive = parts.enter_context(zipfile.ZipFile(file))
        return cast(BinaryIO, archive.open(name))

    return f"{label}!{name}", opener


def tar_member(label: str, file: Path, wanted: Optional[str]) -> tuple[str, Opener]:
    """Return label and opener of the only or the wanted file in a tar archive."""
    with unpacking(label), tarfile.open(file) as archive:
        members = _tar_members(label, file, archive)
    name = _choose(label, list(members), wanted)

    def opener(parts: ExitStack) -> BinaryIO:
        archive = parts.enter_context(tarfile.TarFile.open(file))
        return cast(BinaryIO, archive.extractfile(members[name]))

    return f"{label}!{name}", opener


def _tar_members(
    label: str, file: Path, archive: tarfile.TarFile
) -> Dict[str, tarfile.TarInfo]:
    members: Dict[str, tarfile.TarInfo] = {}
    limit = max(MAX_RATIO * file.stat().st_size, MAX_BYTES)
    for i, info in enumerate(archive):
        if i == MAX_MEMBERS or archive.offset > limit:
            raise InputError(
                f"{label}: unpacks to more than {MAX_RATIO} times the bytes of the "
                f"file, or more than {MAX_MEMBERS:,} files; unpack it yourself if you "
                "trust it"
            )
        if info.isreg():
            members[info.name] = info
    return members


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
