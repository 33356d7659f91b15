"""Reader of Parquet: a column of words, and one of lists or one for each number."""

from functools import partial
from typing import Any, Callable, Iterator, List, Optional

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from .inputs import Input
from .source import Batch, Source, row_name, rows_per_batch
from .word_lists import (
    arrow_batches,
    find_words,
    open_parquet_file,
    text_column,
    with_arrow,
)

# Rows that are read to find the width, if the type does not have it.
LIST_ROWS = 1024


def open_parquet(input: Input, words: Optional[str]) -> Source:
    """Stream the rows; words names a list of words, used instead of the column.

    Raises: InputError, also from batches, if the file is broken, or if it is
        not clear which columns are the vectors.
    """
    label = input.label
    file = open_parquet_file(input.local(), label)
    n_rows, notes = file.metadata.num_rows, []
    column = None if words is not None else text_column(label, file.schema_arrow)
    columns, left_out = _vector_columns(file.schema_arrow, label)
    if left_out:
        notes.append(f"{label}: left out the columns {', '.join(left_out)}")
    texts = None if column else find_words(label, words, n_rows)
    batches = _batches(file, input, column, columns, texts)
    first = next(batches, None)
    if first is None or not first.rows.shape[1]:
        raise InputError(f"{label}: has {n_rows} rows without numbers; name another")

    def rejoined() -> Iterator[Batch]:
        yield first
        yield from batches

    width = first.rows.shape[1]
    return Source(label, "Parquet", width, rejoined(), n_rows=n_rows, notes=notes)


def _vector_columns(schema: Any, label: str) -> tuple[List[str], List[str]]:
    from pyarrow import types

    def named(*tests: Callable[[Any], bool]) -> List[str]:
        return [f.name for f in schema if any(test(f.type) for test in tests)]

    lists = named(types.is_list, types.is_large_list, types.is_fixed_size_list)
    floats, integers = named(types.is_floating), named(types.is_integer)
    if len(lists) == 1:
        return lists, floats + integers
    if lists or not floats + integers:
        raise InputError(
            f"{label}: has the columns {', '.join(schema.names[:20])}; needed are one "
            "of words, and one of lists of numbers or one for each number"
        )
    return (floats, integers) if floats else (integers, [])


def _batches(
    file: Any,
    input: Input,
    column: Optional[str],
    columns: List[str],
    words: Optional[List[str]],
) -> Iterator[Batch]:
    label = input.label
    step = rows_per_batch(len(columns)) if len(columns) > 1 else LIST_ROWS
    size = getattr(file.schema_arrow.field(columns[0]).type, "list_size", 1)
    step = min(step, rows_per_batch(max(1, size)))
    wanted = columns if column is None else [column, *columns]
    at, width = 0, None
    for batch in arrow_batches(file, input.local(), label, wanted, step):
        if not batch.num_rows:
            continue
        rows = with_arrow(label, partial(_numbers, batch, columns))
        if rows is None or rows.shape[1] != (width or rows.shape[1]):
            raise InputError(
                f"{label}: rows {at + 1} to {at + batch.num_rows}: a list is missing, "
                "or not as long as the others; save lists of one length"
            )
        width = rows.shape[1]
        if column is None:
            texts = (words or [])[at : at + len(rows)]
        else:
            column_texts = with_arrow(label, batch.column(column).to_pylist)
            texts = [text or "" for text in column_texts]
        yield Batch(texts, rows, row_name(at))
        at += len(rows)
    if at != file.metadata.num_rows:
        raise InputError(
            f"{label}: row {at + 1}: the file ends, but its "
            f"metadata has {file.metadata.num_rows} rows; download it again"
        )


def _numbers(batch: Any, columns: List[str]) -> Optional[NDArray]:
    """Return the rows as float32; None if lists are missing or differ in length."""
    from pyarrow import types

    column = batch.column(columns[0])
    is_fixed = types.is_fixed_size_list(column.type)
    if not is_fixed and not hasattr(column.type, "value_type"):
        rows = numpy.empty((batch.num_rows, len(columns)), dtype="f")
        for i, name in enumerate(columns):
            rows[:, i] = _as_floats(batch.column(name))
        return rows
    if column.null_count:
        return None
    lengths = numpy.unique(
        column.type.list_size
        if is_fixed
        else numpy.diff(column.offsets.to_numpy(zero_copy_only=False))
    )
    if len(lengths) != 1:
        return None
    return _as_floats(column.flatten()).reshape(batch.num_rows, int(lengths[0]))


def _as_floats(column: Any) -> NDArray:
    # Missing numbers become NaN, and those too large infinite.
    with numpy.errstate(over="ignore", invalid="ignore"):
        return column.to_numpy(zero_copy_only=False).astype("f")
