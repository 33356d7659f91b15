"""Packed data as streams that word their errors and stop bombs."""

import atexit
import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, List, Optional, Tuple, cast

from ...checks import InputError
from ...io import describe_os_error

BUFFER = 1 << 20
# Data that unpacks to more than both is taken for a bomb.
MAX_RATIO, MAX_BYTES = 200, 100_000_000
_BROKEN = (
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
_COMPRESSED: List[Tuple["re.Pattern[bytes]", Callable[..., Any]]] = [
    (re.compile(rb"\x1f\x8b\x08"), gzip.open),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.open),
    (re.compile(rb"\xfd7zXZ\x00"), lzma.open),
]


@dataclass(frozen=True)
class Layer:
    """Something that can be read from its start, and may be packed itself.

    shown: How messages call it. size: Its bytes, if known without unpacking it.
    """

    shown: str
    open: Callable[[], BinaryIO]
    size: Optional[int] = None


@contextmanager
def unpacking(shown: str, done: int = 0) -> Iterator[None]:
    """Turn what the body raises on broken data into an InputError.

    done: Bytes that were unpacked before.
    """
    try:
        yield
    except InputError:
        raise
    except _BROKEN as err:
        raise InputError(
            f"{shown}: the packed data is broken or cut off, about {done:,} bytes into "
            f"what it unpacks to ({err or type(err).__name__}); get the file again"
        ) from err


class _Unpacked(io.RawIOBase):
    """A stream of unpacked bytes that words its errors and stops bombs."""

    def __init__(
        self, shown: str, packed: int, stream: BinaryIO, parts: ExitStack
    ) -> None:
        self._shown, self._packed = shown, packed
        self._stream, self._parts = stream, parts
        self._done = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there are bytes left."""
        with unpacking(self._shown, self._done):
            data = self._stream.read(len(buffer))
        self._done += len(data)
        if self._done > max(MAX_RATIO * self._packed, MAX_BYTES):
            raise InputError(
                f"{self._shown}: unpacks to more than {MAX_RATIO} times the "
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


def open_unpacked(
    shown: str, packed: int, open_in: Callable[[ExitStack], BinaryIO]
) -> BinaryIO:
    """Open a stream of unpacked bytes.

    packed: Bytes of the file on disk.
    open_in: Opens the stream, and leaves to the stack what has to be closed with it.
    """
    with unpacking(shown), ExitStack() as parts:
        stream = parts.enter_context(open_in(parts))
        raw = _Unpacked(shown, packed, stream, parts.pop_all())
    return cast(BinaryIO, io.BufferedReader(raw, BUFFER))


def decompressed(layer: Layer, head: bytes, packed: int) -> Optional[Layer]:
    """Return what is below gzip, bz2 or xz, if the head shows one of them."""
    openers = [opener for magic, opener in _COMPRESSED if magic.match(head)]
    if not openers:
        return None

    def open_in(parts: ExitStack) -> BinaryIO:
        return cast(BinaryIO, openers[0](parts.enter_context(layer.open()), "rb"))

    return Layer(layer.shown, lambda: open_unpacked(layer.shown, packed, open_in))


def spool(layer: Layer) -> Path:
    """Unpack to a temporary file, which is deleted when the process ends."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if layer.size is not None and layer.size > free:
        raise InputError(
            f"{layer.shown}: unpacks to {layer.size:,} bytes, but {folder} has "
            f"{free:,} free; make room, or set TMPDIR to another folder"
        )
    handle, name = tempfile.mkstemp(prefix="spacy-embedkit-", dir=folder)
    atexit.register(Path(name).unlink, missing_ok=True)
    try:
        with os.fdopen(handle, "wb") as out, layer.open() as stream:
            shutil.copyfileobj(stream, out, BUFFER)
    except BaseException as err:
        Path(name).unlink(missing_ok=True)
        if isinstance(err, OSError):
            raise InputError(
                f"{layer.shown}: could not be unpacked to {folder} "
                f"({describe_os_error(err)}); make room, or set TMPDIR"
            ) from err
        raise
    return Path(name)
