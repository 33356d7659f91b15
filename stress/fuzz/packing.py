"""Several named files as one string of bytes, which a fuzzer can change."""

import re
from pathlib import Path
from typing import Dict


class SkipError(Exception):
    """The bytes are not even a candidate: the fuzzer has cut through the packing."""


def pack(files: Dict[str, bytes]) -> bytes:
    """Join files by name; a name has up to 255 bytes."""
    parts = []
    for name, data in files.items():
        head = name.encode()
        parts += [bytes([len(head)]), head, len(data).to_bytes(4, "little"), data]
    return b"".join(parts)


def unpack(data: bytes) -> Dict[str, bytes]:
    """Split what pack has joined; SkipError if it is not whole."""
    files: Dict[str, bytes] = {}
    at = 0
    while at < len(data):
        size = data[at]
        name = data[at + 1 : at + 1 + size]
        at += 1 + size
        length = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + length > len(data):
            raise SkipError
        # As in the seeds, and never outside of the folder.
        if not re.fullmatch(rb"\w+([./]\w+)*", name):
            raise SkipError
        files[name.decode()] = data[at : at + length]
        at += length
    return files


def pack_folder(folder: Path) -> bytes:
    """Join all files below a folder by their paths in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return pack({p.relative_to(folder).as_posix(): p.read_bytes() for p in paths})


def write_folder(files: Dict[str, bytes], folder: Path) -> None:
    """Write files to a folder; their names come from a seed and are never changed."""
    for name, data in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another file of that name may be mapped still.
            path.unlink(missing_ok=True)
            path.write_bytes(data)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as err:
            raise SkipError from err
