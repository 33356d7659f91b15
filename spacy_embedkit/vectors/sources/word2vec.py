"""Reader of word2vec's binary format: a line with two counts, then words and floats."""

import io
import os
import re
from typing import BinaryIO, Iterator, List, Tuple

import numpy

from ...checks import InputError
from ..file_arrays import cut_off, damaged
from .inputs import Input
from .source import Batch, Source, row_name

CHUNK = 1 << 21
# Limits of what a damaged file can make us hold in memory.
MAX_HEADER, MAX_WIDTH, MAX_WORD = 100, 1 << 20, 1 << 16


def open_word2vec_binary(input: Input) -> Source:
    """Read what word2vec's -binary 1 and gensim's save_word2vec_format write.

    Raises: InputError, also from batches, where the file is broken or cut off.
    """
    head = input.head[:MAX_HEADER].split(b"\n")[0] + b"\n"
    found = re.fullmatch(rb"\s*(\d{1,18})[ \t]+(\d{1,18})\s*", head)
    if len(head) > len(input.head):
        raise cut_off(input.label, len(input.head), "the first line ends")
    if found is None:
        raise damaged(input.label, 0, f"{head[:30]!r} is not a line of two counts")
    n_rows, width = int(found[1]), int(found[2])
    if not n_rows or not 0 < width <= MAX_WIDTH:
        raise damaged(
            input.label, 0, f"{n_rows} rows of {width} numbers are not possible"
        )
    batches = _read(input, len(head), n_rows, width)
    return Source(input.label, "word2vec binary", width, batches, n_rows=n_rows)


def _read(input: Input, begin: int, n_rows: int, width: int) -> Iterator[Batch]:
    label, done, rest = input.label, 0, b""
    with input.open() as file:
        _check_size(file, begin + n_rows * (4 * width + 1), label)
        file.read(begin)
        while done < n_rows:
            more = file.read(CHUNK)
            data = rest + more
            words, rows, used = _parse(data, n_rows - done, 4 * width)
            if words:
                table = numpy.frombuffer(b"".join(rows), dtype="<f4")
                texts = _decode(words, done, label)
                yield Batch(texts, table.reshape(-1, width), row_name(done))
            elif not more:
                found = f"row {done + 1} of {n_rows} ends"
                raise cut_off(label, begin + len(data), found)
            elif len(data) > MAX_WORD and data.find(b" ", 0, MAX_WORD) < 0:
                raise damaged(label, begin, f"row {done + 1} has no word")
            done, rest, begin = done + len(words), data[used:], begin + used
        if (rest + file.read(CHUNK)).strip():
            raise damaged(label, begin, f"data after the last of {n_rows} rows")


def _check_size(file: BinaryIO, min_size: int, label: str) -> None:
    # The size of a stream that is decompressed is not known.
    raw = getattr(file, "raw", None)
    size = os.fstat(raw.fileno()).st_size if isinstance(raw, io.FileIO) else min_size
    if size < min_size:
        raise cut_off(label, size, f"the rows should go on to byte {min_size} or more")


def _parse(
    data: bytes, limit: int, n_bytes: int
) -> Tuple[List[bytes], List[bytes], int]:
    """Cut up to limit rows from data: words, floats, and the bytes they took."""
    words: List[bytes] = []
    rows: List[bytes] = []
    at, last = 0, len(data) - n_bytes
    for _ in range(limit):
        space = data.find(b" ", at)
        if space < 0 or space >= last:
            break
        words.append(data[at:space])
        at = space + 1 + n_bytes
        rows.append(data[space + 1 : at])
    return words, rows, at


def _decode(words: List[bytes], done: int, label: str) -> List[str]:
    texts: List[str] = []
    try:
        # A row may end in a newline, which then comes before the next word.
        for word in words:
            texts.append(word.lstrip(b"\n").decode("utf8"))
    except UnicodeDecodeError as err:
        raise InputError(
            f"{label}: row {done + len(texts) + 1}: the word {word[:40]!r} is not "
            f"UTF-8 at its byte {err.start + 1}; save the vectors with words in UTF-8"
        ) from err
    return texts
