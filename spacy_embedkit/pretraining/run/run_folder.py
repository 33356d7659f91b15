"""The folder of a run: its results, and the two last checkpoints."""

import hashlib
import re
import struct
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import srsly

from ...checks import InputError
from ...io import load_msgpack, write_atomic

BEST, LAST = "model-best.bin", "model-last.bin"
LOG, CONFIG, PICTURE, PAGE = "log.jsonl", "config.cfg", "loss.svg", "report.html"
CHECKPOINT, PREVIOUS = "checkpoint.bin", "checkpoint.previous.bin"
_OWN = re.compile(
    r"checkpoint(\.previous)?\.bin|model(-best|-last|\d+(\.temp)?)\.bin|log\.jsonl"
    r"|config\.cfg|loss\.svg|report\.html|\..*\.(partial|fresh)"
)
# A checkpoint is msgpack after a header: magic, version, length and digest.
MAGIC = b"spacy-embedkit pretraining\n"
VERSION = 1
HEADER = struct.Struct(f"<{len(MAGIC)}sIQ32s")


class RunFolder:
    """The folder of a run.

    warn: Called with a line of text if the last checkpoint is damaged.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self._last_is_good = False

    def check(self, *, resume: bool, force: bool) -> None:
        """Raise InputError if there are files that must not be written over.

        resume: Whether an earlier part of the run is wanted.
        force: Whether to replace what is there.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; name a folder to write")
        names = {path.name for path in self._files()}
        has_run = bool(names & {CHECKPOINT, PREVIOUS})
        if force or (resume and has_run):
            return
        if has_run:
            raise InputError(
                f"{self.path}: holds a run; give --resume to continue it, --force to "
                "replace it, or name a new folder"
            )
        if any(not name.startswith(".") for name in names):
            raise InputError(
                f"{self.path}: holds other files; name a new folder, or give --force "
                "to write next to them"
            )

    def clear(self) -> None:
        """Make the folder, and remove the files of an earlier run."""
        self.path.mkdir(parents=True, exist_ok=True)
        for path in self._files():
            if _OWN.fullmatch(path.name) and path.is_file():
                path.unlink()

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is complete or as it was before."""
        write_atomic(self.path / name, data)

    def write_best(self, weights: Optional[bytes]) -> None:
        """Write model-best.bin; None removes it."""
        if weights is None:
            (self.path / BEST).unlink(missing_ok=True)
        else:
            self.write(BEST, weights)

    def write_log(self, rows: Sequence[Dict[str, Any]]) -> None:
        """Replace the log, so that it never has a line twice or in part."""
        lines = [srsly.json_dumps(row) + "\n" for row in rows]
        self.write(LOG, "".join(lines).encode("utf8"))

    def save_checkpoint(self, state: Dict[str, Any]) -> None:
        """Write a checkpoint; the last one becomes the previous one."""
        body = srsly.msgpack_dumps(state)
        last = self.path / CHECKPOINT
        # A damaged one must not take the place of a good one.
        if self._last_is_good and last.exists():
            last.replace(self.path / PREVIOUS)
        self._last_is_good = False
        write_atomic(last, _header(body), body)
        self._last_is_good = True

    def load_checkpoint(self) -> Optional[Dict[str, Any]]:
        """Return the last good checkpoint, or None if there is none at all.

        Raises: InputError if all are damaged, or of another version.
        """
        paths = [self.path / name for name in (CHECKPOINT, PREVIOUS)]
        damaged: List[str] = []
        for path in (path for path in paths if path.exists()):
            data = path.read_bytes()
            header, body = data[: HEADER.size], data[HEADER.size :]
            if header == _header(body):
                if damaged:
                    self._warn(f"{damaged[0]}; continuing from {path.name}")
                self._last_is_good = path.name == CHECKPOINT
                return self._unpack(path, body)
            damaged.append(
                f"{path}: is damaged, or not a checkpoint of this version of "
                "spacy-embedkit"
            )
        if damaged:
            raise InputError(f"{damaged[0]}; give --force to start again")
        return None

    def _unpack(self, path: Path, body: bytes) -> Dict[str, Any]:
        try:
            return load_msgpack(body)
        except ValueError as err:
            raise InputError(
                f"{path}: is not a checkpoint ({err}); give --force to start again"
            ) from err

    def _files(self) -> List[Path]:
        return list(self.path.iterdir()) if self.path.is_dir() else []


def what_is_left(folder: Path) -> str:
    """Say what a run that was stopped at any moment has left."""
    if any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS)):
        return "--resume continues from the last checkpoint"
    return "nothing was written, so run the same command again"


def _header(body: bytes) -> bytes:
    digest = hashlib.blake2b(body, digest_size=32).digest()
    return HEADER.pack(MAGIC, VERSION, len(body), digest)
