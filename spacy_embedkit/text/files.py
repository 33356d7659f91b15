"""Finds the files that folders and patterns stand for."""

import os
from glob import glob, has_magic
from pathlib import Path
from typing import Iterator, List, Sequence

from ..checks import InputError
from ..io import describe_os_error


def find_files(paths: Sequence[str]) -> List[str]:
    """Expand folders and patterns to the files they stand for, sorted.

    paths: A folder stands for all files below it, except hidden ones and those in
        hidden folders, whose names start with a dot. A pattern, such as
        "raw-*.jsonl.gz" or "raw/**/*.txt", stands for what it matches, unless there is
        a file of that name. All else stays as it is: files, "-" and missing ones.
    Raises: InputError naming what can't be a path, a folder without files, a pattern
        without matches, or a folder that can't be read.
    """
    found: List[str] = []
    for path in paths:
        _check_path(path)
        if path.startswith("~") and not Path(path).exists():
            # A user that is not known stays as it is.
            path = os.path.expanduser(path)  # noqa: PTH111
        try:
            found += _expand(path)
        except OSError as err:
            raise InputError(describe_os_error(err, path)) from err
    return found


def _check_path(path: str) -> None:
    try:
        is_path = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise InputError(
            f"{path!r}: is not a path, for it has a zero byte or half a surrogate; "
            "fix it"
        )


def _expand(path: str) -> List[str]:
    if path == "-":
        return [path]
    if Path(path).is_dir():
        files = sorted(_below(path))
        if not files:
            raise InputError(f"{path}: has no files; name a folder with raw text")
        return files
    if Path(path).exists() or not has_magic(path):
        return [path]
    # A pattern may be absolute, and what ** matches may lie below another match.
    matches = glob(path, recursive=True)  # noqa: PTH207
    files = sorted({file for match in matches for file in _files(match)})
    if not files:
        raise InputError(f"{path}: matches no file; fix the pattern")
    return files


def _files(match: str) -> Iterator[str]:
    if Path(match).is_dir():
        yield from _below(match)
    else:
        yield match


def _below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield str(Path(parent, name))


def _raise(err: OSError) -> None:
    raise err
