"""The result of every reader of vectors: batches of words and rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

from numpy.typing import NDArray

from ..file_arrays import FileArray
from ..ngrams import Ngrams

# Size of a batch of rows, at least one row.
BATCH_BYTES, BATCH_ROWS = 1 << 22, 4096


@dataclass(frozen=True)
class Batch:
    """Some rows of a table, in order.

    words: (n,) texts, not checked yet: they may be empty or repeated. A table of
        n-grams has none.
    rows: (n, width) float32, not checked yet: they may hold NaN.
    where: Names the place of row i of this batch in the file, such as "line 12".
    """

    words: List[str]
    rows: NDArray
    where: Callable[[int], str]


@dataclass
class Source:
    """An opened table of vectors, which can be read once from start to end.

    path: Path that the user gave, for messages.
    format: The format that was detected, such as "word2vec binary".
    width: Numbers in a row, 1 or more.
    n_rows: Rows if known before reading, for progress; else None.
    batches: The rows. Raises InputError where the file is broken.
    ngrams: How words find their rows, if it is a table of n-grams, not of words.
    subwords: A table of n-grams for words that have no row, if there is one.
    keys: Key and row of every entry, if the file has them: (K,) uint64, spaCy's IDs
        of the strings, and (K,) int32. Else the words are the keys.
    attr: Token attribute that is looked up, if the file names it.
    name: Name of the table, if the file has one.
    notes: One line for each thing that the user should know, such as a header with
        the wrong number of rows. Complete once batches is read.
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


def row_name(start: int) -> Callable[[int], str]:
    """Name the rows of a batch that begins at this row, counted from 0."""
    return lambda i: f"row {start + i + 1}"


def rows_per_batch(width: int) -> int:
    """Return the number of rows in a batch."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // (4 * width)))


def batches_of(array: FileArray, path: Path, words: Sequence[str]) -> Iterator[Batch]:
    """Read the rows of an array; words is empty or has one for each row."""
    table = array.map(path)
    step = rows_per_batch(table.shape[1])
    for at in range(0, len(table), step):
        rows = array.floats(table[at : at + step])
        yield Batch(list(words[at : at + step]), rows, row_name(at))
