"""Readers of the formats of vectors, which are detected from the content."""

import os
import re
from pathlib import Path
from typing import Optional

from ...checks import InputError
from .inputs import Input, open_input
from .safetensors_files import MAX_HEADER
from .source import Source
from .text_layout import is_text, is_word2vec_binary

FORMATS = (
    "word2vec (text or binary), GloVe, fastText (.vec or .bin), floret, gensim, .npy, "
    ".npz, Parquet, safetensors, a folder or package of a spaCy pipeline, and a folder "
    "of model2vec"
)
ARRAYS = ("npy", "npz", "parquet", "safetensors")

_MAGIC = {
    rb"\x93NUMPY": "npy",
    rb"PK(\x03\x04|\x05\x06)": "npz",
    rb"PAR1": "parquet",
    rb"\xba\x16O/": "fasttext",
    rb"\x80[\x02-\x05]": "gensim",
}
# What is often saved instead of the file itself.
_WRONG_FILES = {
    rb"(\xef\xbb\xbf)?\s*(<!doctype html|<html[^\n]*>|<\?xml)": "a web page",
    rb"version https://git-lfs": "a pointer of Git LFS",
    rb"\xff\xfe|\xfe\xff": "text in UTF-16, not UTF-8,",
}


def open_source(
    path: str,
    *,
    words: Optional[str] = None,
    member: Optional[str] = None,
    subwords: bool = False,
    trust_pickle: bool = False,
    skip_bad: bool = False,
) -> Source:
    """Open vectors in any format that is known, whatever the file is called.

    path: A file, a folder, the name of an installed pipeline, or "-" for standard
        input.
    words: File with the words of an array's rows, if the array has none.
    member: Name of the file in an archive; needed if there are several.
    subwords: Whether to read the n-grams of a fastText binary, too.
    trust_pickle: Whether the file may be unpickled, which can run any code.
    skip_bad: Whether to leave out broken lines of text.
    Raises: InputError if the file can't be read.
    """
    if path != "-":
        source = _open_folder(path)
        if source is not None:
            return source
    input = open_input(path, member)
    _check_wrong_file(input)
    kind = find_format(input.head)
    if kind is None and not trust_pickle:
        raise InputError(
            f"{input.label}: begins with {input.head[:8]!r}, unlike any known format; "
            f"known are {FORMATS}"
        )
    if words is not None and kind not in ARRAYS:
        raise InputError(
            f"{input.label}: has its own words; leave out the list of words, {words}"
        )
    if subwords and kind != "fasttext":
        raise InputError(
            f"{input.label}: has no n-grams of fastText, only fastText's .bin has; "
            "leave out the subwords, or name that file"
        )
    if kind in ARRAYS:
        return _open_array(input, kind, words)
    return _open_table(input, kind, subwords, trust_pickle, skip_bad)


def find_format(head: bytes) -> Optional[str]:
    """Detect the format of a file from its first bytes; None if it is not known."""
    for magic, kind in _MAGIC.items():
        if re.match(magic, head):
            return kind
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= MAX_HEADER:
        return "safetensors"
    if is_word2vec_binary(head):
        return "word2vec"
    return "text" if is_text(head) else None


def _open_folder(path: str) -> Optional[Source]:
    # Returns None if the path is a file, or does not exist.
    if os.path.isdir(path):  # noqa: PTH112
        from .folders import is_folder_source, open_folder

        if is_folder_source(Path(path)):
            return open_folder(Path(path))
        raise InputError(
            f"{path}: is a folder without vectors of a known format; name a file in "
            f"it, or one of: {FORMATS}"
        )
    if os.path.lexists(path):
        return None
    from spacy.util import is_package

    if not is_package(path):
        return None
    from .folders import open_package

    return open_package(path)


def _open_array(input: Input, kind: str, words: Optional[str]) -> Source:
    from .arrays import open_npy, open_npz
    from .parquet import open_parquet
    from .safetensors_files import open_safetensors

    openers = {
        "npy": open_npy,
        "npz": open_npz,
        "parquet": open_parquet,
        "safetensors": open_safetensors,
    }
    return openers[kind](input, words)


def _open_table(
    input: Input,
    kind: Optional[str],
    subwords: bool,
    trust_pickle: bool,
    skip_bad: bool,
) -> Source:
    if kind == "text":
        from .text_files import open_text

        return open_text(input, skip_bad)
    if kind == "word2vec":
        from .word2vec import open_word2vec_binary

        return open_word2vec_binary(input)
    if kind == "fasttext":
        from .fasttext import open_fasttext

        return open_fasttext(input, subwords)
    from .gensim_files import open_gensim

    return open_gensim(input, trust_pickle)


def _check_wrong_file(input: Input) -> None:
    for magic, what in _WRONG_FILES.items():
        if re.match(magic, input.head, re.IGNORECASE):
            raise InputError(
                f"{input.label}: is {what} and not the file of vectors itself; get the "
                "file again"
            )
