"""A table of vectors: its parts, what it is called by, and its bytes."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

import numpy
import srsly
from numpy.typing import NDArray

from .keys import KeyRows, Words
from .ngrams import Ngrams
from .rows import STORES, Rows, empty_rows

FORMAT, VERSION = "spacy-embedkit vectors", 1
KEY_ARRAYS = ("keys", "key_rows", "buckets")
WORD_ARRAYS = ("words", "word_ends")


@dataclass
class Table:
    """What a folder holds.

    rows: V rows, O wide. mean: (O,) float32, their mean.
    keys: Which row a key has. words: The word of each row. Both None for n-grams.
    ngrams: How words find their rows, in a table of n-grams.
    subwords: Table of n-grams for the words without a row.
    attr: Token attribute that is looked up. name: What users call the table.
    folder: Where its files are; None if it is in memory.
    fingerprint: Hexadecimal digest of all of it; equal tables have equal ones.
    """

    rows: Rows = field(default_factory=empty_rows)
    mean: NDArray = field(default_factory=lambda: numpy.zeros(0, dtype="f"))
    keys: Optional[KeyRows] = None
    words: Optional[Words] = None
    ngrams: Optional[Ngrams] = None
    subwords: "Optional[Table]" = None
    attr: str = "ORTH"
    name: Optional[str] = None
    folder: Optional[Path] = None
    fingerprint: str = ""

    def arrays(self) -> Dict[str, NDArray]:
        """Return all arrays by the names of their files, without the subwords'."""
        found = dict(self.rows.arrays)
        found["mean"] = self.mean
        for part in (self.keys, self.words):
            found.update(part.arrays if part is not None else {})
        return found

    def header(self) -> Dict[str, Any]:
        """Return what is written to the header."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "dtype": self.rows.dtype,
            "shape": list(self.rows.shape),
            "keys": None if self.keys is None else len(self.keys),
            "attr": self.attr,
            "name": self.name,
            "ngrams": None if self.ngrams is None else self.ngrams.to_dict(),
            "subwords": self.subwords is not None,
            "fingerprint": self.fingerprint,
        }

    def sign(self) -> "Table":
        """Compute the fingerprint, which reads all of the table, and return it."""
        if self.subwords is not None and not self.subwords.fingerprint:
            self.subwords.sign()
        self.fingerprint = ""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps(self.header(), sort_keys=True).encode())
        digest.update((self.subwords.fingerprint if self.subwords else "").encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(name.encode())
            for block in _blocks(array):
                digest.update(numpy.ascontiguousarray(block).data)
        self.fingerprint = digest.hexdigest()
        return self


def assemble(
    header: Dict[str, Any], arrays: Dict[str, NDArray], subwords: Optional[Table]
) -> Table:
    """Make a table of its parts; ValueError if they do not fit together."""
    store = STORES[header["dtype"]]
    rows = store({name: arrays[name] for name in store.names})
    n_rows, width = rows.shape
    if [n_rows, width] != list(header["shape"]) or arrays["mean"].shape != (width,):
        raise ValueError(f"the rows are {n_rows} x {width}, not {header['shape']}")
    table = Table(
        rows,
        arrays["mean"],
        subwords=subwords,
        attr=header["attr"],
        name=header["name"],
        fingerprint=header["fingerprint"],
    )
    if header["ngrams"] is not None:
        table.ngrams = Ngrams(**header["ngrams"])
    else:
        table.keys = KeyRows({name: arrays[name] for name in KEY_ARRAYS}, n_rows)
        table.words = Words({name: arrays[name] for name in WORD_ARRAYS})
        if len(table.words) != n_rows or len(table.keys) != header["keys"]:
            raise ValueError("the numbers of words, keys and rows differ")
    if subwords is not None and (
        subwords.ngrams is None or subwords.rows.width != width
    ):
        raise ValueError("the subwords are not a table of n-grams of this width")
    return table


def table_to_bytes(table: Table) -> bytes:
    """Put a whole table into bytes."""
    parts = {
        "header": table.header(),
        "arrays": table.arrays(),
        "subwords": None if table.subwords is None else table_to_bytes(table.subwords),
    }
    return srsly.msgpack_dumps(parts)


def table_from_bytes(data: bytes) -> Table:
    """Take a table, held in memory, out of bytes."""
    parts = srsly.msgpack_loads(data)
    inner = parts["subwords"]
    subwords = None if inner is None else table_from_bytes(inner)
    return assemble(parts["header"], parts["arrays"], subwords)


def _blocks(array: NDArray) -> Iterator[NDArray]:
    step = max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]
