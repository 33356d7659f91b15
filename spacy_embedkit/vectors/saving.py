"""Save a table to a folder, and to bytes and back."""

import shutil
from pathlib import Path

import numpy
import srsly

from ..checks import InputError, one_line
from ..io import atomic_folder
from .header import HEADER, check_header
from .table import SUBWORDS, Table, assemble, open_table


def write_table(table: Table, folder: Path) -> None:
    """Make a folder of a table, or replace one, all or nothing.

    A folder that holds this very table already is left as it is.
    Raises: InputError if it can't be written.
    """
    if not _holds(folder, table):
        with atomic_folder(folder) as partial:
            _write_files(table, partial)


def _holds(folder: Path, table: Table) -> bool:
    try:
        return open_table(folder).header() == table.header()
    except InputError:
        return False


def _write_files(table: Table, folder: Path) -> None:
    # The files may have been replaced since they were mapped.
    source = table.folder if table.has_files() else None
    if table.subwords is not None:
        (folder / SUBWORDS).mkdir()
        _write_files(table.subwords, folder / SUBWORDS)
    for name, array in table.arrays().items():
        path = folder / f"{name}.npy"
        if source is not None:
            shutil.copyfile(source / path.name, path)
        else:
            numpy.save(path, array, allow_pickle=False)
    srsly.write_json(folder / HEADER, table.header())


def table_to_bytes(table: Table) -> bytes:
    """Serialise a table to bytes."""
    parts = {
        "header": table.header(),
        "arrays": table.arrays(),
        "subwords": None if table.subwords is None else table_to_bytes(table.subwords),
    }
    return srsly.msgpack_dumps(parts)


def table_from_bytes(data: bytes, is_inner: bool = False) -> Table:
    """Deserialise a table into memory.

    is_inner: As in open_table.
    Raises: ValueError if the bytes are damaged.
    """
    try:
        # Unlike msgpack_loads, it leaves the garbage collector on after an error.
        parts = srsly.msgpack.unpackb(data, raw=False)
        header = check_header(parts["header"], "vectors")
        inner = None if is_inner else parts["subwords"]
        subwords = None if inner is None else table_from_bytes(inner, True)
        if not all(isinstance(a, numpy.ndarray) for a in parts["arrays"].values()):
            raise TypeError("there is something else than arrays")
        return assemble(header, parts["arrays"], subwords)
    except InputError:
        raise
    except Exception as err:
        # Broken msgpack fails in many ways, by msgpack's errors and Python's own.
        raise ValueError(
            f"vectors: the bytes are not those of a table ({one_line(err)}); save the "
            "pipeline again"
        ) from err
