"""Readers of folders: spaCy pipelines and vectors, our own tables, model2vec."""

import importlib.util
from pathlib import Path
from typing import Iterator, Optional

import numpy

from ...checks import InputError
from ..spacy_table import read_json, read_spacy_table
from ..table import FOLDER, HEADER, Table, open_table
from .model2vec import find_model2vec, open_model2vec
from .source import Batch, Source, row_name, rows_per_batch

TABLES = (HEADER, f"vocab/{FOLDER}/{HEADER}")


def is_folder_source(path: Path) -> bool:
    """Whether the folder is one that open_folder knows."""
    return bool(
        any((path / name).is_file() for name in TABLES)
        or (path / "vocab").is_dir()
        or (path / "vectors").is_file()
        or find_model2vec(path)
        or _package_data(path)
    )


def open_folder(path: Path) -> Source:
    """Open a spaCy pipeline or Vectors, our own table, or a model of model2vec.

    Raises: InputError if it holds no vectors, or broken ones.
    """
    for name in TABLES:
        if (path / name).is_file():
            return table_source(open_table((path / name).parent), str(path))
    if (path / "vocab").is_dir() or (path / "vectors").is_file():
        table, notes = read_spacy_table(path)
        source = table_source(table, str(path))
        source.format, source.notes = "spaCy vectors", notes
        return source
    model = find_model2vec(path)
    if model is not None:
        return open_model2vec(path, *model)
    data = _package_data(path)
    if data is None:
        raise InputError(
            f"{path}: is not the folder of a spaCy pipeline or of model2vec; name "
            "one, or a file of vectors"
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


def table_source(table: Table, path: str) -> Source:
    """Return the rows of a table, decoded, with its keys and settings."""
    keys = subwords = None
    if table.keys is not None:
        try:
            table.keys.check([slice(0, len(table.keys))])
        except ValueError as err:
            raise InputError(f"{path}: {err}; copy or make the table again") from err
        keys = (table.keys.arrays["keys"], table.keys.arrays["key_rows"])
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
    step = rows_per_batch(table.rows.width)
    for start in range(0, len(table.rows), step):
        end = min(start + step, len(table.rows))
        words = table.words[start:end] if table.words is not None else []
        rows = table.rows.take(numpy.arange(start, end))
        yield Batch(words, rows, row_name(start))


def _package_data(folder: Path) -> Optional[Path]:
    """Find the data folder in the folder of a pipeline's package."""
    if not (folder / "__init__.py").is_file() or not (folder / "meta.json").is_file():
        return None
    meta = read_json(folder / "meta.json", dict)
    parts = [str(meta.get(key, "")) for key in ("lang", "name", "version")]
    data = folder / Path("{}_{}-{}".format(*parts)).name
    return data if data.is_dir() else None
