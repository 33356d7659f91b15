"""Checks of settings, the error that users read, and optional libraries.

A check takes the name of what is set up, then the settings by their names:
`check_positive("MultiHashEmbed.v1", width=width)`. Checks of numbers let None pass.
"""

from importlib import import_module
from math import inf
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from spacy.attrs import intify_attr

Number = Optional[float]

# Attributes whose values are texts.
TEXT_ATTRS = ("ORTH", "NORM", "LOWER", "SHAPE", "PREFIX", "SUFFIX")


class InputError(ValueError):
    """Something in the user's files or settings that they can fix.

    Its text is the one line they read: where it is, what was found, what to do. What
    can't be printed in it, such as a line break in a file's name, is escaped.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


def import_extra(module: str, extra: str) -> Any:
    """Import a module, or raise ImportError naming the extra it comes with."""
    try:
        return import_module(module)
    except ImportError as err:
        raise ImportError(
            f"{module} can't be imported ({err}); pip install 'spacy-embedkit[{extra}]'"
        ) from err


def printable(text: str) -> str:
    """Escape line breaks, other control characters, and halves of surrogate pairs."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def one_line(err: Exception) -> str:
    """Return the text of an error without its line breaks."""
    return " ".join(str(err).split())


def check_choice(name: str, choices: Sequence[str], /, **settings: object) -> None:
    """Raise InputError unless every setting is one of the choices."""
    for setting, value in settings.items():
        if value not in choices:
            raise InputError(
                f"{name}: {setting} is {value!r}; choose one of {', '.join(choices)}"
            )


def check_range(
    name: str, low: float, high: float, /, **settings: Optional[float]
) -> None:
    """Raise InputError unless low <= value <= high for every setting."""
    allowed = (
        f"{low} or more is needed" if high == inf else f"{low} to {high} is allowed"
    )
    for setting, value in settings.items():
        if value is not None and not low <= value <= high:
            raise InputError(f"{name}: {setting} is {value}, but {allowed}")


def check_positive(name: str, /, **settings: Number) -> None:
    """Raise InputError unless every setting is 1 or more."""
    check_range(name, 1, inf, **settings)


def check_not_negative(name: str, /, **settings: Number) -> None:
    """Raise InputError unless every setting is 0 or more."""
    check_range(name, 0, inf, **settings)


def check_above_0(name: str, /, **settings: Number) -> None:
    """Raise InputError unless every setting is above 0."""
    for setting, value in settings.items():
        if value is not None and not value > 0:
            raise InputError(f"{name}: {setting} is {value}, but it must be above 0")


def check_tables(
    name: str,
    attrs_name: str,
    attrs: Sequence[Union[str, int]],
    rows_name: str,
    rows: Sequence[int],
) -> List[int]:
    """Return the IDs of the attributes of hashed tables, or raise InputError.

    rows: Rows of the table of each attribute. attrs_name, rows_name: What the settings
    are called.
    """
    if len(attrs) != len(rows):
        raise InputError(
            f"{name}: {len(attrs)} {attrs_name} were given with {len(rows)} "
            f"{rows_name}; give one number of rows for each attribute"
        )
    check_positive(name, **{f"{rows_name}[{i}]": n for i, n in enumerate(rows)})
    return [_attr_id(name, attr) for attr in attrs]


def _attr_id(name: str, attr: Union[str, int]) -> int:
    value = intify_attr(attr)
    if value is None:
        raise InputError(
            f"{name}: {attr!r} is not a token attribute; use one of spaCy's, such as "
            "NORM, PREFIX, SUFFIX, SHAPE"
        )
    return value


def text_attr(name: str, attr: str) -> int:
    """Return the ID of an attribute whose values are texts, or raise InputError."""
    check_choice(name, TEXT_ATTRS, attr=attr)
    return intify_attr(attr)


def check_ngrams(name: str, min_n: int, max_n: int, n_hashes: int) -> None:
    """Raise InputError unless 1 <= min_n <= max_n and 1 <= n_hashes <= 8."""
    if not 1 <= min_n <= max_n:
        raise InputError(
            f"{name}: min_n is {min_n} and max_n is {max_n}, but 1 <= min_n <= max_n "
            "is needed; 3 and 5 are usual"
        )
    check_range(name, 1, 8, n_hashes=n_hashes)


def has_surrogate(text: str) -> bool:
    """Return whether a text holds half of a surrogate pair, which UTF-8 cannot."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def check_key2row(
    name: str,
    key2row: Optional[Mapping[Union[str, int], int]],
    unseen_row: int,
    n_rows: int,
) -> None:
    """Raise InputError if a row named by a setting is not in the table."""
    if key2row is None and unseen_row != 0:
        raise InputError(
            f"{name}: unseen_row is {unseen_row}, but without key2row every word is "
            "hashed; give key2row, or leave unseen_row out"
        )
    named: Dict[str, int] = {"unseen_row": unseen_row}
    named.update({f"key2row[{key!r}]": row for key, row in (key2row or {}).items()})
    for key in key2row or {}:
        if isinstance(key, str) and has_surrogate(key):
            raise InputError(
                f"{name}: key2row has {key!r}, with half of a surrogate pair, which no "
                "word of spaCy can have; correct or remove it"
            )
    for setting, row in named.items():
        if not 0 <= row < n_rows:
            raise InputError(
                f"{name}: {setting} is {row}, but the table has {n_rows} rows, 0 to "
                f"{n_rows - 1}; raise embed_rows or lower the row"
            )
