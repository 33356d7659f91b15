"""Looks at annotated docs: how many, how long, and what components can learn there."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Set

import numpy
from spacy.attrs import DEP, ENT_TYPE, LEMMA, MORPH, POS, SENT_START, TAG
from spacy.tokens import Doc, DocBin
from spacy.training.corpus import walk_corpus
from spacy.vocab import Vocab
from tqdm import tqdm

from ..checks import InputError, one_line
from ..io import describe_os_error

# Components in the order in which they are proposed, and the attributes whose values
# are their labels.
COLUMNS = {
    "tagger": [TAG],
    "morphologizer": [POS, MORPH],
    "trainable_lemmatizer": [LEMMA],
    "parser": [DEP],
    "ner": [ENT_TYPE],
}
ATTRS = sorted({attr for attrs in COLUMNS.values() for attr in attrs} | {SENT_START})
LEARNERS = [*COLUMNS, "senter", "spancat", "textcat", "textcat_multilabel"]
# Score above which a category is one of a doc's.
POSITIVE = 0.5
BAR_DELAY = 2.0


@dataclass
class Annotation:
    """Counts of annotated docs.

    longest: Words of the longest doc. values: Labels by component. cats: Labels of
    categories. is_exclusive: Whether each doc has exactly one. spans: Spans by key.
    """

    n_docs: int = 0
    n_sents: int = 0
    n_words: int = 0
    longest: int = 0
    values: Dict[str, Set[bytes]] = field(default_factory=lambda: defaultdict(set))
    cats: Set[str] = field(default_factory=set)
    is_exclusive: bool = True
    spans: Dict[str, int] = field(default_factory=Counter)
    span_labels: Set[str] = field(default_factory=set)

    def add(self, doc: Doc) -> None:
        """Count a doc."""
        self.n_docs += 1
        self.n_words += len(doc)
        self.longest = max(self.longest, len(doc))
        array = doc.to_array(ATTRS).reshape(len(doc), len(ATTRS))
        for name, attrs in COLUMNS.items():
            columns = array[:, [ATTRS.index(attr) for attr in attrs]]
            rows = numpy.unique(columns[columns.any(axis=1)], axis=0)
            self.values[name].update(row.tobytes() for row in rows)
        starts = array[:, ATTRS.index(SENT_START)] == 1
        self.n_sents += max(1, int(starts[1:].sum()) + 1) if len(doc) else 0
        self.cats.update(doc.cats)
        n_positive = sum(score > POSITIVE for score in doc.cats.values())
        self.is_exclusive &= n_positive == 1
        for key, group in doc.spans.items():
            self.spans[key] += len(group)
            self.span_labels.update(span.label_ for span in group)

    @property
    def spans_key(self) -> Optional[str]:
        """The key of the spans to learn: spaCy's default, or that of the most."""
        if not self.span_labels or "sc" in self.spans:
            return "sc" if self.span_labels else None
        return max(self.spans, key=lambda key: self.spans[key])

    @property
    def has_boundaries(self) -> bool:
        """Whether docs have more than one sentence, so that ends can be learned."""
        return self.n_sents > self.n_docs

    def n_labels(self, component: str) -> int:
        """Labels that a component can learn; 0 if it can learn nothing."""
        if component in COLUMNS:
            return len(self.values[component])
        if component == "senter":
            return 2 * self.has_boundaries
        if component.startswith("spancat"):
            return len(self.span_labels)
        if component == "textcat":
            return len(self.cats) if self.is_exclusive and len(self.cats) > 1 else 0
        return len(self.cats)

    def propose(self) -> List[str]:
        """Components that can learn from the annotation, in order."""
        found = [name for name in LEARNERS if self.n_labels(name)]
        doubled = {"senter"} & {*found} if "parser" in found else set()
        if "textcat" in found:
            doubled.add("textcat_multilabel")
        return [name for name in found if name not in doubled]

    def describe(self) -> str:
        """Say in one line how much there is."""
        return (
            f"{self.n_docs:,} documents, {self.n_sents:,} sentences, {self.n_words:,} "
            f"words: {self.n_words / self.n_docs:,.0f} per document, "
            f"{self.n_words / self.n_sents:,.1f} per sentence"
        )


def look_at_docs(path: Path) -> Annotation:
    """Count what the docs of a file, or of all files in a folder, are annotated with.

    Raises: InputError naming a file that is missing, or does not hold annotated docs.
    """
    found = Annotation()
    bar = tqdm(
        _read_docs(path),
        desc=f"looking at {path.name}",
        unit=" docs",
        delay=BAR_DELAY,
        leave=False,
        disable=None,
    )
    for doc in bar:
        found.add(doc)
    if not found.n_words:
        raise InputError(f"{path}: has no words; name a file with annotated documents")
    return found


def _read_docs(path: Path) -> Iterator[Doc]:
    try:
        path.stat()
        files = list(walk_corpus(path, "spacy")) if path.is_dir() else [path]
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    if not files:
        raise InputError(f"{path}: has no files that end in .spacy; convert yours")
    for file in files:
        # Strings stay in a vocab, so each file has its own.
        yield from _read_file(file)


def _read_file(path: Path) -> Iterator[Doc]:
    try:
        docs = DocBin().from_disk(path)
        yield from docs.get_docs(Vocab())
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    except Exception as err:
        # zlib, msgpack and spaCy fail in many ways.
        raise InputError(
            f"{path}: is not a .spacy file ({one_line(err)[:80]}); convert CoNLL, "
            "JSON or other formats with python -m spacy convert"
        ) from err


def check_pipeline(path: Path, found: Annotation, pipeline: Sequence[str]) -> None:
    """Raise InputError naming a component that can't learn from the annotation."""
    for name in pipeline:
        if name in LEARNERS and not found.n_labels(name):
            why = "has nothing to learn"
            if name == "senter":
                why = "finds one sentence in each document, so no ends to learn"
            elif name == "textcat" and found.cats:
                why = "finds documents with several categories or none"
                why = why if len(found.cats) > 1 else "finds one category only"
            able = ", ".join(found.propose()) or "nothing"
            raise InputError(
                f"{path}: {name} {why}; leave it out of --pipeline (what is annotated: "
                f"{able})"
            )
