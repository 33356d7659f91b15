"""What every script of the project shares: errors in one line, whole outputs."""

import argparse
import fnmatch
import hashlib
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EXTRA = "pip install 'spacy-embedkit[project]'"
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM")
# Read when numpy is loaded, so a process must have them before it imports spaCy.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES}


class ProjectError(Exception):
    """A trouble that the user can mend; its text is the one line they read."""


def run_main(main: Callable[[], None]) -> None:
    """Call main and turn a foreseen trouble into one line and exit status 1."""
    # A polite kill cleans up like Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except ProjectError as err:
        sys.exit(f"error: {err}")
    except OSError as err:
        sys.exit(f"error: {describe_os_error(err)}")
    except KeyboardInterrupt:
        sys.exit("error: stopped by a signal; run again to go on")


def describe_os_error(err: OSError, path: object = None) -> str:
    """Say in one line what the system refused, and for which file."""
    reason = err.strerror or str(err)
    where = err.filename or path
    return f"{where}: {reason}" if where else reason


def parser_for(description: str | None) -> argparse.ArgumentParser:
    """Make the argument parser that all scripts start from."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def positive(text: str) -> int:
    """Read an option that has to be a whole number of 1 or more."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; give a whole number of 1 or more"
        )
    return int(text)


def remove(path: Path) -> None:
    """Delete a file or a whole directory, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def whole_output(target: Path) -> Iterator[Path]:
    """Yield a name beside target; it becomes target only if the body succeeds.

    The body writes a file or makes a directory under that name.
    """
    partial = target.with_name(f".{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove(partial)
    try:
        yield partial
        replace(partial, target)
    except OSError as err:
        raise ProjectError(
            f"could not write {target} ({describe_os_error(err)}); "
            "check free space and permissions, then run again"
        ) from err
    finally:
        remove(partial)


def replace(source: Path, target: Path) -> None:
    """Move source to target, also over a directory, which replacing refuses."""
    if target.is_dir():
        old = target.with_name(f".{target.name}.old")
        remove(old)
        target.replace(old)
        source.replace(target)
        remove(old)
    else:
        source.replace(target)


def sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Refuse a file that is not the one whose hash the project names."""
    found = sha256(path)
    if found != expected:
        raise ProjectError(
            f"{path}: sha256 is {found}, but {expected} was expected; "
            "delete the file to download it anew, or mend the hash in project.yml"
        )


def read_source(spec: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file that spec names.

    spec (str): A path, or ARCHIVE!PATTERN for the members of a wheel or zip.
    """
    archive, _, pattern = spec.partition("!")
    path = Path(archive)
    if not path.is_file():
        raise ProjectError(f"{path}: no such file; run the step that makes it first")
    if not pattern:
        yield str(path), decode(path.read_bytes(), str(path))
        return
    try:
        with zipfile.ZipFile(path) as file:
            names = sorted(fnmatch.filter(file.namelist(), pattern))
            if not names:
                raise ProjectError(f"{path}: holds no file that matches {pattern}")
            for name in names:
                yield name, decode(file.read(name), name)
    except zipfile.BadZipFile as err:
        raise ProjectError(f"{path}: not a zip archive ({err}); delete it") from err


def decode(data: bytes, name: str) -> str:
    """Decode UTF-8, naming the byte that is not."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise ProjectError(
            f"{name}: byte {err.start} is not UTF-8; convert the file to UTF-8"
        ) from err
