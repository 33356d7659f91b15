"""The first pass over a corpus: what is in it, and what is held out."""

from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Iterator, List, Optional, Protocol, Union

from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.pretrain import ensure_docs

from ...checks import InputError, one_line
from .held_out import HASH_RANGE, HeldOut, hash_text

Item = Union[Doc, Example]
# Share of the documents that an epoch of a reader that draws may lack.
TOLERANCE = 0.1


class Readable(Protocol):
    """What can be read once.

    is_random: Whether random numbers were drawn, known at the end.
    """

    is_random: bool

    def items(self) -> Iterator[Item]:
        """Read all documents."""


class ReadError(InputError):
    """The corpus could not be read on; what was read before is right."""


@dataclass
class Summary:
    """What a pass found.

    n_docs, n_words: Documents with words in them, and these.
    n_empty: Documents without.
    longest: Words of the longest.
    checksum: Sum of the hashes of the texts, in any order.
    is_random: Whether the reader drew random numbers.
    """

    n_docs: int = 0
    n_words: int = 0
    n_empty: int = 0
    longest: int = 0
    checksum: int = 0
    is_random: bool = False

    def add(self, doc: Doc, number: int) -> None:
        """Count a document with the hash of its text."""
        self.n_docs += 1
        self.n_words += len(doc)
        self.longest = max(self.longest, len(doc))
        self.checksum = (self.checksum + number) % HASH_RANGE


@dataclass
class Corpus:
    """A corpus after the first pass.

    summary: Of all documents.
    held_out: Those that are not learned from.
    limit: The hash below which documents are held out.
    """

    summary: Summary
    held_out: List[Doc] = field(default_factory=list)
    limit: int = 0

    @property
    def n_words(self) -> int:
        """Words of an epoch, held-out copies of a text not counted."""
        return self.summary.n_words - sum(map(len, self.held_out))


def reading(make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Iterate, with one line for whatever goes wrong inside.

    make: Begins the reading, when the first item is asked for.
    Raises: ReadError.
    """
    iterator = None
    while True:
        try:
            iterator = iter(make()) if iterator is None else iterator
            item = next(iterator)
        except StopIteration:
            return
        except InputError as err:
            raise ReadError(f"{err}; then --resume") from err
        except Exception as err:
            raise ReadError(
                f"the corpus can't be read ({type(err).__name__}: {one_line(err)}); "
                "mend it, then --resume"
            ) from err
        yield item


def survey(
    data: Readable,
    held_out: HeldOut,
    prepare: Optional[Callable[[Iterable[Doc]], Any]],
) -> Corpus:
    """Read a corpus once: count it, choose what is held out, let the objective prepare.

    prepare: Given all documents, held-out ones included.
    Raises: InputError if there are no words.
    """
    summary = Summary()

    def counted() -> Iterator[Doc]:
        for item in data.items():
            (doc,) = ensure_docs([item])
            text = doc.text
            if not text.strip():
                summary.n_empty += 1
                continue
            number = hash_text(text)
            summary.add(doc, number)
            held_out.offer(number, doc)
            yield doc

    docs = counted()
    if prepare is not None:
        prepare(docs)
    for _ in docs:
        pass
    summary.is_random = data.is_random
    if not summary.n_docs:
        found = f"{summary.n_empty} documents, all empty" if summary.n_empty else "none"
        raise InputError(
            f"the corpus has no documents with words in them (found: {found}); see "
            "path, min_length and max_length of the reader in [corpora]"
        )
    limit, docs_held_out = held_out.close(summary.n_docs)
    return Corpus(summary, docs_held_out, limit)


def check_same_texts(found: Summary, first: Summary) -> None:
    """Raise InputError if an epoch did not have the texts of the first pass."""
    if first.is_random:
        differs = found.n_docs < (1 - TOLERANCE) * first.n_docs
    else:
        differs = found.checksum != first.checksum
    if differs:
        raise InputError(
            f"the corpus has changed: it had {first.n_docs} documents with "
            f"{first.n_words} words, now {found.n_docs} with {found.n_words}; "
            "put back what was there, then --resume"
        )
