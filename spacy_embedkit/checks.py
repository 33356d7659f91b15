"""Checks of settings, the error that users read, and optional libraries."""

from importlib import import_module
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from spacy.attrs import intify_attr

# Attributes whose values are texts, so that n-grams and words can be told.
TEXT_ATTRS = ("ORTH", "NORM", "LOWER", "SHAPE", "PREFIX", "SUFFIX")


class InputError(ValueError):
    """Something in the user's files or settings that they can mend.

    Its text is the one line they read: where it is, what was found, what to do.
    """


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise InputError unless value is one of choices."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless low <= value <= high."""
    if not low <= value <= high:
        raise InputError(f"{name} is {value}, but {low} to {high} is allowed")


def import_extra(module: str, extra: str) -> Any:
    """Import a module, or raise ImportError naming the extra it comes with."""
    try:
        return import_module(module)
    except ImportError as err:
        raise ImportError(
            f"{module} can't be imported ({err}); pip install 'spacy-embedkit[{extra}]'"
        ) from err


def one_line(err: Exception) -> str:
    """Return the text of an error without its line breaks."""
    return " ".join(str(err).split())


def check_positive(name: str, setting: str, value: int) -> None:
    """Raise ValueError unless the value is 1 or more."""
    if value < 1:
        raise ValueError(
            f"{name}: {setting} is {value}, but 1 or more is needed; raise it"
        )


def check_not_negative(name: str, setting: str, value: int) -> None:
    """Raise ValueError unless the value is 0 or more."""
    if value < 0:
        raise ValueError(f"{name}: {setting} is {value}, but 0 or more is needed")


def check_above_0(name: str, setting: str, value: float) -> None:
    """Raise ValueError unless the value is above 0."""
    if not value > 0:
        raise ValueError(f"{name}: {setting} is {value}, but it must be above 0")


def check_tables(
    name: str,
    attrs_name: str,
    attrs: Sequence[Union[str, int]],
    rows_name: str,
    rows: Sequence[int],
) -> List[int]:
    """Return the attribute IDs, or raise ValueError on attributes or rows."""
    if len(attrs) != len(rows):
        raise ValueError(
            f"{name}: {len(attrs)} {attrs_name} were given with {len(rows)} "
            f"{rows_name}; give one number of rows for each attribute"
        )
    for i, n_rows in enumerate(rows):
        check_positive(name, f"{rows_name}[{i}]", n_rows)
    return [attr_id(name, attr) for attr in attrs]


def attr_id(name: str, attr: Union[str, int]) -> int:
    """Return the ID of a token attribute, or raise ValueError."""
    value = intify_attr(attr)
    if value is None:
        raise ValueError(
            f"{name}: {attr!r} is not a token attribute; use one of spaCy's, such as "
            "NORM, PREFIX, SUFFIX, SHAPE"
        )
    return value


def text_attr(name: str, attr: str) -> int:
    """Return the ID of an attribute whose values are texts, or raise ValueError."""
    if attr not in TEXT_ATTRS:
        raise ValueError(
            f"{name}: attr is {attr!r}, but it has to be one of {', '.join(TEXT_ATTRS)}"
        )
    return intify_attr(attr)


def check_ngrams(name: str, min_n: int, max_n: int, n_hashes: int) -> None:
    """Raise ValueError unless 1 <= min_n <= max_n and 1 <= n_hashes <= 8."""
    if not 1 <= min_n <= max_n:
        raise ValueError(
            f"{name}: min_n is {min_n} and max_n is {max_n}, but 1 <= min_n <= max_n "
            "is needed; 3 and 5 are usual"
        )
    if not 1 <= n_hashes <= 8:
        raise ValueError(
            f"{name}: n_hashes is {n_hashes}, but it has to be 1 to 8; 2 is usual"
        )


def check_key2row(
    name: str,
    key2row: Optional[Mapping[Union[str, int], int]],
    unseen_row: int,
    n_rows: int,
) -> None:
    """Raise ValueError if a row named by a setting is not in the table."""
    if key2row is None and unseen_row != 0:
        raise ValueError(
            f"{name}: unseen_row is {unseen_row}, but without key2row every word is "
            "hashed; give key2row, or leave unseen_row out"
        )
    named: Dict[str, int] = {"unseen_row": unseen_row}
    named.update({f"key2row[{key!r}]": row for key, row in (key2row or {}).items()})
    for setting, row in named.items():
        if not 0 <= row < n_rows:
            raise ValueError(
                f"{name}: {setting} is {row}, but the table has {n_rows} rows, 0 to "
                f"{n_rows - 1}; raise embed_rows or lower the row"
            )
