"""To and from the files and the class of spaCy's own table of vectors."""

import json
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy
import srsly
from numpy.typing import NDArray
from spacy.attrs import NAMES
from spacy.strings import StringStore, get_string_id
from spacy.symbols import IDS
from spacy.vectors import Vectors

from ..checks import InputError
from ..io import describe_os_error
from .file_arrays import open_npy
from .header import MAX_ROWS
from .keys import KeyRows, Words
from .ngrams import FLORET, Ngrams
from .rows import Float32Rows
from .table import Table


def read_spacy_table(path: Path) -> Tuple[Table, List[str]]:
    """Read the vectors of a spaCy pipeline, of its vocab, or Vectors saved alone.

    Float32 rows stay in their file. A row whose word is not known has the word "".
    Returns the table, not signed, and one line for each thing the user should know.
    Raises: InputError if there is none, or its files are broken.
    """
    folder = path / "vocab" if (path / "vocab").is_dir() else path
    file = folder / "vectors"
    if not file.is_file():
        raise InputError(f"{path}: has no vectors, {file} is missing; name another")
    array = open_npy(file, str(file))
    if not array.is_table or array.shape[0] > MAX_ROWS:
        raise InputError(
            f"{path}: has no vectors, its table is {array.describe()}; name a pipeline "
            "that has them, such as one whose name ends in md or lg"
        )
    # A copy only if it is by columns, not aligned or of another dtype.
    rows = numpy.require(array.map(file), dtype="f", requirements=["C", "A"])
    config = read_json(folder / "vectors.cfg", dict)
    meta = read_json(folder.parent / "meta.json", dict) if folder != path else {}
    vectors = meta.get("vectors")
    name = vectors.get("name") if isinstance(vectors, dict) else None
    table = Table(Float32Rows({"rows": rows}), rows.mean(axis=0))
    table.attr = _attr(config.get("attr"), folder) or "ORTH"
    table.name = name if isinstance(name, str) else None
    notes: List[str] = []
    if config.get("mode", "default") == FLORET:
        table.ngrams = _ngrams(config, folder)
    else:
        keys, key_rows = _read_keys(folder / "key2row", len(rows))
        strings = folder / "strings.json"
        words = _row_words(keys, key_rows, len(rows), strings, notes)
        table.keys = KeyRows.build(keys, key_rows, len(rows))
        table.words = Words.build(words)
    return table, notes


def to_spacy_vectors(table: Table, strings: StringStore) -> Vectors:
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


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file that holds a dict or a list; an empty one if there is none."""
    try:
        value = json.loads(path.read_bytes()) if path.is_file() else kind()
    except OSError as err:
        raise InputError(f"{describe_os_error(err, path)}; check it") from err
    except (ValueError, RecursionError) as err:
        raise InputError(f"{path}: is not JSON ({err}); download it again") from err
    if not isinstance(value, kind):
        raise InputError(
            f"{path}: does not hold a JSON {kind.__name__}; download it again"
        )
    return value


def _attr(attr: Any, folder: Path) -> Optional[str]:
    # spaCy writes its number or its name, or nothing.
    if isinstance(attr, int) and 0 <= attr < len(NAMES):
        attr = NAMES[attr]
    if attr is not None and attr not in NAMES:
        raise InputError(
            f"{folder / 'vectors.cfg'}: {attr!r} is not a token attribute; set it "
            "to ORTH"
        )
    return attr


def _ngrams(config: Any, folder: Path) -> Ngrams:
    names = ("minn", "maxn", "hash_count", "hash_seed", "bow", "eow")
    try:
        settings = {name: config[name] for name in names if name in config}
        return Ngrams(FLORET, **settings)
    except (TypeError, ValueError) as err:
        raise InputError(
            f"{folder / 'vectors.cfg'}: has no valid settings of floret ({err}); "
            "download the pipeline again"
        ) from err


def _read_keys(path: Path, n_rows: int) -> Tuple[NDArray, NDArray]:
    """Read the keys, (K,) uint64, and their rows, (K,) int32."""
    try:
        key2row = srsly.msgpack.unpackb(path.read_bytes(), strict_map_key=False)
        n_keys = len(key2row)
        # Numpy would take 1.5 for 1.
        if not all(type(n) is int for pair in key2row.items() for n in pair):
            raise TypeError("keys and rows have to be integers")
        keys = numpy.fromiter(key2row.keys(), dtype="uint64", count=n_keys)
        rows = numpy.fromiter(key2row.values(), dtype="int64", count=n_keys)
    except OSError as err:
        raise InputError(f"{describe_os_error(err, path)}; name another") from err
    except Exception as err:
        # A broken map fails in many ways, by msgpack's errors and Python's own.
        raise InputError(
            f"{path}: is not a map of keys to rows ({err}); download it again"
        ) from err
    bad = numpy.flatnonzero((rows < 0) | (rows >= n_rows))
    if len(bad):
        raise InputError(
            f"{path}: key {keys[bad[0]]} has row {rows[bad[0]]}, but the table has "
            f"{n_rows} rows; download the pipeline again"
        )
    return keys, rows.astype("i")


def _row_words(
    keys: NDArray, rows: NDArray, n_rows: int, path: Path, notes: List[str]
) -> List[str]:
    """Find a word for each row: the string of its first key that has one."""
    strings = read_json(path, list)
    if not all(isinstance(string, str) for string in strings):
        raise InputError(
            f"{path}: holds more than strings; download the pipeline again"
        )
    # Names of symbols are strings that the file leaves out.
    strings = [*strings, *IDS]
    try:
        ids = numpy.fromiter(map(get_string_id, strings), "uint64", len(strings))
    except UnicodeEncodeError as err:
        raise InputError(
            f"{path}: holds half of a surrogate pair ({err}); download the pipeline "
            "again"
        ) from err
    order = numpy.argsort(ids)
    at = order[numpy.searchsorted(ids, keys, sorter=order).clip(max=len(ids) - 1)]
    known = numpy.flatnonzero(ids[at] == keys)
    used, first = numpy.unique(rows[known], return_index=True)
    words = [""] * n_rows
    for row, string in zip(used.tolist(), at[known[first]].tolist(), strict=True):
        words[row] = strings[string]
    if len(known) < len(keys):
        notes.append(f"{path}: lacks the strings of {len(keys) - len(known)} keys")
    return words
