"""Reader of safetensors: a table whose words are in the metadata or in a list.

The header is parsed here, so that every size in it is checked against the file before
anything is allocated.
"""

import json
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy

from ..file_arrays import FileArray, cut_off, damaged
from .arrays import TABLE_NAMES, WORD_NAMES, one_table
from .inputs import Input
from .source import Source, batches_of
from .word_lists import check_count, find_words, parse_json_words

# Longest header, in bytes.
MAX_HEADER = 100_000_000

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_DTYPES |= {
    f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind in "IU" for n in (1, 2, 4, 8)
}


def open_safetensors(input: Input, words: Optional[str]) -> Source:
    """Map the table of a safetensors file; its metadata or words name the rows."""
    path = input.local()
    tensors, metadata = read_safetensors(path, input.label)
    tensor = tensors[one_table(input.label, tensors, TABLE_NAMES)]
    n_rows, width = tensor.shape
    own = next((metadata[name] for name in WORD_NAMES if name in metadata), None)
    if own is None or words is not None:
        texts = find_words(input.label, words, n_rows)
    elif own.lstrip().startswith("["):
        texts = parse_json_words(f"{input.label}, metadata", own)
    else:
        texts = own.split("\n")
    check_count(input.label, n_rows, "its metadata", len(texts))
    batches = batches_of(tensor, path, texts)
    return Source(input.label, "safetensors", width, batches, n_rows=n_rows)


def read_safetensors(
    path: Path, label: str
) -> Tuple[Dict[str, FileArray], Dict[str, str]]:
    """Find the tensors of a file; return them by name, and the file's metadata.

    Tensors of types that numpy lacks are left out. All lie inside of the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        n_header = int.from_bytes(start, "little")
        if len(start) < 8 or n_header > MAX_HEADER or n_header > size - 8:
            raise cut_off(label, size, f"a header of {n_header} bytes ends")
        text = file.read(n_header)
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        tensors = {name: _tensor(entry, 8 + n_header) for name, entry in header.items()}
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("its metadata is not text")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as err:
        found = f"the header is not that of safetensors: {err}"
        raise damaged(label, 8, found) from err
    for tensor in tensors.values():
        tensor.check_end(label, size)
    return {k: t for k, t in tensors.items() if t.dtype.kind != "V"}, metadata


def _tensor(entry: Dict[str, Any], data: int) -> FileArray:
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and 0 <= n < 2**60 for n in [*shape, begin, end]):
        raise ValueError(f"sizes {shape}, {begin}, {end}")
    kind = entry["dtype"]
    if kind not in _DTYPES:
        return FileArray(numpy.dtype("V1"), (max(0, end - begin),), data + begin)
    dtype = numpy.dtype(_DTYPES[kind])
    tensor = FileArray(dtype, tuple(shape), data + begin, bfloat16=kind == "BF16")
    if tensor.end != data + end:
        raise ValueError(f"{tensor.describe()} is not {end - begin} bytes long")
    return tensor
