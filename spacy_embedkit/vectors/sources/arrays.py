"""Readers of arrays with words: .npy, .npz and safetensors; parquet.py has Parquet."""

import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, BinaryIO, Dict, Iterator, List, Optional, cast

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from .inputs import Input
from .parquet import open_parquet
from .places import (
    Place,
    batches_of,
    cut_off,
    one_table,
    read_npy_header,
    read_safetensors,
    row_name,
    rows_at_once,
)
from .source import Batch, Source
from .word_lists import check_count, find_words, parse_json_words

__all__ = ["open_npy", "open_npz", "open_parquet", "open_safetensors"]

TABLE_NAMES = ("embeddings", "embedding", "weight", "vectors", "embedding.weight")
WORD_NAMES = ("words", "vocab", "tokens")
# Vectors don't shrink by more than this; a zip that does is made to fill memory.
MAX_RATIO, MIN_BOMB = 100, 1 << 26


def open_npy(input: Input, words: Optional[str]) -> Source:
    """Map a table of numbers that numpy.save wrote; words names a list of words."""
    path = input.local()
    with path.open("rb") as file:
        place = read_npy_header(file, input.shown)
    one_table(input.shown, {"array": place}, TABLE_NAMES)
    place.check_end(input.shown, path.stat().st_size)
    n_rows, width = place.shape
    texts = find_words(input.shown, words, n_rows)
    batches = batches_of(place, path, texts)
    return Source(input.shown, "npy", width, batches, n_rows=n_rows)


def open_safetensors(input: Input, words: Optional[str]) -> Source:
    """Map the table of a safetensors file; its metadata or words name the rows."""
    path = input.local()
    places, metadata = read_safetensors(path, input.shown)
    place = places[one_table(input.shown, places, TABLE_NAMES)]
    n_rows, width = place.shape
    own = next((metadata[name] for name in WORD_NAMES if name in metadata), None)
    if own is None or words is not None:
        texts = find_words(input.shown, words, n_rows)
    elif own.lstrip().startswith("["):
        texts = parse_json_words(f"{input.shown}, metadata", own)
    else:
        texts = own.split("\n")
    check_count(input.shown, n_rows, "its metadata", len(texts))
    batches = batches_of(place, path, texts)
    return Source(input.shown, "safetensors", width, batches, n_rows=n_rows)


def open_npz(input: Input, words: Optional[str]) -> Source:
    """Stream a table, and maybe its words, from what numpy.savez wrote."""
    places = _npz_places(input)
    table = one_table(input.shown, places, [f"{name}.npy" for name in TABLE_NAMES])
    n_rows, width = places[table].shape
    if places[table].by_columns:
        raise InputError(
            f"{input.shown}!{table}: is stored by columns; save "
            "numpy.ascontiguousarray(array)"
        )
    texts = [name for name, place in places.items() if place.dtype.kind in "US"]
    if len(texts) > 1:
        texts = [name for name in texts if name.removesuffix(".npy") in WORD_NAMES]
    named = None
    if words is not None or len(texts) != 1:
        named, texts = find_words(input.shown, words, n_rows), []
    elif len(places[texts[0]].shape) != 1:
        raise InputError(f"{input.shown}!{texts[0]}: is not one list; save it flat")
    else:
        check_count(input.shown, n_rows, texts[0], places[texts[0]].shape[0])
    batches = _npz_batches(input, places, [table, *texts], named)
    return Source(input.shown, "npz", width, batches, n_rows=n_rows)


def _npz_places(input: Input) -> Dict[str, Place]:
    places: Dict[str, Place] = {}
    with _zip_errors(input.shown), zipfile.ZipFile(input.local()) as archive:
        for info in archive.infolist():
            shown = f"{input.shown}!{info.filename}"
            if info.file_size > max(MIN_BOMB, MAX_RATIO * info.compress_size):
                raise InputError(
                    f"{shown}: unpacks to {info.file_size} bytes from "
                    f"{info.compress_size}, as no vectors do; get the file elsewhere"
                )
            if info.filename.endswith(".npy"):
                with archive.open(info) as file:
                    place = read_npy_header(cast(BinaryIO, file), shown)
                place.check_end(shown, info.file_size)
                places[info.filename] = place
    return places


def _npz_batches(
    input: Input, places: Dict[str, Place], names: List[str], words: Optional[List[str]]
) -> Iterator[Batch]:
    n_rows, width = places[names[0]].shape
    with _zip_errors(input.shown), zipfile.ZipFile(input.local()) as archive:
        files = [archive.open(name) for name in names]
        for file, name in zip(files, names, strict=True):
            file.read(places[name].offset)
        step = rows_at_once(width)
        for at in range(0, n_rows, step):
            n = min(step, n_rows - at)
            shown = f"{input.shown}: row {at + 1}"
            rows = places[names[0]].floats(
                _read_array(files[0], places[names[0]], n, shown).reshape(n, width)
            )
            if words is None:
                texts = _texts(_read_array(files[1], places[names[1]], n, shown), shown)
            else:
                texts = words[at : at + n]
            yield Batch(texts, rows, row_name(at))
        for file in files:
            # Reaching the end compares the checksum.
            file.read(1)
            file.close()


def _read_array(file: IO[bytes], place: Place, n: int, shown: str) -> NDArray:
    size = n * place.dtype.itemsize * (place.shape[1] if len(place.shape) == 2 else 1)
    data = file.read(size)
    if len(data) < size:
        raise cut_off(shown, len(data), f"{n} rows end")
    return numpy.frombuffer(data, dtype=place.dtype)


def _texts(array: NDArray, shown: str) -> List[str]:
    try:
        if array.dtype.kind == "S":
            return [text.decode("utf8") for text in array.tolist()]
        return cast(List[str], array.tolist())
    except ValueError as err:
        raise InputError(
            f"{shown}: a word is no text ({err}); save them again"
        ) from err


@contextmanager
def _zip_errors(shown: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        LookupError,
    ) as err:
        # Some say what is wrong, such as a password or an unknown compression.
        raise InputError(
            f"{shown}: is not a whole .npz ({err}); download it again"
        ) from err
