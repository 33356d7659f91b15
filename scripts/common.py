"""What the scripts of the project share: errors in one line, options, sources."""

import argparse
import fnmatch
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from spacy_embedkit.checks import InputError
from spacy_embedkit.io import describe_os_error


def run_main(main: Callable[[], None]) -> None:
    """Call main and turn a foreseen error into one line and exit status 1."""
    # A polite kill cleans up like Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except InputError as err:
        sys.exit(f"error: {err}")
    except OSError as err:
        sys.exit(f"error: {describe_os_error(err)}")
    except KeyboardInterrupt:
        sys.exit("error: stopped by a signal; run again to go on")


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


def read_source(spec: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file that spec names.

    spec (str): A path, or ARCHIVE!PATTERN for the members of a wheel or zip.
    """
    archive, _, pattern = spec.partition("!")
    path = Path(archive)
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the step that makes it first")
    if not pattern:
        yield str(path), decode(path.read_bytes(), str(path))
        return
    try:
        with zipfile.ZipFile(path) as file:
            names = sorted(fnmatch.filter(file.namelist(), pattern))
            if not names:
                raise InputError(f"{path}: holds no file that matches {pattern}")
            for name in names:
                yield name, decode(file.read(name), name)
    except zipfile.BadZipFile as err:
        raise InputError(f"{path}: not a zip archive ({err}); delete it") from err


def decode(data: bytes, name: str) -> str:
    """Decode UTF-8, naming the byte that is not."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise InputError(
            f"{name}: byte {err.start} is not UTF-8; convert the file to UTF-8"
        ) from err
