"""Plans in TOML files; every error names the file and the key."""

import re
import tomllib
from pathlib import Path
from typing import Any, Dict, Sequence, Type

from pydantic import BaseModel, ValidationError

from ..checks import InputError, one_line
from ..io import describe_os_error
from .plan import Amount, Contribution, Plan, SpeedSettings, Variant


def read_plan(path: Path, changes: Sequence[str] = ()) -> Plan:
    """Read a plan from a TOML file, or raise InputError naming the key.

    changes: KEY=VALUE each, with a dotted key and a TOML value or plain text. Paths
        start from the current folder.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: is not a TOML file ({one_line(err)})") from err
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    if "weights" in data:
        raise InputError(
            f"{path}: [[weights]] is called [[variants]] now; rename it, and give "
            "another output folder"
        )
    for change in changes:
        _set(data, change)
    names = data.get("vars")
    if isinstance(names, dict):
        data = {**_substitute(data, names), "vars": names}
    try:
        return Plan(**data)
    except ValidationError as err:
        first: Dict[str, Any] = dict(err.errors()[0])
        raise InputError(f"{path}: {_describe(first)}") from err


def _set(data: Dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    if not sign:
        raise InputError(f"--set {change}: give KEY=VALUE, such as seeds=2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parts, last = key.split(".")
    for part in parts:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {change}: {part} is not a table of the plan")
    data[last] = value


def _substitute(value: Any, names: Dict[str, Any]) -> Any:
    """Put the values of names for {NAME} in all texts; other braces stay.

    A text that is a name alone becomes its value, which may be a number.
    """
    if isinstance(value, dict):
        return {key: _substitute(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, names) for item in value]
    if not isinstance(value, str):
        return value
    if value[:1] == "{" and value[1:-1] in names and value[-1] == "}":
        return names[value[1:-1]]
    return re.sub(r"\{(\w+)\}", lambda m: str(names.get(m[1], m[0])), value)


def _describe(error: Dict[str, Any]) -> str:
    """Return the first error of pydantic in our words."""
    key = ""
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        kinds: Dict[Any, Type[BaseModel]] = {
            "variants": Variant,
            "amounts": Amount,
            "contributions": Contribution,
            "speed": SpeedSettings,
        }
        kind = kinds.get(error["loc"][0], Plan) if len(error["loc"]) > 1 else Plan
        return f"{key} is not a setting; choose from {', '.join(kind.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key} is {error['input']!r}: {message}" if key else message
