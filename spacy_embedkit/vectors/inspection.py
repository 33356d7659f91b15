"""Describe a table: its size and norms, its coverage of a text, its neighbours."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import numpy
from spacy.util import get_package_path, is_package

from ..checks import InputError
from ..text.read import read_texts
from ..text.tokens import load_tokenizer
from .mapped import MappedVectors
from .spacy_table import read_json, read_spacy_table
from .table import FOLDER, HEADER, Table, open_table

# Rows that are sampled, evenly over the table, for the norms.
SAMPLE = 20_000


def open_vectors(path: str) -> MappedVectors:
    """Open the vectors of a pipeline: a folder, or the name of a package."""
    folder = _data_folder(path)
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


def _data_folder(path: str) -> Path:
    folder = Path(path)
    if not folder.exists() and is_package(path):
        vocabs = Path(get_package_path(path)).glob("*/vocab")
        return next(vocabs, folder / "vocab").parent
    return folder


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


def find_lang(path: str) -> Optional[str]:
    """Return the language code of a pipeline's folder, or of the name of a package."""
    folder = _data_folder(path)
    for meta in (folder / "meta.json", folder.parent / "meta.json"):
        lang = read_json(meta, dict).get("lang") if meta.is_file() else None
        # Not a path, which would be loaded as a pipeline.
        if isinstance(lang, str) and re.fullmatch("[a-z]{2,8}", lang):
            return lang
    return None


def coverage(
    vectors: MappedVectors, paths: List[str], lang: str = "xx"
) -> Dict[str, str]:
    """Count the tokens and words of raw text that have a row.

    lang: Language code, or a pipeline: its tokenizer is used. The attribute of the
        table is looked up.
    """
    tokenizer = load_tokenizer(lang)
    counts: Counter[Tuple[str, int]] = Counter()
    for text in read_texts(paths):
        doc = tokenizer(text)
        ids = doc.to_array([vectors.attr])
        counts.update(
            (token.text, key)
            for token, key in zip(doc, ids.tolist(), strict=True)
            if not token.is_space
        )
    if not counts:
        raise InputError(f"{', '.join(paths)}: has no words")
    keys = numpy.array([key for _, key in counts], dtype="uint64")
    has_row = vectors.find_rows(keys) >= 0
    if vectors.table.keys is None:
        has_row[:] = True
    sizes = numpy.array(list(counts.values()))
    missing: Counter[str] = Counter()
    for (word, _), has, n in zip(counts, has_row, sizes.tolist(), strict=True):
        if not has:
            missing[word] += n
    return {
        "tokenizer": lang,
        "tokens of the text": f"{sizes.sum():,}",
        "of these with a row": f"{sizes[has_row].sum() / sizes.sum():.1%}",
        "different words": f"{len(counts):,}",
        "of these, with a row": f"{has_row.mean():.1%}",
        "most frequent without": ", ".join(w for w, _ in missing.most_common(10))
        or "none",
    }


def find_faults(table: Table) -> List[str]:
    """Read all of a table, and return one line for each thing that is wrong in it.

    Takes a time in proportion to its size, unlike the checks when it is opened.
    """
    checks: List[Callable[[], None]] = [lambda: _check_fingerprint(table)]
    if table.keys is not None and table.words is not None:
        keys, words = table.keys, table.words
        checks.append(lambda: keys.check([slice(0, len(keys))]))
        checks.append(lambda: words.check([slice(0, len(words))]))
    checks.append(lambda: _check_finite(table))
    faults = []
    for check in checks:
        try:
            check()
        except ValueError as err:
            faults.append(str(err))
    if table.subwords is not None:
        faults += [f"subwords: {fault}" for fault in find_faults(table.subwords)]
    return faults


def _check_fingerprint(table: Table) -> None:
    # A table of spaCy's own has none.
    if table.fingerprint and replace(table).sign().fingerprint != table.fingerprint:
        raise ValueError("the files differ from those that were written")


def _check_finite(table: Table) -> None:
    for start in range(0, len(table.rows), SAMPLE):
        positions = numpy.arange(start, min(start + SAMPLE, len(table.rows)))
        good = numpy.isfinite(table.rows.take(positions)).all(axis=1)
        if not good.all():
            raise ValueError(f"row {start + numpy.argmin(good)} holds NaN or infinity")
    if not numpy.isfinite(table.mean).all():
        raise ValueError("the mean holds NaN or infinity")


def neighbours(vectors: MappedVectors, word: str, n: int) -> List[Tuple[str, float]]:
    """Return the n words nearest to a word, without itself, and their cosines."""
    key = vectors.strings.add(word)
    if key not in vectors:
        raise InputError(
            f"{word!r} has no vector; try another form, such as lower case"
        )
    if vectors.table.keys is None:
        raise InputError("a table of n-grams has no words to compare with")
    query = numpy.atleast_2d(vectors[key])
    own = vectors.key2row.get(key, -1)
    n_rows = len(numpy.unique(vectors.table.keys.arrays["key_rows"]))
    keys, rows, scores = vectors.most_similar(query, n=min(n + 1, n_rows))
    # The word of a key may not be known.
    return [
        (vectors.strings[key] if key in vectors.strings else str(key), float(score))
        for key, row, score in zip(keys[0], rows[0], scores[0], strict=True)
        if row != own
    ][:n]


def _total_bytes(table: Table) -> int:
    own = sum(array.nbytes for array in table.arrays().values())
    return own + (_total_bytes(table.subwords) if table.subwords else 0)
