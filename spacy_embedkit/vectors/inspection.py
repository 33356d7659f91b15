"""Describe a table: its size and norms, its coverage of a text, its neighbours."""

from pathlib import Path
from typing import Dict, List, Tuple

import numpy
import spacy
from spacy.strings import get_string_id
from spacy.util import get_package_path, is_package

from ..checks import InputError
from ..text.read import read_texts
from ..text.tokens import iter_tokens
from .mapped import MappedVectors
from .spacy_table import read_spacy_table
from .table import FOLDER, HEADER, Table, open_table

# Rows that are sampled, evenly over the table, for the norms.
SAMPLE = 20_000


def open_vectors(path: str) -> MappedVectors:
    """Open the vectors of a pipeline: a folder, or the name of a package."""
    folder = Path(path)
    if not folder.exists() and is_package(path):
        folder = next(Path(get_package_path(path)).glob("*/vocab"), folder)
    for vocab in (folder, folder / "vocab"):
        for table in (vocab, vocab / FOLDER):
            if (table / HEADER).exists():
                return MappedVectors(table=open_table(table))
        if (vocab / "vectors").exists():
            return MappedVectors(table=read_spacy_table(vocab)[0])
    raise InputError(
        f"{path}: has no vectors that spaCy loads; name the folder of a pipeline, or "
        "convert the vectors first"
    )


def describe(vectors: MappedVectors) -> Dict[str, str]:
    """Return the properties of a table, each value as text."""
    table = vectors.table
    rows, width = vectors.shape
    found = {
        "name": str(table.name),
        "mode": vectors.mode,
        "rows": f"{rows:,}",
        "keys": "any word" if vectors.n_keys < 0 else f"{vectors.n_keys:,}",
        "width": str(width),
        "dtype": table.rows.dtype,
        "attribute": table.attr,
        "size of rows": f"{table.rows.nbytes / 1e6:,.1f} MB",
        "size of all": f"{_total_bytes(table) / 1e6:,.1f} MB",
        "where": "in memory" if table.folder is None else str(table.folder),
    }
    if table.ngrams is not None:
        found["n-grams"] = str(table.ngrams.to_dict())
    if table.subwords is not None:
        found["subwords"] = f"{len(table.subwords.rows):,} rows"
    chosen = numpy.unique(numpy.linspace(0, rows - 1, min(rows, SAMPLE)).astype("i"))
    norms = numpy.linalg.norm(table.rows.take(chosen), axis=1)
    low, median, high = numpy.quantile(norms, [0, 0.5, 1])
    found["length of a row"] = f"{low:.3g} to {high:.3g}, median {median:.3g}"
    found["rows of zeros"] = f"{(norms == 0).mean():.1%}"
    return found


def coverage(vectors: MappedVectors, paths: List[str]) -> Dict[str, str]:
    """Count the tokens and words of raw text that have a row.

    Tokens are those of spaCy's multi-language tokenizer; the attribute of the table is
    looked up.
    """
    nlp = spacy.blank("xx")
    counts: Dict[str, int] = {}
    for words in iter_tokens("xx", read_texts(paths)):
        for word in words:
            counts[word] = counts.get(word, 0) + 1
    if not counts:
        raise InputError(f"{', '.join(paths)}: has no words")
    keys = [
        get_string_id(
            getattr(nlp.vocab[word], _ATTRIBUTES.get(vectors.table.attr, "text"))
        )
        for word in counts
    ]
    has_row = vectors.find_rows(numpy.array(keys, dtype="uint64")) >= 0
    if vectors.table.keys is None:
        has_row[:] = True
    sizes = numpy.array(list(counts.values()))
    missing = sorted(
        (word for word, has in zip(counts, has_row, strict=True) if not has),
        key=lambda word: -counts[word],
    )
    return {
        "tokens of the text": f"{sizes.sum():,}",
        "of these with a row": f"{sizes[has_row].sum() / sizes.sum():.1%}",
        "different words": f"{len(counts):,}",
        "of these, with a row": f"{has_row.mean():.1%}",
        "most frequent without": ", ".join(missing[:10]) or "none",
    }


_ATTRIBUTES = {"LOWER": "lower_", "NORM": "norm_", "SHAPE": "shape_"}


def neighbours(vectors: MappedVectors, word: str, n: int) -> List[Tuple[str, float]]:
    """Return the n words nearest to a word, without itself, and their cosines."""
    key = vectors.strings.add(word)
    if key not in vectors:
        raise InputError(
            f"{word!r} has no vector; try another form, such as lower case"
        )
    query = numpy.atleast_2d(vectors[key])
    own = vectors.key2row.get(key, -1) if vectors.mode == "default" else -1
    if vectors.mode != "default":
        raise InputError("a table of n-grams has no words to compare with")
    keys, rows, scores = vectors.most_similar(query, n=min(n + 1, len(vectors)))
    return [
        (vectors.strings[key], float(score))
        for key, row, score in zip(keys[0], rows[0], scores[0], strict=True)
        if row != own
    ][:n]


def _total_bytes(table: Table) -> int:
    own = sum(array.nbytes for array in table.arrays().values())
    return own + (_total_bytes(table.subwords) if table.subwords else 0)
