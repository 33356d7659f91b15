"""The corpus that spacy-embedkit.RawText.v1 makes: files in, docs out, each epoch."""

import logging
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Generator, Iterator, List, Optional

import numpy
from spacy.language import Language
from spacy.tokens import Doc

from ..checks import InputError
from ..io import describe_os_error
from .docs_cache import DocsCache
from .paths import find_files
from .read import read_pieces
from .shuffle import shuffled
from .split import Counts, Lengths, make_docs

logger = logging.getLogger("spacy")


@dataclass
class RawTextCorpus:
    """Docs of raw text; called with a pipeline, it reads them once.

    paths: Files, folders and patterns, see find_files. Which files these are is
        settled by the first call.
    text_key: As in read_pieces. lengths: How texts become docs.
    shuffle: Docs of the buffer, 0 for the order of the files.
    limit: Docs that are read, the first ones; 0 for all.
    counts: What the last pass found that went to the end; None before.
    """

    paths: List[str]
    text_key: str = "text"
    lengths: Lengths = field(default_factory=Lengths)
    shuffle: int = 0
    limit: int = 0
    cache: Optional[DocsCache] = None
    counts: Optional[Counts] = field(default=None, init=False)
    files: List[str] = field(default_factory=list, init=False)

    def __call__(self, nlp: Language) -> Iterator[Doc]:
        """Return the docs of one pass; draw its order from numpy's random state.

        Raises: InputError naming what is wrong: here, if there is no path, or a file
            is missing; when the docs are read, for what is in it, or if it is no text.
        """
        if not self.files:
            self.files = self._find()
        for path in self.files:
            try:
                Path(path).stat()
            except OSError as err:
                raise InputError(describe_os_error(err, path)) from err
        rng = Random(numpy.random.randint(2**31 - 1)) if self.shuffle else None
        return self._read(nlp, rng)

    def _find(self) -> List[str]:
        if not any(self.paths):
            raise InputError(
                "RawText.v1: path is null; set it to files, folders or patterns"
            )
        if "-" in self.paths:
            raise InputError(
                "RawText.v1: path is '-', but standard input can be read only once; "
                "name a file"
            )
        return find_files(self.paths)

    def _read(self, nlp: Language, rng: Optional[Random]) -> Iterator[Doc]:
        total = Counts()
        files = list(self.files)
        # The first docs have to be the same ones each time.
        if rng is not None and not self.limit:
            rng.shuffle(files)
        with closing(self._docs(nlp, files, total)) as stream:
            docs: Iterator[Doc] = islice(stream, self.limit or None)
            for doc in docs if rng is None else shuffled(docs, self.shuffle, rng):
                total.docs += 1
                total.tokens += len(doc)
                yield doc
        self._finish(total)

    def _docs(
        self, nlp: Language, files: List[str], total: Counts
    ) -> Generator[Doc, None, None]:
        for path in files:
            make = partial(self._make, nlp, path)
            if self.cache is None:
                yield from make(total)
                continue
            lengths = self.lengths
            settings = [lengths.max_length, lengths.min_length, lengths.join_short]
            try:
                key = self.cache.key(nlp, path, [self.text_key, *settings])
            except OSError as err:
                raise InputError(describe_os_error(err, path)) from err
            yield from self.cache.docs(key, nlp.vocab, make, total)

    def _make(self, nlp: Language, path: str, counts: Counts) -> Iterator[Doc]:
        return make_docs(nlp, read_pieces(path, self.text_key), self.lengths, counts)

    def _finish(self, total: Counts) -> None:
        """Report the first pass."""
        if not total.docs:
            raise InputError(
                f"{', '.join(self.paths)}: no text in {len(self.files)} files, but "
                f"{total.blank} blank ones; name files with text"
            )
        if self.counts is None:
            logger.info(
                "RawText: %d docs of %d tokens, from %d texts: %d split, %d joined to "
                "the next; %d blank left out",
                total.docs,
                total.tokens,
                total.texts,
                total.split,
                total.joined,
                total.blank,
            )
        self.counts = total
