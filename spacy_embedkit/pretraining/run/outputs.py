"""Files of a run, and what is in the way of it."""

import re
from pathlib import Path
from typing import Any, Dict, List, Sequence

import srsly

from ...checks import InputError
from . import checkpoint
from .checkpoint import write_or_stop

BEST, LAST = "model-best.bin", "model-last.bin"
LOG, CONFIG, PICTURE, PAGE = "log.jsonl", "config.cfg", "loss.svg", "report.html"
_OWN = re.compile(
    r"checkpoint(\.previous)?\.bin|model(-best|-last|\d+(\.temp)?)\.bin|log\.jsonl"
    r"|config\.cfg|loss\.svg|report\.html|\..*\.(partial|fresh)"
)


class Outputs:
    """The folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, *, resume: bool, force: bool) -> None:
        """Raise InputError if something is there that is neither wanted nor replaced.

        resume: There may be an earlier part of the run.
        force: What is there of a run will be removed.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder}: is a file; name a folder to write")
        found = self._found()
        names = {path.name for path in found}
        has_run = bool(names & {checkpoint.NAME, checkpoint.PREVIOUS})
        if force or (resume and has_run):
            return
        if has_run:
            raise InputError(
                f"{self.folder}: holds a run; go on with it by --resume, replace it by "
                "--force, or name a new folder"
            )
        if any(not name.startswith(".") for name in names):
            raise InputError(
                f"{self.folder}: holds other files; name a new folder, or give --force "
                "to write beside them"
            )

    def clear(self) -> None:
        """Make the folder, and remove what an earlier run left there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self._found():
            if _OWN.fullmatch(path.name) and path.is_file():
                path.unlink()

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole."""
        write_or_stop(self.folder / name, data)

    def write_best(self, weights: bytes | None) -> None:
        """Write model-best.bin, or see to it that there is none."""
        if weights is None:
            (self.folder / BEST).unlink(missing_ok=True)
        else:
            self.write(BEST, weights)

    def write_log(self, rows: Sequence[Dict[str, Any]]) -> None:
        """Write the log anew: it never has a line twice or half a line."""
        lines = [srsly.json_dumps(row) + "\n" for row in rows]
        self.write(LOG, "".join(lines).encode("utf8"))

    def _found(self) -> List[Path]:
        return list(self.folder.iterdir()) if self.folder.is_dir() else []
