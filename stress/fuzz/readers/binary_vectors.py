"""word2vec's and fastText's binary files, against a plain reading by struct."""

import struct
from io import BytesIO
from typing import Any, List, Tuple

import numpy

from spacy_embedkit.vectors.sources.fasttext import open_fasttext
from spacy_embedkit.vectors.sources.source import Source
from spacy_embedkit.vectors.sources.word2vec import open_word2vec_binary

from ..base import Reader, WrongNumberError, same
from .text_vectors import Rows, input_of, read_source, same_rows

WORDS = ["cat", "häuser", "東京", "🙂", "</s>"]


def table(rows: int, width: int) -> Any:
    """Make rows of numbers that float32 holds exactly."""
    return (numpy.arange(rows * width).reshape(rows, width) / 4 - 2).astype("<f4")


class Word2vecBinary(Reader):
    """Words and floats after a line of two counts."""

    def seeds(self) -> List[bytes]:
        """Make tables with and without newlines."""
        pairs = list(zip(WORDS, table(5, 3), strict=True))
        rows = [word.encode() + b" " + row.tobytes() for word, row in pairs]
        return [b"5 3\n" + end.join([*rows, b""]) for end in (b"", b"\n")]

    def read(self, data: bytes) -> Tuple[Source, Rows]:
        """Read all rows."""
        source = open_word2vec_binary(input_of(data))
        return source, read_source(source)

    def check(self, data: bytes, result: Tuple[Source, Rows]) -> None:
        """Compare with a plain reading."""
        _, (words, rows) = result
        file = BytesIO(data)
        n_rows, width = map(int, file.readline().split())
        same("shape", rows.shape, (n_rows, width))
        for i in range(n_rows):
            word = b""
            while (letter := file.read(1)) != b" ":
                word += letter
            same("words", words[i], word.lstrip(b"\n").decode())
            row = numpy.array(struct.unpack(f"<{width}f", file.read(4 * width)), "f")
            same_rows(rows[i], row)


class FastText(Reader):
    """The words of a model, each with the mean of its n-grams, and the n-grams."""

    mode: Tuple[int, ...] = ()

    def seeds(self) -> List[bytes]:
        """Make a model with n-grams, one without, and one of an older version."""
        return [model(self.mode), model(self.mode, maxn=0), model(self.mode, 11)]

    def read(self, data: bytes) -> Any:
        """Read words and n-grams."""
        path = self.folder / "model.bin"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        source = open_fasttext(input_of(data, path), True)
        rows = read_source(source)
        inner = None if source.subwords is None else read_source(source.subwords)
        return source, rows, inner

    def check(self, data: bytes, result: Any) -> None:
        """Compare with a plain reading."""
        source, (words, rows), inner = result
        begin, width, n_words, n_entries, bucket = plain_head(data)
        at, plain = begin, []
        for _ in range(n_entries):
            end = data.index(b"\0", at)
            plain.append(data[at:end])
            at = end + 10
        matrix = numpy.frombuffer(data, "<f4", (n_words + bucket) * width, at + 17)
        matrix = matrix.reshape(-1, width)
        if source.ngrams is not None:
            same_rows(rows, matrix[n_words:])
            return
        if inner is not None:
            same_rows(inner[1], matrix[n_words:])
        kept = [i for i in range(n_words) if is_utf8(plain[i])]
        same("words", words, [plain[i].decode() for i in kept])
        ngrams = source.subwords.ngrams if source.subwords is not None else None
        for i, row in zip(kept, rows, strict=True):
            picks = [n_words + p for p in plain_ngrams(plain[i], ngrams, bucket)]
            with numpy.errstate(all="ignore"):
                wide = matrix[[i, *picks]].astype("f8")
                expected = wide.mean(axis=0)
                slack = 1e-5 * numpy.abs(wide).sum(axis=0) + 1e-30
                wrong = numpy.abs(row - expected) > slack
            # Numbers near the largest may overflow on the way.
            if wrong.any() and (numpy.abs(wide) < 1e37).all():
                raise WrongNumberError(f"row: {i} is {row}, not {expected}")


class Floret(FastText):
    """The table of n-grams of a model of floret."""

    mode = (2, 2)


def model(mode: Tuple[int, ...], version: int = 12, maxn: int = 3) -> bytes:
    """Write a model of fastText, or of floret where mode is given."""
    width, bucket, n_labels = 3, 7, 1
    head = struct.pack("<2i", 793712314, version)
    head += struct.pack(
        "<11i", width, 5, 5, 1, 5, 1, 1, 2, bucket, 2 * bool(maxn), maxn
    )
    head += struct.pack(f"<{len(mode)}i", *mode) if mode else b""
    head += struct.pack("<id", 100, 1e-4)
    n = len(WORDS)
    head += struct.pack("<3i2q", n + n_labels, n, n_labels, 100, -1)
    for kind, names in ((0, WORDS), (1, ["__label__a"])):
        for name in names:
            head += name.encode() + b"\0" + struct.pack("<qb", 9, kind)
    for rows in (n + bucket, 2):
        head += struct.pack("<?2q", False, rows, width) + table(rows, width).tobytes()
    return head


def plain_head(data: bytes) -> Tuple[int, int, int, int, int]:
    """Return the begin of the words, width, words, entries and buckets."""
    width, *_, bucket, _, _ = struct.unpack_from("<11i", data, 8)
    for begin in (52, 60):
        sizes = struct.unpack_from("<id3i2q", data, begin)
        n_entries, n_words, n_labels, n_tokens = sizes[2:6]
        if 0 < n_words <= n_entries == n_words + n_labels and n_tokens >= 0:
            break
    return begin + 40, width, n_words, n_entries, bucket


def is_utf8(word: bytes) -> bool:
    """Whether a word is text."""
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True


def plain_ngrams(word: bytes, ngrams: Any, bucket: int) -> List[int]:
    """Return the buckets of a word's n-grams, as fastText's Dictionary does."""
    if ngrams is None or word in (b"</s>", b""):
        return []
    text = f"<{word.decode()}>"
    found = []
    for i in range(len(text)):
        for n in range(ngrams.minn, min(ngrams.maxn, len(text) - i) + 1):
            if n < 1 or (n == 1 and (i == 0 or i + n == len(text))):
                continue
            code = 2166136261
            for byte in text[i : i + n].encode():
                signed = byte - 256 if byte > 127 else byte
                code = ((code ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
            found.append(code % bucket)
    return found
