"""The corpus of spacy-embedkit.RawText.v1: reads files into shuffled docs."""

import logging
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Generator, Iterable, Iterator, List, Optional

import numpy
from spacy.language import Language
from spacy.tokens import Doc
from tqdm import tqdm

from ..checks import InputError
from ..io import describe_os_error
from .docs_cache import DocsCache
from .files import find_files
from .pieces import Unit
from .read import looks_wrapped, read_pieces
from .split import Counts, Lengths, make_docs

logger = logging.getLogger("spacy")

# Of the buffer: a token takes 128 bytes, so a million take 130 MB.
MAX_TOKENS = 1_000_000
# Filling the buffer shows a bar when it takes longer.
BAR_DELAY = 2.0
# Files whose first lines are looked at before anything is read.
FILES_TO_TRY = 10


@dataclass
class RawTextCorpus:
    """Docs of raw text. A call with a pipeline reads them once.

    paths: As in find_files. They are expanded by the first call.
    text_key, unit: As in read_pieces. lengths: How texts become docs.
    shuffle: Size of the buffer, in docs; 0 keeps the order of the files.
    limit: Number of docs to read, from the first one; 0 for all.
    cache: Where tokenized docs are kept, if at all.
    counts: Of the last pass that went to the end; None before.
    """

    paths: List[str]
    text_key: str = "text"
    lengths: Lengths = field(default_factory=Lengths)
    shuffle: int = 0
    limit: int = 0
    cache: Optional[DocsCache] = None
    unit: Unit = "line"
    counts: Optional[Counts] = field(default=None, init=False)
    files: List[str] = field(default_factory=list, init=False)

    def __call__(self, nlp: Language) -> Iterator[Doc]:
        """Return the docs of one pass, in an order drawn from numpy's random state.

        Raises: InputError, when called, if the path is null or a file is missing; when
            read, if a file is broken or no file has text.
        """
        if not self.files:
            self.files = self._find()
            self._warn_if_wrapped()
        for path in self.files:
            try:
                Path(path).stat()
            except OSError as err:
                raise InputError(describe_os_error(err, path)) from err
        rng = Random(numpy.random.randint(2**31 - 1)) if self.shuffle else None
        return self._read(nlp, rng)

    def describe(self) -> str:
        """Say in one line what the last pass that went to the end has read."""
        found = self.counts or Counts()
        return (
            f"read from {len(self.files):,} files: {found.texts:,} texts, "
            f"{found.split:,} split, {found.joined:,} joined to the next, "
            f"{found.blank:,} blank"
        )

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

    def _warn_if_wrapped(self) -> None:
        for path in self.files[:FILES_TO_TRY] if self.unit == "line" else []:
            # Reading it reports what is wrong.
            with suppress(InputError):
                if looks_wrapped(path):
                    logger.warning(
                        "RawText: %s looks like lines of one width whose sentences go "
                        "on in the next line; each is a text of its own, so set unit = "
                        '"paragraph" where path is set, to join those between blank '
                        "lines",
                        path,
                    )
                    return

    def _read(self, nlp: Language, rng: Optional[Random]) -> Iterator[Doc]:
        total = Counts()
        files = list(self.files)
        # With a limit, each pass has to take the same docs, the first ones.
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
            # Without the default, keys are those of before.
            unit = [] if self.unit == "line" else [self.unit]
            try:
                key = self.cache.key(nlp, path, [self.text_key, *settings, *unit])
            except OSError as err:
                raise InputError(describe_os_error(err, path)) from err
            yield from self.cache.docs(key, nlp.vocab, make, total)

    def _make(self, nlp: Language, path: str, counts: Counts) -> Iterator[Doc]:
        return make_docs(
            nlp, read_pieces(path, self.text_key, self.unit), self.lengths, counts
        )

    def _finish(self, total: Counts) -> None:
        """Keep the counts, and log those of the first pass."""
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


def shuffled(docs: Iterable[Doc], size: int, rng: Random) -> Iterator[Doc]:
    """Yield docs in the order in which they are drawn from a buffer.

    size: Docs in the buffer, 1 or more; fewer if they have MAX_TOKENS. A doc comes at
        most `size` places too early, but may come much later.
    """
    buffer: List[Doc] = []
    n_tokens = 0
    with tqdm(
        desc="reading",
        unit=" docs",
        total=size,
        delay=BAR_DELAY,
        leave=False,
        disable=None,
    ) as bar:
        for doc in docs:
            buffer.append(doc)
            n_tokens += len(doc)
            bar.update()
            while len(buffer) > size or (n_tokens > MAX_TOKENS and len(buffer) > 1):
                # The first doc comes out when the buffer is full.
                bar.close()
                i = rng.randrange(len(buffer))
                buffer[i], buffer[-1] = buffer[-1], buffer[i]
                n_tokens -= len(buffer[-1])
                yield buffer.pop()
    rng.shuffle(buffer)
    while buffer:
        yield buffer.pop()
