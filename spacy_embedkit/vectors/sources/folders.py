"""Readers of folders: pipelines and vectors of spaCy, tables of ours, model2vec."""

import importlib.util
from pathlib import Path
from typing import Optional

from ...checks import InputError
from ..spacy_files import read_json, read_spacy_files
from .model2vec import find_model2vec, open_model2vec
from .places import batches_of
from .source import Source

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
    from .reread import open_table_source

    return open_table_source(folder)


def _package_data(folder: Path) -> Optional[Path]:
    """Find the folder with the data in that of a pipeline's package."""
    if not (folder / "__init__.py").is_file() or not (folder / "meta.json").is_file():
        return None
    meta = read_json(folder / "meta.json", dict)
    parts = [str(meta.get(key, "")) for key in ("lang", "name", "version")]
    data = folder / Path("{}_{}-{}".format(*parts)).name
    return data if data.is_dir() else None


def _open_spacy(path: Path) -> Source:
    found = read_spacy_files(path)
    n_rows, width = found.place.shape
    return Source(
        str(path),
        "spaCy vectors",
        width,
        batches_of(found.place, found.file, found.words),
        n_rows=n_rows,
        ngrams=found.ngrams,
        keys=found.keys,
        attr=found.attr,
        name=found.name,
        notes=found.notes,
    )
