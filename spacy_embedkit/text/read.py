"""Streams texts out of files."""

import codecs
import gzip
import json
import re
import sys
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import (
    Any,
    BinaryIO,
    Iterator,
    Sequence,
    Tuple,
    cast,
)

from ..checks import InputError, import_extra, one_line
from ..io import describe_os_error
from .boundaries import cut_text
from .files import find_files
from .pieces import Piece, Unit, is_wrapped, join_paragraphs

GZIP_MAGIC = b"\x1f\x8b"
# With the first byte of a page or of the metadata, a control character: text has none.
PARQUET_MAGIC = b"PAR1\x15"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATE = re.compile("[\ud800-\udfff]")
# A longer line of plain text is read in pieces.
PIECE_BYTES = 1 << 20
# An object of JSON can't be, and a gzipped line may have a thousand times its size.
MAX_JSON_BYTES = 1 << 28
PARQUET_ROWS = 256
HEAD_BYTES = 1 << 16


def read_texts(paths: Sequence[str]) -> Iterator[str]:
    """Yield the texts of files one after another, without holding a file in memory.

    Blank texts are left out. Lines of plain text longer than PIECE_BYTES come in parts.

    paths: Files as in read_pieces; folders and patterns as in find_files.
    Raises: InputError as find_files does, before the first text, and as read_pieces.
    """
    for path in find_files(paths):
        for piece in read_pieces(path):
            if piece.text.strip():
                yield piece.text


def read_pieces(
    path: str, text_key: str = "text", unit: Unit = "line"
) -> Iterator[Piece]:
    """Yield the texts of a file, including blank ones.

    The format is told by the content; JSONL starts with "{". Lines of plain text longer
    than PIECE_BYTES come in parts, which lose nothing but white space. Half surrogates,
    which JSON can hold, become U+FFFD.

    path: File of plain text, with a text per unit; of JSONL, with an object per line;
        or of Parquet. The first two may be gzipped. "-" is standard input.
    text_key: Key of the text in the objects of JSONL; its column of Parquet.
    unit: What is a text in plain text; the lines of a paragraph, which ends with a
        blank line, are joined by spaces.
    Raises: InputError naming file and line, if that is not UTF-8, not JSON or has no
        text; InputError naming the file, if it can't be read or is cut off;
        ImportError naming the extra that reads Parquet.
    """
    label = "standard input" if path == "-" else path
    with _opened(path, label) as file:
        if cast(Any, file).peek(5).startswith(PARQUET_MAGIC):
            yield from _read_parquet(file, label, text_key)
        else:
            yield from _read_lines(file, label, text_key, unit)


@contextmanager
def _opened(path: str, label: str) -> Iterator[BinaryIO]:
    """Open a file, decompressed if need be; name it in the errors of reading it."""
    try:
        with ExitStack() as stack:
            file: Any = sys.stdin.buffer
            if path != "-":
                file = stack.enter_context(Path(path).open("rb"))
            # Standard input and files are both buffered, so that both can peek.
            is_gzip = file.peek(2)[:2] == GZIP_MAGIC
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_gzip else file
    except (EOFError, gzip.BadGzipFile, zlib.error) as err:
        raise InputError(f"{label}: broken gzip data ({err}); copy it again") from err
    except OSError as err:
        raise InputError(describe_os_error(err, label)) from err


def _read_lines(
    file: BinaryIO, label: str, text_key: str, unit: Unit
) -> Iterator[Piece]:
    number = 1
    line = file.readline(PIECE_BYTES).removeprefix(BYTE_ORDER_MARK)
    while line and not line.strip():
        yield Piece("")
        number += 1
        line = file.readline(PIECE_BYTES)
    if line.lstrip().startswith(b"{"):
        yield from _read_jsonl(file, line, number, label, text_key)
        return
    pieces = _read_plain(file, line, number, label)
    yield from pieces if unit == "line" else join_paragraphs(pieces, PIECE_BYTES)


def _read_jsonl(
    file: BinaryIO, line: bytes, number: int, label: str, text_key: str
) -> Iterator[Piece]:
    """Read lines, the first of which is read already, in part or all of it."""
    while line:
        where = f"{label}, line {number}"
        if not line.endswith(b"\n"):
            line += file.readline(MAX_JSON_BYTES)
        if len(line) > MAX_JSON_BYTES:
            raise InputError(
                f"{where}: is longer than {MAX_JSON_BYTES:,} bytes; cut its text into "
                "several"
            )
        yield Piece(_read_json(line, where, text_key) if line.strip() else "")
        line = file.readline(PIECE_BYTES)
        number += 1


def _read_plain(
    file: BinaryIO, line: bytes, number: int, label: str
) -> Iterator[Piece]:
    """Read lines, the first of which is read already, in part or all of it."""
    while line:
        yield from _cut_line(file, line, f"{label}, line {number}")
        line = file.readline(PIECE_BYTES)
        number += 1


def looks_wrapped(path: str) -> bool:
    """Whether a file starts as plain text that is_wrapped.

    Raises: InputError, if it can't be read.
    """
    with _opened(path, path) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(PARQUET_MAGIC) or head.lstrip().startswith(b"{"):
        return False
    return is_wrapped(head.decode("utf8", "replace").splitlines()[:-1])


def _cut_line(file: BinaryIO, line: bytes, where: str) -> Iterator[Piece]:
    """Yield a line of plain text in parts; `line` is the start or all of it."""
    before = 0
    while len(line) >= PIECE_BYTES and not line.endswith(b"\n"):
        text, n_bytes = _decode(line, where, before, is_complete=False)
        end = cut_text(text, len(text))
        yield Piece(text[:end], before == 0)
        rest = text[end:].encode() + line[n_bytes:]
        before += len(line) - len(rest)
        line = rest + file.readline(PIECE_BYTES)
    yield Piece(_decode(line, where, before)[0].strip(), before == 0)


def _decode(
    line: bytes, where: str, before: int = 0, is_complete: bool = True
) -> Tuple[str, int]:
    """Return the text and the number of its bytes; `before` come before the line."""
    try:
        return codecs.utf_8_decode(line, "strict", is_complete)
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
        raise InputError(f"{where}: not JSON ({err}); fix the line") from err
    value = record.get(text_key) if isinstance(record, dict) else None
    if not isinstance(value, str):
        raise InputError(
            f'{where}: {text.strip()[:40]!r} has no string under "{text_key}"; '
            f'write {{"{text_key}": "..."}}'
        )
    return SURROGATE.sub("\ufffd", value)


def _read_parquet(file: BinaryIO, label: str, text_key: str) -> Iterator[Piece]:
    arrow = import_extra("pyarrow", "vectors")
    parquet = import_extra("pyarrow.parquet", "vectors")
    if not file.seekable():
        raise InputError(f"{label}: Parquet has to be read from a file; name one")
    number = 0
    try:
        table = parquet.ParquetFile(file, buffer_size=PIECE_BYTES)
        names = table.schema_arrow.names
        if text_key not in names:
            found = " ".join(", ".join(names).split())[:300]
            raise InputError(
                f"{label}: has no column {text_key!r}, but {found}; name the one with "
                "the text"
            )
        for batch in table.iter_batches(PARQUET_ROWS, columns=[text_key]):
            for value in batch.column(0).to_pylist():
                number += 1
                if not isinstance(value, (str, type(None))):
                    kind = table.schema_arrow.field(text_key).type
                    raise InputError(
                        f"{label}: column {text_key!r} is {kind}, not text"
                    )
                yield Piece(value or "")
    except UnicodeDecodeError as err:
        where = f"{label}, after row {number}"
        raise InputError(f"{where}: not UTF-8 ({err}); write it again") from err
    except (arrow.ArrowException, OSError) as err:
        raise InputError(
            f"{label}: broken Parquet ({one_line(err)}); copy it again"
        ) from err
