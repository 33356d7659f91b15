"""What every reader of vectors gives: batches of words and rows, with their places."""

from dataclasses import dataclass, field
from typing import Callable, Iterator, List, Optional, Tuple

from numpy.typing import NDArray

from ..ngrams import Ngrams


@dataclass(frozen=True)
class Batch:
    """Some rows of a table, in order.

    words: (n,) texts, not yet checked: empty or repeated ones are found out later.
        An n-gram table has none.
    rows: (n, width) float32, not yet checked: they may hold NaN.
    where: Names the place of row i of this batch in the file, such as "line 12".
    """

    words: List[str]
    rows: NDArray
    where: Callable[[int], str]


@dataclass
class Source:
    """An opened table of vectors, which can be read once from start to end.

    path: What the user named, for messages.
    format: What it was recognised as, such as "word2vec binary".
    width: Numbers in a row, 1 or more.
    n_rows: Rows as far as they are known before reading, for progress; else None.
    batches: The rows. Raises InputError where the file is broken.
    ngrams: How words find their rows, if it is a table of n-grams, not of words.
    subwords: A table of n-grams for words that have no row, if there is one.
    keys: Key and row of every entry, if the file says so itself: (K,) uint64, spaCy's
        IDs of the strings, and (K,) int32. Else the words are the keys.
    attr: Token attribute that is looked up, if the file says so.
    name: Name of the table, if the file says so.
    notes: One line for each thing that the user should know, such as a header that
        counts wrong. Complete once batches is read.
    """

    path: str
    format: str
    width: int
    batches: Iterator[Batch]
    n_rows: Optional[int] = None
    ngrams: Optional[Ngrams] = None
    subwords: "Optional[Source]" = None
    keys: Optional[Tuple[NDArray, NDArray]] = None
    attr: Optional[str] = None
    name: Optional[str] = None
    notes: List[str] = field(default_factory=list)
