"""Configs of the runs of a grid: overrides, and what tells two runs apart."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, Mapping

from ..checks import InputError
from ..io import describe_os_error


def nested(overrides: Mapping[str, Any]) -> Dict[str, Any]:
    """Spell dotted keys out as tables within tables."""
    result: Dict[str, Any] = {}
    for key, value in overrides.items():
        value = nested(value) if isinstance(value, dict) else value
        first, *rest = key.split(".")
        for part in reversed(rest):
            value = {part: value}
        result[first] = _join(result.get(first), value)
    return result


def _join(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {
        key: _join(old.get(key), new[key]) if key in new else old[key]
        for key in {**old, **new}
    }


def merge(
    old: Mapping[str, Any], new: Mapping[str, Any], where: str = ""
) -> Dict[str, Any]:
    """Return old with the values of new.

    A table that names a registered function replaces the block that is there, unless
    the name is all that it has; then the settings of the block are kept.
    Raises InputError for a block that old does not have.
    """
    result = dict(old)
    for key, value in new.items():
        path = f"{where}.{key}" if where else key
        before = result.get(key)
        if not where and not isinstance(before, Mapping):
            raise InputError(f"{path}: the config has no such block; check its name")
        if not isinstance(value, Mapping):
            result[key] = value
        elif isinstance(before, Mapping) and not (len(value) > 1 and _is_call(value)):
            result[key] = merge(before, value, path)
        elif key not in result and not _is_call(value):
            raise InputError(f"{path}: the config has no such block; check its name")
        else:
            result[key] = dict(value)
    return result


def _is_call(block: Mapping[str, Any]) -> bool:
    return any(key.startswith("@") for key in block)


def content_hash(path: Path) -> str:
    """Return the sha256 of a file, or of the names and contents in a folder."""
    if path.is_dir():
        lines = [
            f"{file.relative_to(path)} {content_hash(file)}\n"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    try:
        status = path.stat()
        return _hash_file(path, status.st_size, status.st_mtime_ns)
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err


@cache
def _hash_file(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return the sha256 of settings, 64 hex digits."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def flatten(block: Mapping[str, Any], prefix: str = "") -> Dict[str, Any]:
    """Return the settings of nested blocks by their dotted names."""
    result: Dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            result.update(flatten(value, f"{prefix}{key}."))
        else:
            result[f"{prefix}{key}"] = value
    return result


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> List[str]:
    """Return one text for each setting that differs: its name and both values."""
    absent = object()
    return [
        f"{key} is {_short(old.get(key))} there and {_short(new.get(key))} here"
        for key in sorted({**old, **new})
        if old.get(key, absent) != new.get(key, absent)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
