"""Streams texts out of files."""

import codecs
import gzip
import json
import re
import sys
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator, NamedTuple, Sequence, Tuple, cast

from ..checks import InputError, import_extra, one_line
from ..io import describe_os_error
from .boundaries import cut_text
from .paths import find_files

GZIP_MAGIC = b"\x1f\x8b"
# Followed by the first byte of a page or of the metadata, which no text has there.
PARQUET_MAGIC = b"PAR1\x15"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATE = re.compile("[\ud800-\udfff]")
# A longer line of plain text is read in pieces.
PIECE_BYTES = 1 << 20
PARQUET_ROWS = 256


class Piece(NamedTuple):
    """A text, or a part of one that is too long to be held in memory.

    text: May be blank.
    starts: Whether a text starts here; the parts of a text follow one another.
    """

    text: str
    starts: bool = True


def read_texts(paths: Sequence[str]) -> Iterator[str]:
    """Yield the texts of files one after another, without holding a file in memory.

    paths: Files as in read_pieces, folders of these, and patterns, see find_files.
    Blank texts are left out. A line of plain text of over PIECE_BYTES comes in parts.
    Raises: InputError as find_files, before the first text, and read_pieces do.
    """
    for path in find_files(paths):
        for piece in read_pieces(path):
            if piece.text.strip():
                yield piece.text


def read_pieces(path: str, text_key: str = "text") -> Iterator[Piece]:
    """Yield the texts of a file, blank ones too.

    path: File of plain text, a text per line; of JSONL, an object per line; or of
        Parquet. The first two may be compressed by gzip; "-" is standard input. What a
        file is, its content decides: JSONL starts with "{".
    text_key: Where objects have their text; column of Parquet.
    A line of plain text of over PIECE_BYTES comes in parts; no character of it that is
    not whitespace is lost. Half characters, which JSON can hold, become U+FFFD.
    Raises: InputError naming file and line, for what is not UTF-8, not JSON or has no
        text; InputError naming the file, if it can't be read or is cut off;
        ImportError naming the extra that reads Parquet.
    """
    shown = "standard input" if path == "-" else path
    with _opened(path, shown) as file:
        # Files in memory, and buffered ones, show what they start with.
        if cast(Any, file).peek(5).startswith(PARQUET_MAGIC):
            yield from _read_parquet(file, shown, text_key)
        else:
            yield from _read_lines(file, shown, text_key)


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


def _read_lines(file: BinaryIO, shown: str, text_key: str) -> Iterator[Piece]:
    is_json = None
    number = 0
    while line := file.readline(PIECE_BYTES):
        number += 1
        line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        where = f"{shown}, line {number}"
        if is_json is None and line.strip():
            is_json = line.lstrip().startswith(b"{")
        if not is_json:
            yield from _cut_line(file, line, where)
            continue
        if not line.endswith(b"\n"):
            line += file.readline()
        yield Piece(_read_json(line, where, text_key) if line.strip() else "")


def _cut_line(file: BinaryIO, line: bytes, where: str) -> Iterator[Piece]:
    """Yield a line of plain text; if `line` is but the start of it, read the rest."""
    before = 0
    while len(line) >= PIECE_BYTES and not line.endswith(b"\n"):
        text, n_bytes = _decode(line, where, before, is_whole=False)
        end = cut_text(text, len(text))
        yield Piece(text[:end], before == 0)
        rest = text[end:].encode() + line[n_bytes:]
        before += len(line) - len(rest)
        line = rest + file.readline(PIECE_BYTES)
    yield Piece(_decode(line, where, before)[0].strip(), before == 0)


def _decode(
    line: bytes, where: str, before: int = 0, is_whole: bool = True
) -> Tuple[str, int]:
    """Return the text, and the bytes it took; `before` is the first one's place."""
    try:
        return codecs.utf_8_decode(line, "strict", is_whole)
    except UnicodeDecodeError as err:
        raise InputError(
            f"{where}: byte {before + err.start + 1} is {line[err.start]:#04x}, which "
            "is not UTF-8; convert the file to UTF-8"
        ) from err


def _read_json(line: bytes, where: str, text_key: str) -> str:
    text, _ = _decode(line, where)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{where}: not JSON ({err}); mend the line") from err
    value = record.get(text_key) if isinstance(record, dict) else None
    if not isinstance(value, str):
        raise InputError(
            f'{where}: {text.strip()[:40]!r} has no string under "{text_key}"; '
            f'write {{"{text_key}": "..."}}'
        )
    return SURROGATE.sub("\ufffd", value)


def _read_parquet(file: BinaryIO, shown: str, text_key: str) -> Iterator[Piece]:
    arrow = import_extra("pyarrow", "vectors")
    parquet = import_extra("pyarrow.parquet", "vectors")
    if not file.seekable():
        raise InputError(f"{shown}: Parquet has to be read from a file; name one")
    number = 0
    try:
        table = parquet.ParquetFile(file, buffer_size=PIECE_BYTES)
        names = table.schema_arrow.names
        if text_key not in names:
            raise InputError(
                f"{shown}: has no column {text_key!r}, but {', '.join(names)}; "
                "name the one with the text"
            )
        for batch in table.iter_batches(PARQUET_ROWS, columns=[text_key]):
            for value in batch.column(0).to_pylist():
                number += 1
                # A cell may be empty.
                if not isinstance(value, (str, type(None))):
                    kind = table.schema_arrow.field(text_key).type
                    raise InputError(f"{shown}: column {text_key!r} is {kind}, no text")
                yield Piece(value or "")
    except UnicodeDecodeError as err:
        where = f"{shown}, after row {number}"
        raise InputError(f"{where}: not UTF-8 ({err}); write it again") from err
    except (arrow.ArrowException, OSError) as err:
        raise InputError(
            f"{shown}: broken Parquet ({one_line(err)}); copy it again"
        ) from err
