"""Vectors in text form: word2vec, GloVe, fastText's .vec and floret."""

from typing import BinaryIO, Generator, Iterator, List, Optional

import numpy

from ...checks import InputError
from . import _parse
from .inputs import Input
from .source import Batch, Source
from .text_layout import Layout, count_numbers, fields_of, find_layout

CHUNK_BYTES = 4 << 20
MAX_LINE_BYTES = 16 << 20
BATCH_ROWS, BATCH_BYTES = 4096, 8 << 20
# The kernel's status of a line; 2 is bad.
GOOD, BLANK = 0, 1


def open_text(input: Input, skip_bad: bool = False) -> Source:
    """Read vectors in text form, one word and its numbers per line.

    skip_bad: Leave out broken lines, and note how many they were. Without it, the
        first one is an error; so it is always in a floret table, which has no words.
    """
    layout = find_layout(input.label, input.head)
    notes: List[str] = []
    reader = _LineReader(input, layout, skip_bad and layout.ngrams is None, notes)
    return Source(
        path=input.label,
        format=layout.format,
        width=layout.width,
        batches=reader.batches(),
        n_rows=layout.n_rows,
        ngrams=layout.ngrams,
        notes=notes,
    )


class _LineReader:
    """Reads the lines of one file, and counts them."""

    def __init__(
        self, input: Input, layout: Layout, skip_bad: bool, notes: List[str]
    ) -> None:
        self._input, self._layout, self._notes = input, layout, notes
        self._skip_bad = skip_bad
        self._line = layout.line  # number of the next line
        self._n_rows = 0
        self._n_blank = 0  # lines just before the next line
        self._n_bad = 0
        self._first_bad = ""
        limit = BATCH_BYTES // (4 * layout.width)
        self._batch_rows = max(1, min(BATCH_ROWS, limit))

    def batches(self) -> Iterator[Batch]:
        """Yield all rows. Those before a broken line come before its error."""
        with self._input.open() as stream:
            stream.read(self._layout.begin)
            for text in self._complete_lines(stream):
                begin = 0
                while begin < len(text):
                    begin = yield from self._batch(text, begin)
        self._finish()

    def _complete_lines(self, stream: BinaryIO) -> Iterator[bytes]:
        rest = b""
        while data := stream.read(CHUNK_BYTES):
            end = data.rfind(b"\n") + 1
            if end:
                yield rest + data[:end]
                rest = b""
            rest += data[end:]
            if len(rest) > MAX_LINE_BYTES:
                raise InputError(
                    f"{self._input.label}, line {self._line}: is longer than "
                    f"{MAX_LINE_BYTES:,} bytes; expected one word and "
                    f"{self._layout.width} numbers per line"
                )
        if rest:
            yield rest + b"\n"

    def _batch(self, text: bytes, begin: int) -> Generator[Batch, None, int]:
        # Yields one batch or none; returns where the next line begins.
        size = self._batch_rows
        rows = numpy.empty((size, self._layout.width), dtype="f")
        spans = numpy.empty((size, 2), dtype="int64")
        ends = numpy.empty(size, dtype="int64")
        status = numpy.empty(size, dtype="int8")
        n = _parse.parse_lines(text, begin, rows, spans, ends, status)
        kept: List[int] = []
        lines: List[int] = []
        words: List[str] = []
        error: Optional[InputError] = None
        for i, (state, end, span) in enumerate(
            zip(status[:n].tolist(), ends[:n].tolist(), spans[:n].tolist(), strict=True)
        ):
            try:
                word = self._take(text, state, slice(begin, end), slice(*span))
            except InputError as err:
                error = err
                break
            begin = end + 1
            if word is not None:
                kept.append(i)
                lines.append(self._line - 1)
                words.append(word)
        if kept:
            chosen = rows[:n] if len(kept) == n else rows[kept]
            if self._layout.ngrams is not None:
                words = []
            yield Batch(words, chosen, lambda i: f"line {lines[i]}")
        if error is not None:
            raise error
        return begin

    def _take(self, text: bytes, state: int, line: slice, span: slice) -> Optional[str]:
        # Returns the word of the next line, or None if the line is left out.
        number = self._line
        self._line += 1
        if state == BLANK:
            # At the end of the file they are harmless.
            self._n_blank += 1
            return None
        if self._n_blank:
            n_blank, self._n_blank = self._n_blank, 0
            self._fault(number - n_blank, "is empty", n_blank)
        word = _decode(text[span]) if state == GOOD else None
        if state != GOOD:
            fault = _describe(text[line], self._layout.width)
        elif word is None:
            fault = f"its word {_quote(text[span])} is not UTF-8"
        elif self._layout.ngrams is not None and word != str(self._n_rows):
            fault = f"is row {word[:40]!r}, but row {self._n_rows} comes next"
        else:
            self._n_rows += 1
            return word
        self._fault(number, fault)
        return None

    def _fault(self, line: int, what: str, n_lines: int = 1) -> None:
        if not self._skip_bad:
            raise InputError(
                f"{self._input.label}, line {line}: {what}; fix or delete the line, "
                "or get the file again"
            )
        self._first_bad = self._first_bad or f"line {line}, which {what}"
        self._n_bad += n_lines

    def _finish(self) -> None:
        label, n_read, n_header = self._input.label, self._n_rows, self._layout.n_rows
        if self._n_bad:
            self._notes.append(
                f"{self._n_bad:,} broken lines were left out; the first is "
                f"{self._first_bad}"
            )
        if not n_read:
            raise InputError(
                f"{label}: has no rows that can be read; expected one word and "
                f"{self._layout.width} numbers per line"
            )
        if n_header in (None, n_read + self._n_bad):
            return
        if self._layout.ngrams is not None:
            raise InputError(
                f"{label}: the header has {n_header:,} rows, the file has {n_read:,}; "
                "get the file again"
            )
        self._notes.append(
            f"the header has {n_header:,} rows, the file has "
            f"{n_read + self._n_bad:,}: all {n_read:,} were read"
        )


def _decode(data: bytes) -> Optional[str]:
    try:
        return data.decode("utf8")
    except UnicodeDecodeError:
        return None


def _describe(line: bytes, width: int) -> str:
    # Describes the fault of a line that the kernel could not read.
    if b"\0" in line:
        return "holds a NUL byte, so it is not text"
    fields = fields_of(line)
    n_numbers = count_numbers(line)
    if len(fields) > width and n_numbers < width:
        # The word may have spaces in it.
        bad = fields[-1 - n_numbers]
        return f"{_quote(bad)} is not a number; expected a word and {width} numbers"
    if n_numbers <= width:
        n_numbers = len(fields) - 1
    return f"has {n_numbers} numbers, but {width} are expected"


def _quote(data: bytes) -> str:
    return repr(data[:40].decode("utf8", "backslashreplace"))
