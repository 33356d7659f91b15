"""Our own table as a source, to be converted again."""

from pathlib import Path
from typing import Iterator

import numpy

from ..storage import open_table
from ..table import Table
from .places import row_name
from .source import Batch, Source

BATCH = 4096


def open_table_source(folder: Path) -> Source:
    """Read a table from its folder; InputError if it is damaged."""
    return table_source(open_table(folder), str(folder))


def table_source(table: Table, path: str) -> Source:
    """Give the rows of a table, decoded, with its keys and settings."""
    keys = None
    if table.keys is not None:
        keys = (table.keys.arrays["keys"], table.keys.arrays["key_rows"])
    subwords = None
    if table.subwords is not None:
        subwords = table_source(table.subwords, f"{path}, subwords")
    return Source(
        path,
        f"spacy-embedkit table, {table.rows.dtype}",
        table.rows.width,
        _batches(table),
        n_rows=len(table.rows),
        ngrams=table.ngrams,
        subwords=subwords,
        keys=keys,
        attr=table.attr,
        name=table.name,
    )


def _batches(table: Table) -> Iterator[Batch]:
    for start in range(0, len(table.rows), BATCH):
        end = min(start + BATCH, len(table.rows))
        words = table.words[start:end] if table.words is not None else []
        rows = table.rows.take(numpy.arange(start, end))
        yield Batch(words, rows, row_name(start))
