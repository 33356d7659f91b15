"""Reader of gensim's own files: pickles, which are opened only if the user says so."""

import re
from pathlib import Path
from typing import Any, Iterator

import numpy

from ...checks import InputError
from .inputs import Input
from .source import Batch, Source, row_name, rows_per_batch


def open_gensim(input: Input, trust_pickle: bool) -> Source:
    """Read what gensim's save wrote: KeyedVectors, Word2Vec, FastText or Doc2Vec.

    trust_pickle: Whether the file may be unpickled, which can run any code.
    Raises: InputError, without opening the file, unless it is trusted.
    """
    if not re.match(rb"\x80[\x02-\x05]", input.head):
        raise InputError(
            f"{input.label}: begins with {input.head[:8]!r}, not as a file of gensim "
            "does; name a file written by gensim's save"
        )
    if not trust_pickle:
        raise InputError(
            f"{input.label}: is a Python pickle, as gensim's save writes, which can "
            "run any code when opened; it was not opened; give --trust-pickle if you "
            "trust its origin; gensim's save_word2vec_format makes a safe file"
        )
    vectors = _load(input)
    n_rows, width = vectors.vectors.shape
    source_format = f"gensim {type(vectors).__name__}"
    batches = _batches(vectors)
    return Source(input.label, source_format, width, batches, n_rows=n_rows)


def _load(input: Input) -> Any:
    """Unpickle it, and check that it is a table with a word for each row."""
    try:
        from gensim.models import KeyedVectors
        from gensim.utils import SaveLoad
    except ImportError as err:
        raise InputError(
            f"{input.label}: is opened by gensim, which is not installed; run: pip "
            "install 'spacy-embedkit[vectors]'"
        ) from err
    # Large arrays are in files next to it, which an unpacked copy does not have.
    path = Path(input.label)
    path = path if path.is_file() else input.local()
    try:
        model = SaveLoad.load(str(path), mmap="r")
    except Exception as err:
        raise InputError(
            f"{input.label}: gensim could not load it ({type(err).__name__}: "
            f"{str(err).splitlines()[0] if str(err) else 'no reason given'}); name a "
            "file written by gensim's save, with the .npy files next to it"
        ) from err
    vectors = getattr(model, "wv", model)
    table = getattr(vectors, "vectors", None)
    if (
        not isinstance(vectors, KeyedVectors)
        or not isinstance(table, numpy.ndarray)
        or table.ndim != 2
        or table.size == 0
        or len(vectors.index_to_key) != len(table)
    ):
        raise InputError(
            f"{input.label}: is a {type(model).__name__}, not vectors of gensim; name "
            "a file written by the save of KeyedVectors, Word2Vec or FastText"
        )
    return vectors


def _batches(vectors: Any) -> Iterator[Batch]:
    words, table = vectors.index_to_key, vectors.vectors
    step = rows_per_batch(table.shape[1])
    for at in range(0, len(table), step):
        rows = numpy.array(table[at : at + step], dtype="f", order="C")
        yield Batch([str(word) for word in words[at : at + step]], rows, row_name(at))
