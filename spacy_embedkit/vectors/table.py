"""The vectors table of a pipeline, on files that all processes share."""

from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Literal,
    Optional,
    Tuple,
    Union,
    cast,
)

import numpy
from numpy.typing import NDArray
from spacy.attrs import IDS, ORTH
from spacy.strings import StringStore, get_string_id
from spacy.vectors import BaseVectors, Vectors
from spacy.vocab import Vocab
from thinc.api import NumpyOps, Ops, get_array_module
from thinc.backends import get_array_ops
from thinc.types import Floats2d

from .. import ops
from ..layers.memory import TypeMemory
from . import nearest
from .ngram_vectors import embed_words
from .ngrams import Ngrams
from .rows import DeviceRows, Rows
from .stock import read_stock, to_stock
from .storage import (
    FOLDER,
    HEADER,
    Table,
    open_table,
    table_from_bytes,
    table_to_bytes,
    write_table,
)

Unseen = Literal["zeros", "mean", "subwords"]
# Words that are remembered, with the vectors made of their n-grams.
MEMORY_WORDS = 20_000
AnyRows = Union[Rows, DeviceRows]


def build_vectors_v1(unseen: Unseen = "zeros") -> Callable[[Vocab], BaseVectors]:
    """Let the pipeline read its vectors from files, see MappedVectors.

    Goes into `[nlp.vectors]`. The table comes from `vectors` in `[initialize]`, a
    folder made by `python -m spacy embedkit vectors convert`, and is saved with the
    pipeline.

    unseen (str): What a word without a row gets: "zeros", as in spaCy; "mean", the mean
        of all rows; "subwords", the vector of its n-grams, for which the table must
        have been converted with them.
    """

    def create(vocab: Vocab) -> BaseVectors:
        return MappedVectors(strings=vocab.strings, unseen=unseen)

    return create


class MappedVectors(BaseVectors):
    """Word vectors in files that are mapped, not read.

    So loading takes no time, and all processes share one copy. Rows may be quantised.
    It stands where spaCy's Vectors stands, with the same lookups and numbers, but
    cannot be changed: to_stock gives a table that can. Keys have no string in memory.

    strings: The strings of the vocab. table: What it looks up. unseen: What words
    without a row get, see build_vectors_v1; with another policy than "zeros" all words
    count as having a vector, as in spaCy's floret mode.
    """

    def __init__(
        self,
        *,
        strings: Optional[StringStore] = None,
        table: Optional[Table] = None,
        unseen: Unseen = "zeros",
    ) -> None:
        self.strings = StringStore() if strings is None else strings
        self.unseen = unseen
        self.table = Table() if table is None else table

    @property
    def table(self) -> Table:
        """The table; setting another one checks that the policy is possible."""
        return self._table

    @table.setter
    def table(self, table: Table) -> None:
        if self.unseen == "subwords" and table.keys is not None and not table.subwords:
            raise ValueError(
                'vectors: unseen is "subwords", but the table has none; convert it '
                'again with --subwords or --backoff, or set unseen to "zeros" or "mean"'
            )
        self._table = table
        self._knows_all = table.ngrams is not None or (
            self.unseen != "zeros" and table.rows.size > 0
        )
        self._rows: AnyRows = table.rows
        self._subword_rows: Optional[AnyRows] = (
            table.subwords.rows if table.subwords else None
        )
        self._memory = TypeMemory(MEMORY_WORDS)
        # Changes with the table, for those who remember what they made of it.
        self.identity = numpy.zeros(1, dtype="uint32")

    # What spaCy reads, beyond what BaseVectors declares.

    @property
    def mode(self) -> str:
        """Whether rows are words' ("default") or n-grams' ("floret")."""
        return "default" if self.table.ngrams is None else "floret"

    @property
    def name(self) -> Optional[str]:
        """What users call the table."""
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
        """The rows, to be indexed like a float32 array (V, O), and not written to."""
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

    def __contains__(self, key: Union[int, str]) -> bool:
        if self._knows_all:
            return True
        return get_string_id(key) in self.key2row

    def __getitem__(self, key: Union[int, str]) -> NDArray:
        row = self.key2row.get(get_string_id(key))
        if row is not None:
            return self.data[row]
        if not self._knows_all:
            raise KeyError(f"vectors: {key!r} has no row; ask `key in vectors` first")
        return cast(Any, self.get_batch([key]))[0]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MappedVectors)
            and self.unseen == other.unseen
            and self.table.header() == other.table.header()
        )

    __hash__ = None  # type: ignore[assignment]

    # Looking up

    def get_batch(self, keys: Iterable[Union[int, str]]) -> Floats2d:
        """Return the vectors of keys, (N, O) float32, a copy.

        keys: N strings or their IDs.
        """
        ids = _to_ids(keys)
        if self.table.ngrams is not None:
            return self._embed_ids(self.table.ngrams, self._rows, ids)
        rows = self.find_rows(ids)
        found: Any = self._rows.take(rows)
        if self.unseen != "zeros" and self.size and (rows < 0).any():
            unknown = numpy.flatnonzero(rows < 0)
            found[unknown] = self._unseen_vectors(ids[unknown])
        return found

    def find_rows(self, ids: NDArray) -> NDArray:
        """Return the rows of IDs, -1 for those without: (N,) int32 on the CPU."""
        if self.table.keys is None:
            return numpy.full(len(ids), -1, dtype="i")
        return self.table.keys.find(ids)

    def _unseen_vectors(self, ids: NDArray) -> Any:
        subwords = self.table.subwords
        if self.unseen == "mean" or subwords is None or subwords.ngrams is None:
            return get_array_module(self.data).asarray(self.table.mean)
        assert self._subword_rows is not None
        return self._embed_ids(subwords.ngrams, self._subword_rows, ids)

    def _embed_ids(self, ngrams: Ngrams, rows: AnyRows, ids: NDArray) -> Floats2d:
        if not len(ids):
            return cast(Floats2d, rows.take(numpy.empty(0, dtype="i")))
        # Words come up again and again, so those of the last batches are remembered.
        keys = ids.reshape(-1, 1)
        first, inverse = ops.unique_rows(cast(Any, keys))
        distinct = keys[first]

        def compute(positions: NDArray) -> NDArray:
            words = [self.strings.as_string(int(key)) for key in distinct[positions, 0]]
            return cast(Any, embed_words(ngrams, rows, words))

        if isinstance(rows, DeviceRows):
            found: Any = compute(numpy.arange(len(distinct)))
        else:
            found = self._memory.find(distinct, [self.identity], compute)
        return ops.gather_rows(get_array_ops(found), found, inverse)

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
            raise ValueError("vectors: a table of n-grams has no keys; use get_batch")
        if sum(arg is not None for arg in (key, keys, row, rows)) != 1:
            raise ValueError("vectors: find takes exactly one of key, keys, row, rows")
        if key is not None:
            return self.key2row.get(get_string_id(key), -1)
        if keys is not None:
            return self.find_rows(_to_ids(keys))
        if row is not None:
            return int(nearest.keys_of_rows(self.table, [row])[0])
        return nearest.keys_of_rows(self.table, list(rows or []))

    def word(self, row: int) -> str:
        """Return the word of a row; it need not be in the strings."""
        return self.table.words[row] if self.table.words is not None else ""

    def most_similar(
        self, queries: Any, *, batch_size: int = 1024, n: int = 1, sort: bool = True
    ) -> Tuple[Any, Any, Any]:
        """Find the n rows with the highest cosine to each query, exactly.

        queries: (Q, O). batch_size: Queries compared at a time.
        Returns (keys, rows, scores), each (Q, n): uint64, int32 and float32, the best
            one first. The words of the keys are added to the strings.
        """
        rows, scores = nearest.most_similar(self.table, queries, n, batch_size)
        keys = nearest.keys_of_rows(self.table, rows.reshape(-1)).reshape(rows.shape)
        for row in numpy.unique(rows):
            self.strings.add(self.word(int(row)))
        return keys, rows, scores

    def to_ops(self, ops: Ops) -> None:
        """Move the rows to the device of the ops. On the CPU they stay in the files."""
        on_cpu = isinstance(ops, NumpyOps)
        subwords = self.table.subwords
        self._rows = self.table.rows if on_cpu else DeviceRows(self.table.rows, ops)
        if subwords is not None:
            self._subword_rows = (
                subwords.rows if on_cpu else DeviceRows(subwords.rows, ops)
            )

    # Changing: not possible

    def to_stock(self) -> Vectors:
        """Return a copy in memory as spaCy's Vectors, float32, which can be changed."""
        return to_stock(self.table, self.strings)

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

    # Saving

    def to_disk(self, path: Union[str, Path], **kwargs: Any) -> None:
        """Write the table to a folder inside of path, a folder."""
        if self.size:
            write_table(self.table, Path(path) / FOLDER)

    def from_disk(self, path: Union[str, Path], **kwargs: Any) -> "MappedVectors":
        """Map the table that to_disk wrote, or take one that spaCy's Vectors wrote."""
        path = Path(path)
        if (path / FOLDER / HEADER).exists():
            self.table = open_table(path / FOLDER)
        elif (path / "vectors").exists():
            self.table = read_stock(path)
        return self

    def to_bytes(self, **kwargs: Any) -> bytes:
        """Return the whole table as bytes."""
        return table_to_bytes(self.table)

    def from_bytes(self, data: bytes, **kwargs: Any) -> "MappedVectors":
        """Take the table that to_bytes gave, into memory."""
        self.table = table_from_bytes(data)
        return self

    def __reduce__(self) -> Tuple[Any, ...]:
        # Where the files are, a path is enough, and the pages stay shared.
        if self.table.folder is not None and (self.table.folder / HEADER).exists():
            state: Dict[str, Any] = {
                "folder": str(self.table.folder),
                "fingerprint": self.table.fingerprint,
            }
        else:
            state = {"bytes": self.to_bytes()}
        return unpickle_vectors, ({**state, "unseen": self.unseen},)


def unpickle_vectors(state: Dict[str, Any]) -> MappedVectors:
    """Make the vectors that __reduce__ described."""
    vectors = MappedVectors(unseen=state["unseen"])
    if "bytes" in state:
        return vectors.from_bytes(state["bytes"])
    vectors.table = open_table(Path(state["folder"]))
    if vectors.table.fingerprint != state["fingerprint"]:
        raise ValueError(
            f"vectors: {state['folder']} holds another table than the one that was "
            "pickled; pickle the pipeline again"
        )
    return vectors


def _to_ids(keys: Any) -> NDArray:
    keys = keys.get() if hasattr(keys, "get") else keys
    if isinstance(keys, numpy.ndarray) and keys.dtype.kind in "iu":
        return keys.astype("uint64", copy=False)
    return numpy.array([get_string_id(key) for key in keys], dtype="uint64")
