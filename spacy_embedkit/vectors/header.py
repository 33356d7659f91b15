"""The header of a table's folder, which is read from files that may be damaged."""

from pathlib import Path
from typing import Any, Callable, Dict

import srsly
from spacy.attrs import IDS

from ..checks import InputError
from .rows import STORES

FORMAT, VERSION = "spacy-embedkit vectors", 1
HEADER = "table.json"
# Row numbers are int32.
MAX_ROWS = 2**31 - 1


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ROWS


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


# What each entry may be.
_ENTRIES: Dict[str, Callable[[Any], bool]] = {
    "format": lambda value: value == FORMAT,
    "version": lambda value: value == VERSION,
    "dtype": lambda value: isinstance(value, str) and value in STORES,
    "shape": _is_shape,
    "keys": lambda value: value is None or _is_count(value),
    "attr": lambda value: isinstance(value, str) and value in IDS,
    "name": lambda value: value is None or isinstance(value, str),
    "ngrams": lambda value: value is None or isinstance(value, dict),
    "subwords": lambda value: isinstance(value, bool),
    "fingerprint": lambda value: isinstance(value, str),
}


def read_header(folder: Path) -> Dict[str, Any]:
    """Read and check the header of a table's folder."""
    path = folder / HEADER
    try:
        header = srsly.read_json(path)
    except (OSError, ValueError) as err:
        raise InputError(
            f"{path}: cannot be read as the header of a table ({err}); copy or convert "
            "the table again"
        ) from err
    return check_header(header, str(path))


def check_header(header: Any, where: str) -> Dict[str, Any]:
    """Return a header whose entries all have the right types, or raise InputError."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{where}: is not the header of a table of vectors")
    if header.get("version") != VERSION:
        raise InputError(
            f"{where}: has version {header.get('version')}, but this package reads "
            f"{VERSION}; upgrade spacy-embedkit"
        )
    for name, is_possible in _ENTRIES.items():
        if name not in header or not is_possible(header[name]):
            found = repr(header[name])[:60] if name in header else "missing"
            raise InputError(
                f"{where}: is damaged ({name} is {found}); copy or convert the table "
                "again"
            )
    return header
