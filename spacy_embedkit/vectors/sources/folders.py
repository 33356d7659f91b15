"""Readers of folders: pipelines and vectors of spaCy, tables of ours, model2vec."""

import importlib.util
import json
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy
import srsly
from numpy.typing import NDArray
from spacy.attrs import NAMES
from spacy.strings import get_string_id
from spacy.symbols import IDS

from ...files import InputError, describe_os_error
from ..ngrams import FLORET, Ngrams
from ..source import Source
from .model2vec import find_model2vec, open_model2vec
from .places import batches_of, read_npy_header

OURS = ("table.json", "vocab/embedkit_vectors/table.json")


def is_folder_source(path: Path) -> bool:
    """Whether the folder is one that open_folder knows."""
    return bool(
        any((path / name).is_file() for name in OURS)
        or (path / "vocab").is_dir()
        or (path / "vectors").is_file()
        or find_model2vec(path)
        or _package_data(path)
    )


def open_folder(path: Path) -> Source:
    """Open a spaCy pipeline or Vectors, a table of ours, or a model of model2vec.

    Raises: InputError if it holds no vectors, or broken ones.
    """
    for name in OURS:
        if (path / name).is_file():
            return _open_ours((path / name).parent)
    if (path / "vocab").is_dir() or (path / "vectors").is_file():
        return _open_spacy(path)
    model = find_model2vec(path)
    if model is not None:
        return open_model2vec(path, *model)
    data = _package_data(path)
    if data is None:
        raise InputError(
            f"{path}: is no folder of a spaCy pipeline or of model2vec; name one, or a "
            "file of vectors"
        )
    return open_folder(data)


def open_package(name: str) -> Source:
    """Open the vectors of an installed pipeline, without running the package's code."""
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise InputError(f"{name}: is not an installed package; install it")
    data = _package_data(Path(folders[0]))
    if data is None:
        raise InputError(
            f"{name}: is installed, but is not a spaCy pipeline; name a file of vectors"
        )
    return open_folder(data)


def _open_ours(folder: Path) -> Source:
    from ..reread import open_table_source

    return open_table_source(folder)


def _package_data(folder: Path) -> Optional[Path]:
    """Find the folder with the data in that of a pipeline's package."""
    if not (folder / "__init__.py").is_file() or not (folder / "meta.json").is_file():
        return None
    meta = _read_json(folder / "meta.json", dict)
    parts = [str(meta.get(key, "")) for key in ("lang", "name", "version")]
    data = folder / Path("{}_{}-{}".format(*parts)).name
    return data if data.is_dir() else None


def _read_json(path: Path, kind: type) -> Any:
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


def _open_spacy(path: Path) -> Source:
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
    n_rows, width = place.shape
    config = _read_json(folder / "vectors.cfg", dict)
    source = Source(str(path), "spaCy vectors", width, iter(()), n_rows=n_rows)
    meta = _read_json(folder.parent / "meta.json", dict) if folder != path else {}
    vectors = meta.get("vectors")
    name = vectors.get("name") if isinstance(vectors, dict) else None
    source.name = name if isinstance(name, str) else None
    source.attr = _attr(config.get("attr"), folder)
    words: List[str] = []
    if config.get("mode", "default") == FLORET:
        source.ngrams = _ngrams(config, folder)
    else:
        keys, rows = source.keys = _read_keys(folder / "key2row", n_rows)
        words = _row_words(keys, rows, n_rows, folder / "strings.json", source.notes)
    source.batches = batches_of(place, file, words)
    return source


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
    strings = _read_json(path, list)
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
