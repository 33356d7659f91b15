"""What spaCy reads of a table of vectors, declared by BaseVectors or not."""

from typing import Any, Iterable, Iterator, List, Optional, Tuple, Union

import numpy
from numpy.typing import NDArray
from spacy.attrs import IDS, ORTH
from spacy.strings import StringStore, get_string_id
from spacy.vectors import BaseVectors, Vectors

from . import nearest
from .rows import DeviceRows, Rows
from .spacy_table import to_spacy_vectors
from .table import Table

AnyRows = Union[Rows, DeviceRows]


class TableVectors(BaseVectors):
    """A read-only table, by the names and with the answers of spaCy's Vectors.

    strings: The strings of the vocab. table: The table that is looked up in.
    unseen: The vector of words without a row, see build_vectors_v1.
    """

    strings: StringStore
    table: Table
    unseen: str
    _rows: AnyRows

    @property
    def mode(self) -> str:
        """Whether rows are for words ("default") or for n-grams ("floret")."""
        return "default" if self.table.ngrams is None else "floret"

    @property
    def name(self) -> Optional[str]:
        """Name of the table, for users."""
        return self.table.name

    @name.setter
    def name(self, name: Optional[str]) -> None:
        self.table.name = name

    @property
    def attr(self) -> int:
        """ID of the token attribute that is looked up."""
        return IDS.get(self.table.attr, ORTH)

    @property
    def data(self) -> Any:
        """The rows, read-only, to be indexed like a float32 array (V, O)."""
        return self._rows.as_array()

    @property
    def key2row(self) -> Any:
        """Dictionary of key to row, for keys that have one."""
        return {} if self.table.keys is None else self.table.keys

    @property
    def shape(self) -> Tuple[int, int]:
        """(rows, width)."""
        return self.table.rows.shape

    @property
    def size(self) -> int:
        """Rows times width."""
        return self.table.rows.size

    @property
    def vectors_length(self) -> int:
        """Width of a row."""
        return self.shape[1]

    @property
    def n_keys(self) -> int:
        """Number of keys; -1 for a table of n-grams."""
        return len(self.key2row) if self.table.ngrams is None else -1

    @property
    def is_full(self) -> bool:
        """Always True: rows can't be added."""
        return True

    def keys(self) -> Iterable[int]:
        """Return all keys, ascending."""
        return self.key2row.keys()

    def values(self) -> Iterator[NDArray]:
        """Yield the rows."""
        for row in range(len(self)):
            yield self.data[row]

    def items(self) -> Iterator[Tuple[int, NDArray]]:
        """Yield each key with its row's vector."""
        for key, row in self.key2row.items():
            yield key, self.data[row]

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[int]:
        return iter(self.key2row)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TableVectors)
            and self.unseen == other.unseen
            and self.table.header() == other.table.header()
        )

    __hash__ = None  # type: ignore[assignment]

    def find_rows(self, ids: NDArray) -> NDArray:
        """Return the rows of IDs, -1 for those without: (N,) int32 on the CPU."""
        if self.table.keys is None:
            return numpy.full(len(ids), -1, dtype="i")
        return self.table.keys.find(ids)

    def find(
        self,
        *,
        key: Optional[Union[int, str]] = None,
        keys: Optional[Iterable[Union[int, str]]] = None,
        row: Optional[int] = None,
        rows: Optional[Iterable[int]] = None,
    ) -> Any:
        """Look up rows by keys, or keys by rows, as spaCy's Vectors does.

        Returns the row of a key, -1 if it has none; rows (N,) int32 of keys; the first
        key of a row; or keys (N,) uint64 of rows.
        Raises: ValueError unless exactly one argument is given, or if the table is one
            of n-grams; KeyError if a row has no key.
        """
        if self.table.keys is None and self.size:
            raise ValueError("vectors: a table of n-grams has no keys; call get_batch")
        if sum(arg is not None for arg in (key, keys, row, rows)) != 1:
            raise ValueError("vectors: find takes exactly one of key, keys, row, rows")
        if key is not None:
            return self.key2row.get(get_string_id(key), -1)
        if keys is not None:
            return self.find_rows(to_ids(keys))
        if row is not None:
            return int(nearest.keys_of_rows(self.table, [row])[0])
        return nearest.keys_of_rows(self.table, list(rows or []))

    def word(self, row: int) -> str:
        """Return the word of a row; it need not be in the strings."""
        return self.table.words[row] if self.table.words is not None else ""

    def to_stock(self) -> Vectors:
        """Return a copy in memory as spaCy's Vectors, float32, which can be changed."""
        return to_spacy_vectors(self.table, self.strings)

    def add(self, key: Any, *, vector: Any = None, row: Optional[int] = None) -> int:
        """Raise ValueError: the table can't be changed."""
        raise self._read_only("add")

    def resize(self, shape: Any, inplace: bool = False) -> List[Any]:
        """Raise ValueError: the table can't be changed."""
        raise self._read_only("resize")

    def clear(self) -> None:
        """Raise ValueError: the table can't be changed."""
        raise self._read_only("clear")

    def __setitem__(self, key: Any, vector: Any) -> None:
        raise self._read_only("setting a vector")

    def _read_only(self, what: str) -> ValueError:
        return ValueError(
            f"vectors: {what} is not possible, since the table is shared with other "
            "processes; `nlp.vocab.vectors = nlp.vocab.vectors.to_stock()` makes a "
            "copy in memory that can be changed"
        )


def to_ids(keys: Any) -> NDArray:
    """Return the IDs of strings or IDs, in a list or an array: (N,) uint64."""
    keys = keys.get() if hasattr(keys, "get") else keys
    if isinstance(keys, numpy.ndarray) and keys.dtype.kind in "iu":
        return keys.astype("uint64", copy=False)
    return numpy.array([get_string_id(key) for key in keys], dtype="uint64")
