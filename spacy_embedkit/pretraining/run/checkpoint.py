"""The file a run continues from: whole, checked, and with its predecessor kept.

A magic line, the version, the length of the body, its BLAKE2b digest, and the body in
msgpack. Reading it runs no code.
"""

import hashlib
import os
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import srsly

from ...checks import InputError
from ...io import describe_os_error, write_atomic

NAME = "checkpoint.bin"
PREVIOUS = "checkpoint.previous.bin"
MAGIC = b"spacy-embedkit pretraining\n"
VERSION = 1
# Version, length of the body, digest of the body.
HEADER = struct.Struct("<IQ32s")

State = Dict[str, Any]


def write_or_stop(path: Path, *parts: bytes) -> None:
    """Write a file of a run, whole.

    Raises: InputError if the system refuses.
    """
    try:
        write_atomic(path, *parts)
    except OSError as err:
        raise InputError(
            f"could not write {path} ({describe_os_error(err)}); the last checkpoint "
            "is whole: make room or give permission, then --resume"
        ) from err


class Checkpoints:
    """The two last checkpoints of a run in a folder.

    warn: Called with a line of text if the last one is damaged.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._last = folder / NAME
        self._previous = folder / PREVIOUS
        self._warn = warn
        self._is_good = False

    def save(self, state: State) -> None:
        """Write a checkpoint; the last one becomes the previous one."""
        body = srsly.msgpack_dumps(state)
        digest = hashlib.blake2b(body, digest_size=32).digest()
        header = MAGIC + HEADER.pack(VERSION, len(body), digest)
        fresh = self._last.with_name(f".{NAME}.fresh")
        write_or_stop(fresh, header, body)
        try:
            # A damaged one must not take the place of a good one.
            if self._is_good and self._last.exists():
                self._last.replace(self._previous)
            fresh.replace(self._last)
            _sync_folder(self._last.parent)
        except OSError as err:
            raise InputError(
                f"could not write {self._last} ({describe_os_error(err)}); "
                "give permission, then --resume"
            ) from err
        self._is_good = True

    def load(self) -> Optional[State]:
        """Return the last checkpoint that is whole, or None if there is none at all.

        Raises: InputError if there are only damaged ones, or of another version.
        """
        trouble = None
        for path in (self._last, self._previous):
            if not path.exists():
                continue
            try:
                state = _read(path)
            except InputError as err:
                trouble = trouble or err
                continue
            if trouble is not None:
                self._warn(f"{trouble}; going on from {path.name}, the one before")
            self._is_good = path == self._last
            return state
        if trouble is not None:
            raise InputError(f"{trouble}; there is no other: begin anew with --force")
        return None


def _read(path: Path) -> State:
    data = path.read_bytes()
    start = len(MAGIC) + HEADER.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise InputError(f"{path}: is no whole checkpoint of spacy embedkit pretrain")
    version, length, digest = HEADER.unpack_from(data, len(MAGIC))
    if version != VERSION:
        raise InputError(
            f"{path}: has version {version}, but this spacy-embedkit reads {VERSION}"
        )
    body = memoryview(data)[start:]
    if len(body) != length:
        raise InputError(f"{path}: has {len(body)} bytes of {length}")
    if hashlib.blake2b(body, digest_size=32).digest() != digest:
        raise InputError(f"{path}: is damaged (its checksum differs)")
    return srsly.msgpack_loads(body.tobytes())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
