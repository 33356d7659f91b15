"""Vectors in text form, against a plain reading by split and float."""

import re
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, List, Tuple, cast

import numpy

from spacy_embedkit.vectors.sources.inputs import HEAD_BYTES, Input
from spacy_embedkit.vectors.sources.source import Source
from spacy_embedkit.vectors.sources.text_files import open_text

from ..base import Reader, WrongNumberError, same
from ..mutate import Spoil

Rows = Tuple[List[str], Any]
NUMBERS = b"1e39 -1e-46 nan -inf .5 5. 1_0 0x1 1e 1e-400 9007199254740993 +7".split()
NUMBERS += [b"1.17549429e-38", b"3.4028235677973366e38", b"0" * 30 + b"1", b"\xd9\xa3"]
FIELD = re.compile(r"[^ \t\r]+")


def input_of(data: bytes, path: Any = None) -> Input:
    """Make an opened file of bytes; path is where they are, for readers that map."""
    return Input(
        label="file",
        head=data[:HEAD_BYTES],
        open=lambda: cast(Any, BytesIO(data)),
        local=lambda: Path(path),
    )


def read_source(source: Source) -> Rows:
    """Read a source to its end."""
    batches = list(source.batches)
    if not batches:
        return [], numpy.zeros((0, source.width), dtype="f")
    for batch in batches:
        if batch.rows.dtype != numpy.float32 or batch.rows.shape[1] != source.width:
            raise WrongNumberError(f"rows are {batch.rows.dtype} {batch.rows.shape}")
        if source.ngrams is None and len(batch.words) != len(batch.rows):
            raise WrongNumberError("words and rows differ in number")
    words = [word for batch in batches for word in batch.words]
    return words, numpy.concatenate([batch.rows for batch in batches])


def same_rows(found: Any, expected: Any) -> None:
    """Raise WrongNumberError unless two tables have the same bits; NaN is NaN."""
    same("shape", found.shape, expected.shape)
    if not numpy.array_equal(found, expected, equal_nan=True):
        [i, *_] = numpy.argwhere(~((found == expected) | numpy.isnan(expected)))
        at = tuple(i.tolist())
        raise WrongNumberError(f"row: {at} is {found[at]!r}, not {expected[at]!r}")


class TextVectors(Reader):
    """A broken line is an error."""

    skip_bad = False

    def seeds(self) -> List[bytes]:
        """Make tables of each layout."""
        return [
            b"cat 1 2.5 -3\nh\xc3\xa4user 4e-3 5 inf\n1 2 3 4\n",
            b"3 3\ncat 1 2 3\na b 4 5 6\n\xe6\x9d\xb1 7 8 9 \n",
            b"\xef\xbb\xbfcat\t0.1\t2\r\ndog\t1e400\t-.5e-50\r\n\r\n",
            b"3 2 2 3 2 7 < >\n0 1 2\n1 3 4\n2 5 6\n",
            b"7 1\nx 0.123456789012345678901234567890\n1 99999999999999999999e-20\n",
        ]

    def mutate(self, data: bytes, rng: Random, spoil: Spoil) -> bytes:
        """Change a field or a space, or anything."""
        fields = data.split(b" ")
        i = rng.randrange(len(fields))
        choice = rng.random()
        if choice < 0.5:
            fields[i] = rng.choice([*NUMBERS, b"\n", fields[0], spoil(fields[i])])
        elif choice < 0.6:
            fields.insert(i, rng.choice([b"", b"\n", fields[-1]]))
        elif choice < 0.7:
            fields[i] = b"%.*g" % (rng.choice([7, 9, 17, 30]), rng.gauss(0, 1))
        elif choice < 0.75:
            return data.replace(b" ", rng.choice([b"\t", b"  ", b"\r"]), 1)
        else:
            return spoil(data)
        return b" ".join(fields)

    def read(self, data: bytes) -> Tuple[Source, Rows]:
        """Read the lines."""
        source = open_text(input_of(data), self.skip_bad)
        return source, read_source(source)

    def check(self, data: bytes, result: Tuple[Source, Rows]) -> None:
        """Compare with a plain reading."""
        source, (words, rows) = result
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        lines = lines[source.format != "GloVe text" :]
        # Blank lines are harmless at the end.
        while lines and not lines[-1].strip(b" \t\r"):
            lines.pop()
        expected = [
            plain_line(line, source.width)
            for line in lines
            if line.strip(b" \t\r") or (source.ngrams is not None and line)
        ]
        kept = [found for found in expected if found is not None]
        if not self.skip_bad and len(kept) < len(expected):
            raise WrongNumberError(
                f"bad line: {len(expected) - len(kept)} were accepted"
            )
        if source.ngrams is None:
            same("words", words, [word for word, _ in kept])
        same_rows(rows, numpy.array([row for _, row in kept], dtype="f"))


class SkippingTextVectors(TextVectors):
    """Broken lines are left out."""

    skip_bad = True


def plain_line(line: bytes, width: int) -> Any:
    """Read a line as its word and numbers; None if it is none."""
    try:
        text = line.decode("utf8")
    except UnicodeDecodeError:
        return None
    fields = list(FIELD.finditer(text))
    # The word is empty in a line that begins with a space.
    is_nameless = text[:1] in (" ", "\t", "\r")
    if "\0" in text or len(fields) < width + (not is_nameless):
        return None
    with numpy.errstate(over="ignore"):
        try:
            numbers = [plain_number(field[0]) for field in fields[-width:]]
        except ValueError:
            return None
    word = text[: fields[-width].start()].rstrip(" \t\r")
    word = word.lstrip(" \t\r")
    inner = FIELD.findall(word)
    # If the word ended in a number, the line would rather have too many.
    if len(inner) > 1 and is_plain_number(inner[-1]):
        return None
    return word, numbers


def plain_number(field: str) -> Any:
    """Read a number as float does, but for underscores and digits of other scripts."""
    if "_" in field or not field.isascii() or field != field.strip():
        raise ValueError
    return numpy.float32(float(field))


def is_plain_number(field: str) -> bool:
    """Whether plain_number reads it."""
    try:
        return plain_number(field) is not None
    except ValueError:
        return False
