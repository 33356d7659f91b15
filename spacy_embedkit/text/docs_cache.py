"""Docs of files: from a folder where they are kept, or made and put there."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..io import describe_os_error
from .docs_store import SUFFIX, DamagedError, DocsWriter, read_docs
from .split import Counts

logger = logging.getLogger("spacy")

# Part of every key: goes up with a change of what docs are made, or how they are kept.
FORMAT = 1
GIGABYTE = 1 << 30


class DocsCache:
    """A folder of tokenized docs, a file for each file of raw text and settings.

    What can't be kept is made anew each time: where the folder is full, can't be
    written, or the tokenizer can't be told from others, this is said once.

    max_gb: Gigabytes (2**30 bytes) of the folder's files of docs, those of others too.
    """

    def __init__(self, folder: Path, max_gb: float) -> None:
        self.folder = folder
        self.max_bytes = int(max_gb * GIGABYTE)
        self.is_full = self.has_warned = False

    def key(self, nlp: Language, path: str, settings: Any) -> Optional[str]:
        """Return a name for the docs of a file, or None if they can't be kept.

        settings: What else the docs depend on; JSON can hold it.
        The name depends on path, size and time of the file, and on the tokenizer with
        its rules; not on what libraries it calls.
        Raises: OSError, if there is no such file.
        """
        tokenizer: Any = nlp.tokenizer
        try:
            rules = tokenizer.to_bytes(exclude=["vocab"])
        except (AttributeError, NotImplementedError, TypeError) as err:
            self._warn(f"docs are not kept, the tokenizer can't be saved ({err})")
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
        """Yield the docs that are kept under the key, or make and keep them.

        make: Makes the docs, always the same ones, and counts texts.
        counts: Gets what `make` counted, be it now or when the docs were kept.
        A file that turns out to be damaged half-way is made anew from there.
        """
        if key is None:
            yield from make(counts)
            return
        path = self.folder / f"{key}{SUFFIX}"
        kept: Dict[str, int] = {}
        n_read = 0
        try:
            for doc in read_docs(path, vocab, kept):
                yield doc
                n_read += 1
            counts.add(kept)
            return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except DamagedError as err:
            logger.warning("RawText: %s: %s; it is made anew", path, err)
        except OSError as err:
            self._warn(f"{describe_os_error(err, path)}; its docs are made anew")
        yield from self._keep(path, vocab, make, counts, n_read)

    def _keep(
        self,
        path: Path,
        vocab: Vocab,
        make: Callable[[Counts], Iterator[Doc]],
        counts: Counts,
        n_known: int,
    ) -> Iterator[Doc]:
        """Make docs, keep them all, and yield them but for the first n_known."""
        made = Counts()
        writer = DocsWriter(path, vocab, self.max_bytes)
        is_kept = not self.is_full and self._attempt(writer, writer.start)
        try:
            for i, doc in enumerate(make(made)):
                is_kept = is_kept and self._attempt(writer, writer.add, doc)
                if i >= n_known:
                    yield doc
            counts.add(made.as_dict())
            if is_kept:
                self._attempt(writer, writer.finish, made.as_dict())
        finally:
            writer.discard()

    def _attempt(
        self, writer: DocsWriter, action: Callable[..., None], *args: Any
    ) -> bool:
        """Say whether the writer could do it; if not, nothing is kept from now on."""
        try:
            action(*args)
        except OSError as err:
            writer.discard()
            self.is_full = True
            self._warn(
                f"{describe_os_error(err, self.folder)}; texts that are not kept are "
                "tokenized each time; empty the folder, or raise max_cache_gb"
            )
            return False
        return True

    def _warn(self, what: str) -> None:
        if not self.has_warned:
            logger.warning("RawText: %s", what)
            self.has_warned = True
