"""Keeps tokenized docs on disk: strings, their numbers and spaces, in checked blocks.

A file is a row of blocks, each its length and digest, then MessagePack. The last block
has the counts of split.Counts, so that a file without it was cut off. A norm is kept
only where it differs from that of the word, which the vocab knows.
"""

import errno
import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, List, Optional

import numpy
import srsly
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.vocab import Vocab

from .split import build_doc, doc_rows

SUFFIX = ".docs"
# A part that nobody finished is removed when it is as old.
STALE_SECONDS = 24 * 3600
DIGEST_BYTES = 16
HEADER_BYTES = 4 + DIGEST_BYTES
# Where a block ends. Numbers of its words fit in two bytes, since docs are shorter.
BLOCK_TOKENS = 1 << 15
BLOCK_CHARACTERS = 1 << 21
LARGEST_BLOCK = 1 << 26


class DamagedError(ValueError):
    """A file of docs that is cut off, or not as it was written."""


def read_docs(path: Path, vocab: Vocab, counts: Dict[str, int]) -> Iterator[Doc]:
    """Yield the docs of a file that DocsWriter wrote.

    counts: Gets what the writer was given, at the end.
    Raises: DamagedError, after the docs of whole blocks; OSError.
    """
    with path.open("rb") as file:
        while "counts" not in (block := _read_block(file)):
            yield from _block_docs(block, vocab)
        counts.update(block["counts"])


class DocsWriter:
    """Writes docs to a temporary file, which takes its place when it is whole.

    path: File to write. vocab: That of the docs.
    most: Bytes that the folder of the file may hold.
    Raises: OSError, by any method, if it can't be written or would hold more.
    """

    def __init__(self, path: Path, vocab: Vocab, most: int) -> None:
        self.path, self.vocab, self.most = path, vocab, most
        self.partial = path.with_name(f".{path.stem}.{os.urandom(4).hex()}.partial")
        self.file: Optional[BinaryIO] = None
        self.free = 0
        self.rows: List[NDArray] = []
        self.n_tokens = self.n_characters = 0

    def start(self) -> None:
        """Make the folder and the temporary file; the other methods come after."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.free = self.most - _folder_bytes(self.path.parent)
        self.file = self.partial.open("wb")

    def add(self, doc: Doc) -> None:
        """Write a doc, of 1 to 32,000 tokens, or keep it for the next block."""
        self.rows.append(doc_rows(doc))
        self.n_tokens += len(doc)
        self.n_characters += doc[-1].idx + len(doc[-1])
        if self.n_tokens >= BLOCK_TOKENS or self.n_characters >= BLOCK_CHARACTERS:
            self._write_docs()

    def finish(self, counts: Dict[str, int]) -> None:
        """Write what is left and the counts, and put the file in its place."""
        self._write_docs()
        self._write({"counts": counts})
        assert self.file is not None
        self.file.close()
        self.partial.replace(self.path)

    def discard(self) -> None:
        """Remove what is written, unless it was finished."""
        if self.file is None:
            return
        # What a full disk did not take is not needed any more; nor may the disk, or
        # the folder, be there.
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self.partial.unlink()
        self.file = None

    def _write_docs(self) -> None:
        if self.rows:
            self._write(_make_block(self.rows, self.vocab))
        self.rows, self.n_tokens, self.n_characters = [], 0, 0

    def _write(self, block: Dict[str, Any]) -> None:
        data = srsly.msgpack_dumps(block)
        self.free -= HEADER_BYTES + len(data)
        if self.free < 0:
            raise OSError(errno.EDQUOT, "max_cache_gb is reached")
        assert self.file is not None
        self.file.write(len(data).to_bytes(4, "little") + _digest(data) + data)


def _make_block(docs: List[NDArray], vocab: Vocab) -> Dict[str, Any]:
    rows = numpy.concatenate(docs)
    words, ids = numpy.unique(rows[:, 0], return_inverse=True)
    norms = numpy.array([vocab[word].norm for word in words.tolist()], dtype="uint64")
    places = numpy.flatnonzero(rows[:, 2] != norms[ids])
    own_norms, norm_ids = numpy.unique(rows[places, 2], return_inverse=True)
    return {
        "words": [vocab.strings[word] for word in words.tolist()],
        "ids": ids.astype("<u2").tobytes(),
        "spaces": numpy.packbits(rows[:, 1].astype(bool)).tobytes(),
        "lengths": [len(doc) for doc in docs],
        "norms": [vocab.strings[norm] for norm in own_norms.tolist()],
        "norm_ids": norm_ids.astype("<u2").tobytes(),
        "norm_places": places.astype("<u4").tobytes(),
    }


def _block_docs(block: Dict[str, Any], vocab: Vocab) -> Iterator[Doc]:
    ids = numpy.frombuffer(block["ids"], dtype="<u2")
    rows = numpy.zeros((len(ids), 3), dtype="uint64")
    rows[:, 0] = _hashes(block["words"], vocab)[ids]
    spaces = numpy.frombuffer(block["spaces"], dtype="uint8")
    rows[:, 1] = numpy.unpackbits(spaces, count=len(ids))
    norm_ids = numpy.frombuffer(block["norm_ids"], dtype="<u2")
    places = numpy.frombuffer(block["norm_places"], dtype="<u4")
    rows[places, 2] = _hashes(block["norms"], vocab)[norm_ids]
    end = 0
    for length in block["lengths"]:
        end += length
        yield build_doc(vocab, rows[end - length : end])


def _hashes(strings: List[str], vocab: Vocab) -> NDArray:
    return numpy.array([vocab.strings.add(text) for text in strings], dtype="uint64")


def _read_block(file: BinaryIO) -> Dict[str, Any]:
    header = file.read(HEADER_BYTES)
    size = int.from_bytes(header[:4], "little")
    if len(header) < HEADER_BYTES or size > LARGEST_BLOCK:
        raise DamagedError("cut off")
    data = file.read(size)
    if _digest(data) != header[4:]:
        raise DamagedError("not as it was written")
    return srsly.msgpack_loads(data)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def _folder_bytes(folder: Path) -> int:
    """Return what the files of docs in a folder take; remove parts left behind."""
    total = 0
    for path in [*folder.glob(f"*{SUFFIX}"), *folder.glob(".*.partial")]:
        # Others may write, and finish, at the same time.
        try:
            stat = path.stat()
            if path.suffix == SUFFIX or time.time() - stat.st_mtime < STALE_SECONDS:
                total += stat.st_size
            else:
                path.unlink()
        except FileNotFoundError:
            continue
    return total
