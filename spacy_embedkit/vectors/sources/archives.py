"""The one file in a zip or tar archive, as a stream.

No member of an archive is ever written under its own name.
"""

import re
import stat
import tarfile
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, List, Optional, cast

from ...checks import InputError
from .unpacking import BUFFER, Layer, open_unpacked, unpacking

MAX_NAMES = 10


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str


def is_tar(head: bytes) -> bool:
    """Whether this is the head of a tar archive, by the checksum of its first block."""
    try:
        return bool(tarfile.TarInfo.frombuf(head[:512], "utf8", "replace").name)
    except (tarfile.TarError, ValueError):
        return False


def is_zip(head: bytes) -> bool:
    """Whether this is the head of a zip archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_npz(shown: str, file: Path) -> bool:
    """Whether a zip archive is one of numpy's."""
    names = [member.name for member in _zip_members(shown, file)]
    return bool(names) and all(name.endswith(".npy") for name in names)


def zip_member(layer: Layer, file: Path, wanted: Optional[str], packed: int) -> Layer:
    """Return the one file in a zip archive, or the wanted one.

    file: The archive on disk.
    """
    members = _zip_members(layer.shown, file)
    i = _choose(layer.shown, members, wanted)
    shown = f"{layer.shown}!{members[i].name}"

    def open_in(parts: ExitStack) -> BinaryIO:
        archive = parts.enter_context(zipfile.ZipFile(file))
        return cast(BinaryIO, archive.open(archive.infolist()[i]))

    return Layer(shown, lambda: open_unpacked(shown, packed, open_in), members[i].size)


def tar_member(layer: Layer, wanted: Optional[str], packed: int) -> Layer:
    """Return the one file in a tar archive, or the wanted one."""
    with unpacking(layer.shown), ExitStack() as parts:
        members = [_tar_kind(info) for info in _open_tar(layer, parts)]
    i = _choose(layer.shown, members, wanted)
    shown = f"{layer.shown}!{members[i].name}"

    def open_in(parts: ExitStack) -> BinaryIO:
        archive = _open_tar(layer, parts)
        for place, info in enumerate(archive):
            if place == i:
                return cast(BinaryIO, archive.extractfile(info))
        raise EOFError("the archive is shorter than before")

    return Layer(shown, lambda: open_unpacked(shown, packed, open_in), members[i].size)


def _open_tar(layer: Layer, parts: ExitStack) -> tarfile.TarFile:
    stream = parts.enter_context(layer.open())
    return parts.enter_context(tarfile.open(fileobj=stream, mode="r|", bufsize=BUFFER))


def _tar_kind(info: tarfile.TarInfo) -> _Member:
    kind = "" if info.isreg() else "folder" if info.isdir() else "a link or a device"
    return _Member(info.name, info.size, "sparse" if info.issparse() else kind)


def _zip_members(shown: str, file: Path) -> List[_Member]:
    with unpacking(shown), zipfile.ZipFile(file) as archive:
        return [
            _Member(i.filename, i.file_size, _zip_kind(i)) for i in archive.infolist()
        ]


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if info.is_dir():
        return "folder"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "a link or a device"
    return "encrypted" if info.flag_bits & 1 else ""


def _choose(shown: str, members: List[_Member], wanted: Optional[str]) -> int:
    # Returns the place of the member to read, once all of them are harmless.
    for member in members:
        parts = re.split(r"[/\\]", member.name)
        if not parts[0] or ".." in parts or re.match("[A-Za-z]:", member.name):
            kind = "a path out of the archive"
        else:
            kind = member.kind
        if kind not in ("", "folder"):
            raise InputError(
                f"{shown}: its member {member.name!r} is {kind}; unpack it yourself if "
                "you trust it, and name the file"
            )
    files = [i for i, member in enumerate(members) if not member.kind]
    if wanted is not None:
        files = [i for i in files if members[i].name == wanted]
    else:
        # macOS adds files that begin with "._".
        files = [i for i in files if not Path(members[i].name).name.startswith("._")]
    if len(files) == 1 or (files and wanted is not None):
        return files[0]
    names = [member.name for member in members if not member.kind]
    if not names:
        raise InputError(f"{shown}: holds no files; name another archive or file")
    listed = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    what = f"holds {len(names)} files" if wanted is None else f"has no file {wanted!r}"
    raise InputError(f"{shown}: {what}; choose a member of it, one of: {listed}")
