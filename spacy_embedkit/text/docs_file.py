"""Reads files of tokenized docs, which may be damaged or made by someone else.

Such a file is a row of DocBins, each after its length in 4 bytes, then a zero and the
counts of split.Counts in JSON. All of these are compressed by zlib, whose checksums
tell when a file is damaged; the counts, when it is cut off.
"""

import json
import zlib
from pathlib import Path
from typing import Any, Iterator, List

import numpy
from spacy.attrs import NORM, ORTH
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..io import load_msgpack
from .split import Counts

SIZE_BYTES = 4
# Of a block before and after it is decompressed.
MAX_BLOCK_BYTES = 1 << 28
MAX_COUNTS_BYTES = 1 << 16


def read_docs(path: Path, vocab: Vocab, counts: Counts) -> Iterator[Doc]:
    """Yield the docs of a file that DocsWriter wrote, and add its counts at the end.

    Raises: zlib.error or ValueError after the docs of undamaged blocks; OSError.
    """
    with path.open("rb") as file:
        while size := int.from_bytes(file.read(SIZE_BYTES), "little"):
            if size > MAX_BLOCK_BYTES:
                raise ValueError(f"a block of {size} bytes")
            yield from _block_docs(_decompress(file.read(size), MAX_BLOCK_BYTES), vocab)
        found = json.loads(_decompress(file.read(MAX_COUNTS_BYTES), MAX_COUNTS_BYTES))
        if not isinstance(found, dict):
            raise ValueError("no counts at the end")
        for name, n in found.items():
            if type(n) is not int or not 0 <= n < 2**63:
                raise ValueError(f"{n!r} as the number of {name}")
        counts.add(found)


def _decompress(data: bytes, limit: int) -> bytes:
    # A thousand bytes may stand for a million.
    found = zlib.decompressobj()
    result = found.decompress(data, limit)
    if not found.eof:
        raise ValueError("cut off, or too long")
    return result


def _block_docs(data: bytes, vocab: Vocab) -> Iterator[Doc]:
    """Yield the docs of a block, as DocBin does, but look at what it says first."""
    block = load_msgpack(data)
    if not isinstance(block, dict) or block.get("attrs") != [ORTH, NORM]:
        raise ValueError("not a block of docs")
    names = ("tokens", "spaces", "lengths")
    columns: List[Any] = [block.get(name) for name in names]
    strings, flags = block.get("strings"), block.get("flags")
    if not all(isinstance(column, bytes) for column in columns):
        raise ValueError("tokens of another kind")
    if not (isinstance(strings, list) and all(isinstance(s, str) for s in strings)):
        raise ValueError("strings of another kind")
    tokens = numpy.frombuffer(columns[0], "uint64").reshape(-1, 2)
    spaces = numpy.frombuffer(columns[1], "uint8")
    lengths = numpy.frombuffer(columns[2], "int32")
    ends = lengths.cumsum(dtype="int64")
    if (lengths < 1).any() or not len(tokens) == len(spaces) == sum(lengths.tolist()):
        raise ValueError("lengths that do not fit the tokens")
    if not isinstance(flags, list) or len(flags) != len(lengths):
        raise ValueError("flags that do not fit the docs")
    known = [vocab[string].orth for string in strings if string]
    # A token without its text could not be printed.
    if not numpy.isin(tokens, numpy.asarray([0, *known], dtype="uint64")).all():
        raise ValueError("tokens without a text")
    if not tokens[:, 0].all():
        raise ValueError("tokens of no characters")
    for start, end, flag in zip(ends - lengths, ends, flags, strict=True):
        is_unknown = isinstance(flag, dict) and flag.get("has_unknown_spaces")
        blanks = None if is_unknown else spaces[start:end].astype(bool).tolist()
        doc = Doc(vocab, words=tokens[start:end, 0].tolist(), spaces=blanks)
        norms: Any = tokens[start:end, 1].copy()
        yield doc.from_array([NORM], norms)
