"""The folders of one try, and what is in them."""

import hashlib
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional


@dataclass(frozen=True)
class Place:
    """Where one command writes, and where its messages go.

    work: Holds the output, `out`, what is kept for later runs, and the folder for
        temporary files. logs: Messages of the command; never full or read-only.
    """

    root: Path

    @property
    def work(self) -> Path:
        """Folder of everything that the command writes."""
        return self.root / "work"

    @property
    def out(self) -> Path:
        """Output of the command."""
        return self.work / "out"

    @property
    def logs(self) -> Path:
        """Messages of the command."""
        return self.root / "logs"

    @property
    def temporary(self) -> Path:
        """Folder of the system's temporary files, as TMPDIR."""
        return self.work / "tmp"

    def make(self) -> "Place":
        """Make the folders, and return this."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(parents=True, exist_ok=True)
        return self

    def messages(self, name: str) -> str:
        """Return the messages of a process: on standard error, then output."""
        found = [self.logs / f"{name}.{stream}" for stream in ("err", "out")]
        texts = [path.read_text(errors="replace") for path in found if path.exists()]
        return "\n".join(texts)

    def names(self) -> list[str]:
        """Return all paths that are there, from work."""
        return sorted(str(path.relative_to(self.work)) for path in self._paths())

    def n_bytes(self) -> int:
        """Return what the files take."""
        return sum(path.stat().st_size for path in self._paths() if path.is_file())

    def _paths(self) -> list[Path]:
        return [path for path in self.work.rglob("*") if not path.is_dir()]


def digest(path: Path, without: str = "\0" * 9) -> Optional[str]:
    """Hash a file, or the names and contents in a folder; None if there is nothing.

    without: Path that is taken out of the contents.
    """
    if not path.exists():
        return None
    if path.is_file():
        data = path.read_bytes().replace(without.encode(), b"")
        return hashlib.blake2b(data, digest_size=16).hexdigest()
    parts = [
        f"{file.relative_to(path)} {digest(file, without)}"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[bool]:
    """Mount a tmpfs of this size in the place of a folder, with the folder's files.

    Yields: False, and changes nothing, where this process may not mount.
    """
    kept = folder.with_name(f"{folder.name} before")
    shutil.copytree(folder, kept)
    if not _mount("-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)):
        shutil.rmtree(kept)
        yield False
        return
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        shutil.rmtree(kept)
        yield True
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def resize_disk(folder: Path, n_bytes: int) -> None:
    """Give a disk of small_disk another size."""
    _mount("-o", f"remount,size={n_bytes}", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[bool]:
    """Forbid all writing in a folder; root too, so by a mount of the folder on itself.

    Yields: False, and changes nothing, where this process may not mount.
    """
    if not _mount("--bind", str(folder), str(folder)):
        yield False
        return
    try:
        yield _mount("-o", "remount,bind,ro", str(folder))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> bool:
    if shutil.which("mount") is None:
        return False
    return not subprocess.run(["mount", *arguments], capture_output=True).returncode
