"""The vectors of a pipeline, on files that all processes share."""

from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Literal,
    Optional,
    Tuple,
    Union,
    cast,
)

import numpy
from numpy.typing import NDArray
from spacy.strings import StringStore, get_string_id
from spacy.vectors import BaseVectors
from spacy.vocab import Vocab
from thinc.api import Ops, get_array_module
from thinc.backends import get_array_ops
from thinc.types import Floats2d

from .. import ops
from ..ops import has_kernels
from ..row_cache import RowCache
from . import nearest
from .contract import AnyRows, TableVectors, to_ids
from .ngrams import Ngrams, embed_words
from .rows import DeviceRows
from .saving import table_from_bytes, table_to_bytes, write_table
from .spacy_table import read_spacy_table
from .table import FOLDER, HEADER, Table, open_table

Unseen = Literal["zeros", "mean", "subwords"]
# Words whose vectors, made of their n-grams, are cached.
CACHE_WORDS = 20_000


def build_vectors_v1(unseen: Unseen = "zeros") -> Callable[[Vocab], BaseVectors]:
    """Map the pipeline's vectors from files, see MappedVectors.

    Goes into `[nlp.vectors]`. The table comes from `vectors` in `[initialize]`, a
    folder made by `python -m spacy embedkit vectors convert`, and is saved with the
    pipeline.

    unseen (str): Vector of a word without a row: "zeros", as in spaCy and by default;
        "mean", the mean of all rows; "subwords", the mean of its n-grams' rows, for
        which the table must have been converted with --subwords or --backoff.
    Returns: A function that makes the vectors of a vocab.
    """

    def create(vocab: Vocab) -> BaseVectors:
        return MappedVectors(strings=vocab.strings, unseen=unseen)

    return create


class MappedVectors(TableVectors):
    """Word vectors in files that are mapped, not read.

    So loading takes almost no time, and all processes share one copy. Rows may be
    quantised. It replaces spaCy's Vectors, with the same lookups and numbers, but is
    read-only: to_stock returns a copy that can be changed. The words of the table are
    not added to the strings.

    strings: The strings of the vocab. table: The table that is looked up in. unseen:
    The vector of words without a row, see build_vectors_v1; unless it is "zeros", all
    words count as having a vector, as in spaCy's floret mode.
    """

    def __init__(
        self,
        *,
        strings: Optional[StringStore] = None,
        table: Optional[Table] = None,
        unseen: Unseen = "zeros",
    ) -> None:
        self.strings = StringStore() if strings is None else strings
        # A vocab that spaCy unpickles gives its vectors the strings of another.
        self._other_strings: Tuple[StringStore, ...] = ()
        self.unseen = unseen
        self.table = Table() if table is None else table

    @property
    def table(self) -> Table:
        """The table; setting another one checks that it goes with unseen."""
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
        self._has_ngrams = table.ngrams is not None or table.subwords is not None
        self._rows = table.rows
        self._subword_rows: Optional[AnyRows] = (
            table.subwords.rows if table.subwords else None
        )
        self._cache = RowCache(CACHE_WORDS)
        # Changes with the table, for those who cache what they computed from it.
        self.identity = numpy.zeros(1, dtype="uint32")

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

    # Looking up

    def get_batch(self, keys: Iterable[Union[int, str]]) -> Floats2d:
        """Return the vectors of keys, (N, O) float32, a copy.

        keys: N strings or their IDs.
        """
        if not hasattr(keys, "dtype"):
            keys = list(keys)
            if self._has_ngrams:
                # Their n-grams are computed from the strings.
                keys = [self.strings.add(k) if isinstance(k, str) else k for k in keys]
        ids = to_ids(keys)
        if self.table.ngrams is not None:
            return self._embed_ids(self.table.ngrams, self._rows, ids)
        rows = self.find_rows(ids)
        found: Any = self._rows.take(rows)
        if self.unseen != "zeros" and self.size and (rows < 0).any():
            unknown = numpy.flatnonzero(rows < 0)
            found[unknown] = self._unseen_vectors(ids[unknown])
        return found

    def _unseen_vectors(self, ids: NDArray) -> Any:
        subwords = self.table.subwords
        if self.unseen == "mean" or subwords is None or subwords.ngrams is None:
            return get_array_module(self.data).asarray(self.table.mean)
        assert self._subword_rows is not None
        return self._embed_ids(subwords.ngrams, self._subword_rows, ids)

    def _embed_ids(self, ngrams: Ngrams, rows: AnyRows, ids: NDArray) -> Floats2d:
        if not len(ids):
            return cast(Floats2d, rows.take(numpy.empty(0, dtype="i")))
        # The same words come up again and again, so those of recent batches are cached.
        keys = ids.reshape(-1, 1)
        first, inverse = ops.unique_rows(cast(Any, keys))
        distinct = keys[first]

        def compute(positions: NDArray) -> NDArray:
            words = [self._text(int(key)) for key in distinct[positions, 0]]
            return cast(Any, embed_words(ngrams, rows, words))

        if isinstance(rows, DeviceRows):
            found: Any = compute(numpy.arange(len(distinct)))
        else:
            found = self._cache.get(distinct, [self.identity], compute)
        return ops.gather_rows(get_array_ops(found), found, inverse)

    def _text(self, key: int) -> str:
        strings: Any
        for strings in (self.strings, *self._other_strings):
            if key in strings:
                return str(strings.as_string(key))
        # Raises spaCy's error.
        return self.strings.as_string(key)

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
            for strings in (self.strings, *self._other_strings):
                strings.add(self.word(int(row)))
        return keys, rows, scores

    def to_ops(self, ops: Ops) -> None:
        """Move the rows to the device of the ops. On the CPU they stay in the files."""
        on_cpu = has_kernels(ops)
        subwords = self.table.subwords
        self._rows = self.table.rows if on_cpu else DeviceRows(self.table.rows, ops)
        if subwords is not None:
            self._subword_rows = (
                subwords.rows if on_cpu else DeviceRows(subwords.rows, ops)
            )

    # Saving

    def to_disk(self, path: Union[str, Path], **kwargs: Any) -> None:
        """Write the table to a folder inside of path, a folder."""
        if self.size:
            write_table(self.table, Path(path) / FOLDER)

    def from_disk(self, path: Union[str, Path], **kwargs: Any) -> "MappedVectors":
        """Map the table that to_disk wrote, or load one that spaCy's Vectors wrote."""
        path = Path(path)
        if (path / FOLDER / HEADER).exists():
            self.table = open_table(path / FOLDER)
        elif (path / "vectors").exists():
            self.table = read_spacy_table(path)[0].sign()
        return self

    def to_bytes(self, **kwargs: Any) -> bytes:
        """Return the complete table as bytes."""
        return table_to_bytes(self.table)

    def from_bytes(self, data: bytes, **kwargs: Any) -> "MappedVectors":
        """Load the table that to_bytes gave, into memory."""
        self.table = table_from_bytes(data)
        return self

    def __reduce__(self) -> Tuple[Any, ...]:
        # If there are files, their path is enough, and the pages stay shared.
        if self.table.folder is not None and (self.table.folder / HEADER).exists():
            state: Dict[str, Any] = {
                "folder": str(self.table.folder),
                "fingerprint": self.table.fingerprint,
            }
        else:
            state = {"bytes": self.to_bytes()}
        state["strings"] = (self.strings, *self._other_strings)
        return unpickle_vectors, ({**state, "unseen": self.unseen},)


def unpickle_vectors(state: Dict[str, Any]) -> MappedVectors:
    """Make the vectors that __reduce__ described."""
    vectors = MappedVectors(unseen=state["unseen"])
    vectors._other_strings = state["strings"]
    if "bytes" in state:
        return vectors.from_bytes(state["bytes"])
    vectors.table = open_table(Path(state["folder"]))
    if vectors.table.fingerprint != state["fingerprint"]:
        raise ValueError(
            f"vectors: {state['folder']} does not hold the table that was "
            "pickled any more; pickle the pipeline again"
        )
    return vectors
