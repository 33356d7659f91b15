"""Caches tokenized docs on disk, in one file for each file of raw text."""

import errno
import hashlib
import json
import logging
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from ..io import describe_os_error
from ..locks import remove_unlocked, try_lock
from .docs_file import SIZE_BYTES, read_docs
from .split import Counts

logger = logging.getLogger("spacy")

# Part of every key: goes up when other docs are made. A file that is written in another
# way is replaced when it is read.
FORMAT = 1
SUFFIX, PARTIAL = ".docs", ".partial"
# A partial file of a killed run is removed when it is older.
STALE_SECONDS = 24 * 3600
BLOCK_TOKENS = 1 << 15
# As many characters count as a token, so that blocks of long tokens are not too large.
TOKEN_CHARS = 1 << 10
GIGABYTE = 1 << 30


class DocsCache:
    """A folder of tokenized docs.

    Docs are made anew each time, after one warning, if the folder is full or can't be
    written, or if the tokenizer can't be told from others.

    max_gb: Gigabytes (2**30 bytes) of the files of docs in the folder, from any run.
    """

    def __init__(self, folder: Path, max_gb: float) -> None:
        self.folder = folder
        self.max_bytes = int(max_gb * GIGABYTE)
        self.is_full = self.has_warned = False

    def key(self, nlp: Language, path: str, settings: Any) -> Optional[str]:
        """Return a name for the docs of a file, or None if they can't be cached.

        settings: What else the docs depend on; JSON can hold it.
        The name depends on path, size and time of the file, and on the tokenizer with
        its rules; not on the libraries that it calls.
        Raises: OSError if the file does not exist.
        """
        tokenizer: Any = nlp.tokenizer
        try:
            rules = tokenizer.to_bytes(exclude=["vocab"])
        except (AttributeError, NotImplementedError, TypeError) as err:
            self._warn(f"docs are not cached, the tokenizer can't be saved ({err})")
            return None
        stat = Path(path).stat()
        parts = [
            [FORMAT, spacy.__version__, nlp.lang, nlp.max_length],
            [type(tokenizer).__module__, type(tokenizer).__qualname__],
            hashlib.blake2b(rules).hexdigest(),
            [str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns],
            settings,
        ]
        data = json.dumps(parts).encode()
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    def docs(
        self,
        key: Optional[str],
        vocab: Vocab,
        make: Callable[[Counts], Iterator[Doc]],
        counts: Counts,
    ) -> Iterator[Doc]:
        """Yield the docs that are cached under the key, or make and cache them.

        make: Makes the docs, always the same ones, and counts texts.
        counts: Gets what `make` counted, be it now or when the docs were cached.
        A file that turns out to be damaged half-way is made anew from there.
        """
        if key is None:
            yield from make(counts)
            return
        path = self.folder / f"{key}{SUFFIX}"
        n_read = 0
        try:
            for doc in read_docs(path, vocab, counts):
                yield doc
                n_read += 1
            return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (zlib.error, ValueError) as err:
            what = "is damaged, or of an older version"
            logger.warning("RawText: %s %s (%s); it is made anew", path, what, err)
        except OSError as err:
            self._warn(f"{describe_os_error(err, path)}; its docs are made anew")
        yield from self._keep(path, make, counts, n_read)

    def _keep(
        self,
        path: Path,
        make: Callable[[Counts], Iterator[Doc]],
        counts: Counts,
        n_known: int,
    ) -> Iterator[Doc]:
        """Make docs, write them all, and yield them but for the first n_known."""
        made = Counts()
        writer = DocsWriter(path, self.max_bytes)
        try:
            for i, doc in enumerate(make(made)):
                self._attempt(writer, writer.add, doc)
                if i >= n_known:
                    yield doc
            counts.add(made.as_dict())
            self._attempt(writer, writer.finish, made.as_dict())
        finally:
            writer.discard()

    def _attempt(
        self, writer: "DocsWriter", action: Callable[..., None], *args: Any
    ) -> None:
        """Write something; if that fails, nothing is written from now on."""
        if self.is_full:
            return
        try:
            action(*args)
        except OSError as err:
            self.is_full = True
            writer.discard()
            self._warn(
                f"{describe_os_error(err, self.folder)}; texts that are not cached are "
                "tokenized each time; empty the folder, or raise max_cache_gb"
            )

    def _warn(self, what: str) -> None:
        if not self.has_warned:
            logger.warning("RawText: %s", what)
            self.has_warned = True


class DocsWriter:
    """Writes docs to a temporary file, which replaces path when it is complete.

    max_bytes: What the folder of the file may hold.
    Raises: OSError, by add and finish, if it can't be written or would hold more.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self.max_bytes = path, max_bytes
        self.file: Any = None
        self._start_block()

    def add(self, doc: Doc) -> None:
        """Write a doc, or keep it for the next block."""
        self.block.add(doc)
        n_chars = doc[-1].idx + len(doc[-1])
        self.n_tokens += max(len(doc), n_chars // TOKEN_CHARS)
        if self.n_tokens >= BLOCK_TOKENS:
            self._write_block()

    def finish(self, counts: Dict[str, int]) -> None:
        """Write what is left and the counts, and move the file to its place."""
        self._write_block()
        self._write(bytes(SIZE_BYTES) + zlib.compress(json.dumps(counts).encode()))
        self.file.close()
        Path(self.file.name).replace(self.path)

    def discard(self) -> None:
        """Remove what is written, unless it was finished."""
        if self.file is None:
            return
        # The disk may be full, or not there any more.
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            Path(self.file.name).unlink()
        self.file = None

    def _start_block(self) -> None:
        self.block, self.n_tokens = DocBin(attrs=["NORM"]), 0

    def _write_block(self) -> None:
        if self.n_tokens:
            data = self.block.to_bytes()
            self._write(len(data).to_bytes(SIZE_BYTES, "little") + data)
        self._start_block()

    def _write(self, data: bytes) -> None:
        if self.file is None:
            folder = self.path.parent
            folder.mkdir(parents=True, exist_ok=True)
            self.free = self.max_bytes - _folder_bytes(folder)
            name = f".{self.path.stem}.{os.urandom(4).hex()}{PARTIAL}"
            self.file = (folder / name).open("wb")
            with suppress(OSError):
                try_lock(self.file)
        self.free -= len(data)
        if self.free < 0:
            raise OSError(errno.EDQUOT, "max_cache_gb is reached")
        self.file.write(data)


def _folder_bytes(folder: Path) -> int:
    """Return what the files of docs in a folder take; remove stale partial ones."""
    total = 0
    for path in [*folder.glob(f"*{SUFFIX}"), *folder.glob(f".*{PARTIAL}")]:
        # Others may write, and finish, at the same time.
        with suppress(FileNotFoundError):
            stat = path.stat()
            is_old = time.time() - stat.st_mtime > STALE_SECONDS
            if path.suffix == PARTIAL and is_old and remove_unlocked(path):
                continue
            total += stat.st_size
    return total
