"""Readers of numpy's arrays with words: .npy and .npz."""

import sys
import zipfile
from contextlib import ExitStack
from typing import IO, BinaryIO, Dict, Iterator, List, Optional, Sequence, cast

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from .. import file_arrays
from ..file_arrays import FileArray, cut_off, read_npy_header
from .inputs import Input
from .source import Batch, Source, batches_of, row_name, rows_per_batch
from .unpacking import MAX_BYTES, MAX_RATIO, unpacking
from .word_lists import check_count, find_words

TABLE_NAMES = ("embeddings", "embedding", "weight", "vectors", "embedding.weight")
WORD_NAMES = ("words", "vocab", "tokens")


def open_npy(input: Input, words: Optional[str]) -> Source:
    """Map a table of numbers that numpy.save wrote; words names a list of words."""
    path = input.local()
    array = file_arrays.open_npy(path, input.label)
    one_table(input.label, {"array": array}, TABLE_NAMES)
    n_rows, width = array.shape
    texts = find_words(input.label, words, n_rows)
    batches = batches_of(array, path, texts)
    return Source(input.label, "npy", width, batches, n_rows=n_rows)


def open_npz(input: Input, words: Optional[str]) -> Source:
    """Stream a table, and maybe its words, from what numpy.savez wrote."""
    arrays = _npz_arrays(input)
    table = one_table(input.label, arrays, [f"{name}.npy" for name in TABLE_NAMES])
    n_rows, width = arrays[table].shape
    if arrays[table].by_columns:
        raise InputError(
            f"{input.label}!{table}: is stored by columns; save "
            "numpy.ascontiguousarray(array)"
        )
    texts = [name for name, array in arrays.items() if array.dtype.kind in "US"]
    if len(texts) > 1:
        texts = [name for name in texts if name.removesuffix(".npy") in WORD_NAMES]
    named = None
    if words is not None or len(texts) != 1:
        named, texts = find_words(input.label, words, n_rows), []
    elif len(arrays[texts[0]].shape) != 1:
        raise InputError(f"{input.label}!{texts[0]}: is not one list; save it flat")
    else:
        check_count(input.label, n_rows, texts[0], arrays[texts[0]].shape[0])
    batches = _npz_batches(input, arrays, [table, *texts], named)
    return Source(input.label, "npz", width, batches, n_rows=n_rows)


def one_table(label: str, arrays: Dict[str, FileArray], names: Sequence[str]) -> str:
    """Return the name of the only table, or of the one that has a usual name."""
    tables = [name for name, array in arrays.items() if array.is_table]
    usual = [name for name in tables if name in names]
    found = tables if len(tables) == 1 else usual
    if len(found) != 1:
        held: List[str] = [f"{k} ({v.describe()})" for k, v in arrays.items()]
        raise InputError(
            f"{label}: holds {', '.join(held[:9]) or 'no arrays'}; needed is one table "
            f"of numbers, or one of the names {', '.join(names)}; save that alone"
        )
    return found[0]


def _npz_arrays(input: Input) -> Dict[str, FileArray]:
    arrays: Dict[str, FileArray] = {}
    packed = input.local().stat().st_size
    with unpacking(input.label), zipfile.ZipFile(input.local()) as archive:
        for info in archive.infolist():
            label = f"{input.label}!{info.filename}"
            # The packed size that the archive states may be wrong, too.
            if info.file_size > max(MAX_BYTES, MAX_RATIO * packed):
                raise InputError(
                    f"{label}: unpacks to {info.file_size} bytes from "
                    f"{packed}, as no vectors do; get the file elsewhere"
                )
            if info.filename.endswith(".npy"):
                with archive.open(info) as file:
                    array = read_npy_header(cast(BinaryIO, file), label)
                array.check_end(label, info.file_size)
                arrays[info.filename] = array
    return arrays


def _npz_batches(
    input: Input,
    arrays: Dict[str, FileArray],
    names: List[str],
    words: Optional[List[str]],
) -> Iterator[Batch]:
    n_rows, width = arrays[names[0]].shape
    with unpacking(input.label), ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(input.local()))
        files = [stack.enter_context(archive.open(name)) for name in names]
        for file, name in zip(files, names, strict=True):
            file.read(arrays[name].offset)
        step = rows_per_batch(width)
        for at in range(0, n_rows, step):
            n = min(step, n_rows - at)
            label = f"{input.label}: row {at + 1}"
            rows = arrays[names[0]].floats(
                _read_array(files[0], arrays[names[0]], n, label).reshape(n, width)
            )
            if words is None:
                texts = _texts(_read_array(files[1], arrays[names[1]], n, label), label)
            else:
                texts = words[at : at + n]
            yield Batch(texts, rows, row_name(at))
        for file in files:
            # Reading to the end verifies the checksum.
            file.read(1)


def _read_array(file: IO[bytes], array: FileArray, n: int, label: str) -> NDArray:
    size = n * array.dtype.itemsize * (array.shape[1] if len(array.shape) == 2 else 1)
    data = file.read(size)
    if len(data) < size:
        raise cut_off(label, len(data), f"{n} rows end")
    return numpy.frombuffer(data, dtype=array.dtype)


def _texts(array: NDArray, label: str) -> List[str]:
    try:
        if array.dtype.kind == "S":
            return [text.decode("utf8") for text in array.tolist()]
        # Numpy makes text of any number, some of which Python can't hold.
        units = array.view(array.dtype.str[0] + "u4")
        if units.max(initial=0) > sys.maxunicode:
            raise ValueError("it has a character beyond Unicode")
        return cast(List[str], array.tolist())
    except ValueError as err:
        raise InputError(
            f"{label}: a word is not valid text ({err}); save them again"
        ) from err
