"""Detect from the first bytes of a file whether it is text, and its layout.

Fields are bytes between spaces and tabs. A row is a word and its numbers; the first
line may be a header instead.
"""

import codecs
import re
import statistics
from dataclasses import dataclass, replace
from typing import List, Optional

from ...checks import InputError
from ..ngrams import FLORET, Ngrams
from .inputs import HEAD_BYTES

MAX_WIDTH = 100_000
# Lines that the width is found from, and bytes that tell text from binary.
SAMPLE_LINES, SAMPLE_BYTES = 11, 4096

_FIELD = re.compile(rb"[^ \t\r\n]+")
_NUMBER = re.compile(
    rb"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE
)
_COUNTS = re.compile(rb"(\d{1,18})[ \t]+(\d{1,18})[ \t\r]*")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Layout:
    """How the rows are laid out.

    begin: Bytes before the first row. line: Number of its line.
    n_rows: Rows by the header, if there is one.
    ngrams: Settings of a floret table; its words are row numbers.
    """

    format: str
    width: int
    begin: int
    line: int
    n_rows: Optional[int] = None
    ngrams: Optional[Ngrams] = None


def fields_of(line: bytes) -> List[bytes]:
    """Split a line at spaces and tabs."""
    return _FIELD.findall(line)


def is_number(field: bytes) -> bool:
    """Whether the kernel reads it as a number."""
    return _NUMBER.fullmatch(field) is not None


def count_numbers(line: bytes) -> int:
    """Count the numbers that the line ends in; the first field is the word."""
    fields = fields_of(line)
    # The word is empty in a line that begins with a space.
    count, limit = 0, len(fields) - (line[:1] not in (b" ", b"\t"))
    while count < limit and is_number(fields[-1 - count]):
        count += 1
    return count


def is_word2vec_binary(head: bytes) -> bool:
    """Whether numbers in binary follow a header of two counts.

    Text with broken characters is still text: most fields of its rows are numbers.
    """
    first, _, rest = head.partition(b"\n")
    header = _COUNTS.fullmatch(first)
    if header is None or not rest:
        return False
    width = int(header[2])
    return not _is_row(rest.partition(b"\n")[0], width) and not is_plain(rest)


def is_text(head: bytes) -> bool:
    """Whether this is text, or rows of text with broken characters in them."""
    first, _, rest = head.partition(b"\n")
    if _COUNTS.fullmatch(first):
        first = rest.partition(b"\n")[0]
    return is_plain(head) or _is_row(first, 1)


def is_plain(data: bytes) -> bool:
    """Whether the first bytes are UTF-8 without control characters."""
    data = data[:SAMPLE_BYTES]
    try:
        # The last character may be cut.
        codecs.getincrementaldecoder("utf8")().decode(data)
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(data) is None


def _is_row(line: bytes, width: int) -> bool:
    fields = fields_of(line)[1:]
    return 2 * sum(map(is_number, fields)) > max(width, len(fields))


def find_layout(label: str, head: bytes) -> Layout:
    """Find out how the rows are laid out; InputError if it is not clear.

    label: Name of the file in messages. head: Its first bytes.
    """
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    lines = head[mark:].split(b"\n", SAMPLE_LINES)
    if len(lines) > 1 and (len(lines) > SAMPLE_LINES or len(head) >= HEAD_BYTES):
        lines.pop()
    elif len(head) >= HEAD_BYTES:
        raise InputError(
            f"{label}, line 1: is longer than {HEAD_BYTES:,} bytes; expected one word "
            "and its numbers per line"
        )
    layout = (
        _floret_layout(label, lines[0])
        or _word2vec_layout(label, lines)
        or Layout("GloVe text", _usual_width(lines), 0, 1)
    )
    if not 1 <= layout.width <= MAX_WIDTH:
        raise InputError(
            f"{label}, line 1: found {_shorten(lines[0])}, but expected a header, or a "
            f"word and 1 to {MAX_WIDTH:,} numbers with spaces between"
        )
    begin = mark + (len(lines[0]) + 1) * (layout.line - 1)
    return replace(layout, begin=begin)


def _floret_layout(label: str, line: bytes) -> Optional[Layout]:
    fields = fields_of(line)
    if (
        len(fields) != 8
        or not all(re.fullmatch(rb"\d{1,18}", field) for field in fields[:6])
        or all(map(is_number, fields[6:]))
    ):
        return None
    n_rows, width, minn, maxn, hash_count, hash_seed = map(int, fields[:6])
    try:
        bow, eow = (field.decode("utf8") for field in fields[6:])
        ngrams = Ngrams(FLORET, minn, maxn, hash_count, hash_seed, bow, eow)
    except ValueError as err:
        raise InputError(
            f"{label}, line 1: the header of floret's vectors is broken ({err}); get "
            "the file again"
        ) from err
    return Layout("floret text", width, 0, 2, n_rows, ngrams)


def _word2vec_layout(label: str, lines: List[bytes]) -> Optional[Layout]:
    header = _COUNTS.fullmatch(lines[0])
    if header is None:
        return None
    n_rows, width = int(header[1]), int(header[2])
    # Else "7 3" is the word 7 with one number.
    if width != 1 and _usual_width(lines[1:]) == 1:
        return None
    return Layout("word2vec text", width, 0, 2, n_rows)


def _usual_width(lines: List[bytes]) -> int:
    # Among equally frequent widths, the first one is returned.
    widths = [count_numbers(line) for line in lines if line.strip()]
    return statistics.mode(widths or [0])


def _shorten(data: bytes) -> str:
    text = data[:60].decode("utf8", "replace")
    return repr(text + "..." if len(data) > 60 else text)
