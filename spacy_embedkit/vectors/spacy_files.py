"""The files that spaCy's own table of vectors is saved as."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy
import srsly
from numpy.typing import NDArray
from spacy.attrs import NAMES
from spacy.strings import get_string_id
from spacy.symbols import IDS

from ..checks import InputError
from ..io import describe_os_error
from .ngrams import FLORET, Ngrams
from .sources.places import Place, read_npy_header


@dataclass
class SpacyFiles:
    """What the files of a table hold.

    file: That of the rows, a .npy. place: Where they are in it.
    keys: Key and row of each entry, (K,) uint64 and (K,) int32; None for n-grams.
    words: The string of a key of each row, "" if none is known; none for n-grams.
    ngrams, attr, name, notes: See Source.
    """

    file: Path
    place: Place
    keys: Optional[Tuple[NDArray, NDArray]] = None
    words: List[str] = field(default_factory=list)
    ngrams: Optional[Ngrams] = None
    attr: Optional[str] = None
    name: Optional[str] = None
    notes: List[str] = field(default_factory=list)


def read_spacy_files(path: Path) -> SpacyFiles:
    """Read all but the rows of a table: of a pipeline, its vocab or Vectors alone.

    Raises: InputError if there is none, or its files are broken.
    """
    folder = path / "vocab" if (path / "vocab").is_dir() else path
    file = folder / "vectors"
    if not file.is_file():
        raise InputError(f"{path}: has no vectors, {file} is missing; name another")
    with file.open("rb") as opened:
        place = read_npy_header(opened, str(file))
    place.check_end(str(file), file.stat().st_size)
    if not place.is_table:
        raise InputError(
            f"{path}: has no vectors, its table is {place.describe()}; name a pipeline "
            "that has them, such as one whose name ends in md or lg"
        )
    config = read_json(folder / "vectors.cfg", dict)
    meta = read_json(folder.parent / "meta.json", dict) if folder != path else {}
    vectors = meta.get("vectors")
    name = vectors.get("name") if isinstance(vectors, dict) else None
    found = SpacyFiles(file, place, attr=_attr(config.get("attr"), folder))
    found.name = name if isinstance(name, str) else None
    if config.get("mode", "default") == FLORET:
        found.ngrams = _ngrams(config, folder)
    else:
        n_rows, _ = place.shape
        keys, rows = found.keys = _read_keys(folder / "key2row", n_rows)
        strings = folder / "strings.json"
        found.words = _row_words(keys, rows, n_rows, strings, found.notes)
    return found


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file that holds a dict or a list; an empty one if there is none."""
    try:
        value = json.loads(path.read_bytes()) if path.is_file() else kind()
    except OSError as err:
        raise InputError(f"{describe_os_error(err, path)}; check it") from err
    except (ValueError, RecursionError) as err:
        raise InputError(f"{path}: is not JSON ({err}); download it again") from err
    if not isinstance(value, kind):
        raise InputError(f"{path}: holds no JSON {kind.__name__}; download it again")
    return value


def _attr(attr: Any, folder: Path) -> Optional[str]:
    # spaCy writes its number or its name, or nothing.
    if isinstance(attr, int) and 0 <= attr < len(NAMES):
        attr = NAMES[attr]
    if attr is not None and attr not in NAMES:
        raise InputError(
            f"{folder / 'vectors.cfg'}: {attr!r} is no token attribute; set it to ORTH"
        )
    return attr


def _ngrams(config: Any, folder: Path) -> Ngrams:
    names = ("minn", "maxn", "hash_count", "hash_seed", "bow", "eow")
    try:
        settings = {name: config[name] for name in names if name in config}
        return Ngrams(FLORET, **settings)
    except (TypeError, ValueError) as err:
        raise InputError(
            f"{folder / 'vectors.cfg'}: has no settings of floret ({err}); download "
            "the pipeline again"
        ) from err


def _read_keys(path: Path, n_rows: int) -> Tuple[NDArray, NDArray]:
    """Read which row each key has: (K,) uint64 and (K,) int32."""
    try:
        key2row = srsly.msgpack.unpackb(path.read_bytes(), strict_map_key=False)
        n_keys = len(key2row)
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
        raise InputError(f"{path}: holds more than texts; download the pipeline again")
    # Names of symbols are strings that the file leaves out.
    strings = [*strings, *IDS]
    ids = numpy.fromiter(map(get_string_id, strings), "uint64", len(strings))
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
