"""Streams texts out of files."""

import gzip
import json
import re
import sys
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Sequence, cast

from ..files import InputError, describe_os_error

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATE = re.compile("[\ud800-\udfff]")
# What files of tokens and of vectors separate words by.
SEPARATOR = re.compile(r"[\s\0]+")


def read_texts(paths: Sequence[str]) -> Iterator[str]:
    """Yield the texts of files one after another, without holding a file in memory.

    paths: Files of plain text, a text per line, or of JSONL, an object per line with
        the text under "text"; either may be compressed by gzip; "-" is standard input.
        What a file is, its content decides: JSONL starts with "{".
    Blank texts are left out; half characters, which JSON can hold, become U+FFFD.
    Raises: InputError naming file and line, for what is not UTF-8, not JSON or has no
        text; InputError naming the file, if it can't be read or is cut off.
    """
    for path in paths:
        shown = "standard input" if path == "-" else path
        with _opened(path, shown) as file:
            yield from _read_lines(file, shown)


@contextmanager
def _opened(path: str, shown: str) -> Iterator[BinaryIO]:
    """Open a file, decompressed, and name it in whatever goes wrong with it."""
    try:
        with ExitStack() as stack:
            file: Any = sys.stdin.buffer
            if path != "-":
                file = stack.enter_context(Path(path).open("rb"))
            # Standard input and files are both buffered, so that both can peek.
            packed = file.peek(2)[:2] == GZIP_MAGIC
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    except (EOFError, zlib.error) as err:
        raise InputError(f"{shown}: broken gzip data ({err}); copy it again") from err
    except OSError as err:
        raise InputError(describe_os_error(err, shown)) from err


def _read_lines(file: BinaryIO, shown: str) -> Iterator[str]:
    is_json = None
    for number, line in enumerate(file, 1):
        line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        if not line.strip():
            continue
        if is_json is None:
            is_json = line.lstrip().startswith(b"{")
        text = _decode(line, f"{shown}, line {number}", is_json)
        if text.strip():
            yield text


def _decode(line: bytes, where: str, is_json: bool) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as err:
        raise InputError(
            f"{where}: byte {err.start + 1} is {line[err.start]:#04x}, which is not "
            "UTF-8; convert the file to UTF-8"
        ) from err
    if not is_json:
        return text.strip()
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{where}: not JSON ({err}); mend the line") from err
    value = record.get("text") if isinstance(record, dict) else None
    if not isinstance(value, str):
        raise InputError(
            f'{where}: {text.strip()[:40]!r} has no string under "text"; '
            'write {"text": "..."}'
        )
    return SURROGATE.sub("\ufffd", value)
