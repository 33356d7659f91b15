"""To and from spaCy's own table of vectors."""

from pathlib import Path
from typing import Any

import numpy
from spacy.strings import StringStore
from spacy.vectors import Vectors

from .keys import KeyRows, Words
from .ngrams import FLORET
from .rows import Float32Rows
from .spacy_files import read_spacy_files
from .table import Table


def read_stock(folder: Path) -> Table:
    """Take the files that spaCy's Vectors wrote; float32 rows stay in their file.

    Raises: InputError if the files are broken.
    """
    found = read_spacy_files(folder)
    rows = numpy.ascontiguousarray(found.place.map(found.file), dtype="f")
    table = Table(
        Float32Rows({"rows": rows}),
        rows.mean(axis=0),
        ngrams=found.ngrams,
        attr=found.attr or "ORTH",
        name=found.name,
    )
    if found.keys is not None:
        table.keys = KeyRows.build(*found.keys, len(rows))
        table.words = Words.build(found.words)
    return table.sign()


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
