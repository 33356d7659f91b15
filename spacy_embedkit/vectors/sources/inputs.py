"""What the user named, unpacked: a stream of bytes, a file on disk or a folder."""

import functools
import io
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional, cast

from ...checks import InputError
from ...io import describe_os_error
from .archives import is_npz, is_tar, is_zip, tar_member, zip_member
from .unpacking import BUFFER, Layer, decompressed, spool

# Holds the first lines of any table; formats are told apart by it.
HEAD_BYTES = 1 << 20
# A compressed archive with a compressed file in it has three.
MAX_LAYERS = 3
STANDARD_INPUT = "standard input"


@dataclass(frozen=True)
class Input:
    """One file of vectors, out of its archive and decompressed.

    shown: How messages call it, such as "wiki.zip!wiki.vec" or "standard input".
    head: Its first bytes, at most HEAD_BYTES; all of them if it is shorter.
    open: Opens it for reading from the start, decompressing on the way.
    local: Names a file on disk with the same content, which the caller only reads; it
        unpacks to a temporary file where that is needed.
    """

    shown: str
    head: bytes
    open: Callable[[], BinaryIO]
    local: Callable[[], Path]


def open_input(path: str, member: Optional[str] = None) -> Input:
    """Find the one file of vectors in what the user named.

    path: A file, maybe compressed or an archive, or "-" for standard input.
    member: Name of the file in an archive; needed if there are several.
    Raises: InputError, also from the streams it opens, if data is broken or cut off.
    """
    if path != "-":
        _check_file(path)
        return _unpack(Path(path), path, member)
    pipe = _Pipe(sys.stdin.buffer)
    head = _checked_head(STANDARD_INPUT, pipe.head)
    if is_zip(head) or is_tar(head) or decompressed(pipe.layer, head, 0):
        return _unpack(pipe.local(), STANDARD_INPUT, member)
    _check_no_member(STANDARD_INPUT, member)
    return Input(STANDARD_INPUT, head, pipe.open, pipe.local)


def _check_file(path: str) -> None:
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


def _checked_head(shown: str, head: bytes) -> bytes:
    if not head:
        raise InputError(f"{shown}: is empty; check how it was made or copied")
    return head


def _check_no_member(shown: str, member: Optional[str]) -> None:
    if member is not None:
        raise InputError(
            f"{shown}: is not an archive, so it has no member {member!r}; name the "
            "file alone"
        )


def _unpack(file: Path, shown: str, member: Optional[str]) -> Input:
    packed = file.stat().st_size
    layer = Layer(shown, lambda: file.open("rb"), packed)
    local: Callable[[], Path] = functools.partial(Path, file)
    for _ in range(MAX_LAYERS + 1):
        with layer.open() as stream:
            head = _checked_head(layer.shown, stream.read(HEAD_BYTES))
        below = decompressed(layer, head, packed)
        if below is None and is_tar(head):
            below, member = tar_member(layer, member, packed), None
        elif below is None and is_zip(head) and not is_npz(layer.shown, local()):
            below, member = zip_member(layer, local(), member, packed), None
        if below is None:
            _check_no_member(layer.shown, member)
            return Input(layer.shown, head, layer.open, local)
        layer, local = below, functools.cache(functools.partial(spool, below))
    raise InputError(
        f"{layer.shown}: is packed more than {MAX_LAYERS} times over; unpack it, and "
        "name the file"
    )


class _Pipe:
    """A stream that can be read once, with its first bytes looked at before."""

    def __init__(self, stream: BinaryIO) -> None:
        self.head = stream.read(HEAD_BYTES)
        self.layer = Layer(STANDARD_INPUT, self.open)
        self._stream = stream
        self._is_read = False
        self._spooled: Optional[Path] = None

    def open(self) -> BinaryIO:
        """Open it for the one time, or what local() has kept of it."""
        if self._spooled is not None:
            return self._spooled.open("rb")
        if self._is_read:
            raise InputError(
                f"{STANDARD_INPUT}: can be read only once; save it to a file, and name "
                "that"
            )
        self._is_read = True
        return cast(
            BinaryIO, io.BufferedReader(_Rejoined(self.head, self._stream), BUFFER)
        )

    def local(self) -> Path:
        """Save it to a temporary file."""
        if self._spooled is None:
            self._spooled = spool(self.layer)
        return self._spooled


class _Rejoined(io.RawIOBase):
    """First bytes and the rest of a stream, which is left open."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = io.BytesIO(head), rest

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there are bytes left."""
        data = self._head.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
