"""A table as a folder: a header in JSON and one npy file for each array.

    table.json       what is in the folder, and a fingerprint of it
    rows.npy         (V, O) float32, float16 or int8; or (V, P) uint8 codes
    scales.npy       (V,) float32, with int8
    centroids.npy    (256, O) float32, with codes
    mean.npy         (O,) float32, the mean of all rows
    keys.npy, key_rows.npy, buckets.npy    which row a key has; not for n-grams
    words.npy, word_ends.npy               the word of each row; not for n-grams
    subwords/        a table of n-grams for the words that have no row, if any

The arrays are mapped, so that opening reads a few kilobytes and all processes share
the pages. No file is written to once it is there.
"""

import shutil
from pathlib import Path
from typing import Any, Dict, Optional

import numpy
import srsly
from numpy.typing import NDArray

from ..checks import InputError
from .keys import KeyRows, Words
from .ngrams import Ngrams
from .rows import STORES
from .table import FORMAT, KEY_ARRAYS, VERSION, WORD_ARRAYS, Table, assemble

# Folder of the table inside a pipeline's vocab, and the header inside that.
FOLDER, HEADER, SUBWORDS = "embedkit_vectors", "table.json", "subwords"


def open_table(folder: Path) -> Table:
    """Map the table of a folder; InputError if its files do not fit together."""
    header = read_header(folder)
    names = [*STORES[header["dtype"]].names, "mean"]
    if header["ngrams"] is None:
        names += [*KEY_ARRAYS, *WORD_ARRAYS]
    arrays = {name: map_array(folder / f"{name}.npy") for name in names}
    subwords = open_table(folder / SUBWORDS) if header["subwords"] else None
    try:
        table = assemble(header, arrays, subwords)
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"{folder}: the files do not fit together ({err}); copy or convert the "
            "table again"
        ) from err
    table.folder = folder.resolve()
    return table


def finish_table(folder: Path, **header: Any) -> Table:
    """Write the header of a folder whose arrays are there, and open the table.

    header: dtype, attr and name, and ngrams and subwords or None.
    """
    ngrams: Optional[Ngrams] = header["ngrams"]
    store = STORES[header["dtype"]]
    rows = store({name: map_array(folder / f"{name}.npy") for name in store.names})
    table = Table(
        rows,
        map_array(folder / "mean.npy"),
        ngrams=ngrams,
        subwords=header["subwords"],
        attr=header["attr"],
        name=header["name"],
    )
    if ngrams is None:
        keys = {name: map_array(folder / f"{name}.npy") for name in KEY_ARRAYS}
        words = {name: map_array(folder / f"{name}.npy") for name in WORD_ARRAYS}
        table.keys, table.words = KeyRows(keys, len(rows)), Words(words)
    srsly.write_json(folder / HEADER, table.sign().header())
    return open_table(folder)


def read_header(folder: Path) -> Dict[str, Any]:
    """Read and check the header of a table's folder."""
    path = folder / HEADER
    try:
        header = srsly.read_json(path)
    except (OSError, ValueError) as err:
        raise InputError(
            f"{path}: cannot be read as the header of a table ({err}); copy or convert "
            "the table again"
        ) from err
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path}: is not the header of a table of vectors")
    if header.get("version") != VERSION:
        raise InputError(
            f"{path}: has version {header.get('version')}, but this package reads "
            f"{VERSION}; upgrade spacy-embedkit"
        )
    missing = set(Table().header()) - set(header)
    if missing or header["dtype"] not in STORES:
        raise InputError(
            f"{path}: is damaged ({', '.join(sorted(missing)) or 'dtype'}); copy or "
            "convert the table again"
        )
    return header


def write_table(table: Table, folder: Path) -> None:
    """Write a table to a folder, which holds nothing else.

    Files are written under another name and renamed; the header comes last. A folder
    that holds this very table already is left as it is.
    """
    if folder.is_dir() and (folder / HEADER).exists():
        if read_header(folder) == table.header():
            return
        (folder / HEADER).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    # The files may have been replaced since they were mapped.
    has_files = (
        table.folder is not None
        and (table.folder / HEADER).exists()
        and read_header(table.folder) == table.header()
    )
    if table.subwords is not None:
        write_table(table.subwords, folder / SUBWORDS)
    for name, array in table.arrays().items():
        target = folder / f"{name}.npy"
        partial = folder / f".{name}.npy.partial"
        if table.folder is not None and has_files:
            shutil.copyfile(table.folder / f"{name}.npy", partial)
        else:
            with partial.open("wb") as file:
                numpy.save(file, array, allow_pickle=False)
        partial.replace(target)
    partial = folder / f".{HEADER}.partial"
    srsly.write_json(partial, table.header())
    partial.replace(folder / HEADER)


def map_array(path: Path) -> NDArray:
    """Map an npy file; InputError if it is missing or damaged."""
    try:
        # An array without elements can't be mapped.
        if path.stat().st_size <= 128:
            return numpy.load(path, allow_pickle=False)
        return numpy.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as err:
        raise InputError(
            f"{path}: is missing; copy or convert the table again"
        ) from err
    except (ValueError, EOFError, SyntaxError) as err:
        raise InputError(
            f"{path}: is cut off or damaged ({err}); copy or convert the table again"
        ) from err
