"""To and from spaCy's own table of vectors."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import srsly
from spacy.attrs import NAMES, ORTH
from spacy.strings import StringStore
from spacy.vectors import Vectors

from ..files import InputError
from .keys import KeyRows, Words
from .ngrams import FLORET, Ngrams
from .rows import Float32Rows
from .storage import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_stock(folder: Path, strings: StringStore) -> Table:
    """Take the files that spaCy's Vectors wrote; float32 rows stay in their file.

    strings: Where the words of the keys are found, as far as it has them.
    """
    try:
        config_path = folder / "vectors.cfg"
        config = srsly.read_json(config_path) if config_path.exists() else {}
        data: NDArray = numpy.load(folder / "vectors", mmap_mode="r")
        rows = Float32Rows({"rows": data.astype("f", copy=False)})
        table = Table(
            rows,
            numpy.asarray(data.mean(axis=0, dtype="f")) if data.size else data[0:0, 0],
            attr=NAMES[config.get("attr", ORTH)],
        )
        if config.get("mode") == FLORET:
            settings = ("minn", "maxn", "hash_count", "hash_seed", "bow", "eow")
            table.ngrams = Ngrams(FLORET, **{name: config[name] for name in settings})
        else:
            key2row = srsly.read_msgpack(folder / "key2row")
            table.keys, table.words = index_keys(key2row, strings, len(data))
    except (ValueError, KeyError, EOFError, IndexError) as err:
        raise InputError(
            f"{folder}: its vectors cannot be read ({err}); save the pipeline again"
        ) from err
    return table.sign()


def index_keys(key2row: Any, strings: StringStore, n_rows: int) -> Any:
    """Make KeyRows and Words out of spaCy's dictionary of keys to rows."""
    keys = numpy.fromiter(key2row.keys(), dtype="uint64", count=len(key2row))
    rows = numpy.fromiter(key2row.values(), dtype="int64", count=len(key2row))
    words = [""] * n_rows
    for key, row in zip(keys.tolist(), rows.tolist(), strict=True):
        if not words[row] and key in strings:
            words[row] = strings[key]
    return KeyRows.build(keys, rows, n_rows), Words.build(words)


def to_stock(table: Table, strings: StringStore) -> Vectors:
    """Make spaCy's Vectors of the same rows, float32, with the words in the strings."""
    data: Any = table.rows.take(numpy.arange(len(table.rows)))
    if table.ngrams is not None:
        settings = table.ngrams.to_dict()
        if settings.pop("scheme") != FLORET:
            raise ValueError("to_stock: spaCy has no table of fastText's n-grams")
        return Vectors(
            strings=strings,
            data=data,
            name=table.name,
            attr=table.attr,
            mode=FLORET,
            **settings,
        )
    vectors = Vectors(strings=strings, data=data, name=table.name, attr=table.attr)
    assert table.keys is not None
    for key, row in table.keys.items():
        vectors.add(key, row=row)
    for word in table.words or ():
        strings.add(word)
    return vectors
