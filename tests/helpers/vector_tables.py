"""Tables of vectors that the tests share."""

from pathlib import Path

import numpy

from spacy_embedkit.vectors.build.convert import ConvertSettings, convert
from spacy_embedkit.vectors.ngrams import Ngrams
from spacy_embedkit.vectors.sources.source import Batch, Source

WORDS = ["the", "cat", "sat", "on", "mat", "Straße", "naïve", "🙂", "a b"]
WIDTH = 12
NGRAMS = Ngrams("floret", 2, 4, hash_count=2, hash_seed=7)


def make_rows(n=9, width=WIDTH, seed=0):
    return numpy.random.default_rng(seed).normal(size=(n, width)).astype("f")


def make_source(rows=None, words=None, **kwargs):
    rows = make_rows() if rows is None else rows
    words = WORDS if words is None and kwargs.get("ngrams") is None else words or []

    def batches():
        for start in range(0, len(rows), 4):
            yield Batch(
                words[start : start + 4],
                rows[start : start + 4],
                lambda i, start=start: f"line {start + i + 1}",
            )

    width = rows.shape[1]
    return Source("table.txt", "a list", width, batches(), n_rows=len(rows), **kwargs)


def make_ngram_source(width=WIDTH):
    return make_source(make_rows(50, width, seed=1), ngrams=NGRAMS)


def make_folder(path: Path, source=None, lang="en", **settings):
    """Convert a source to a pipeline folder; return the folder."""
    convert(source or make_source(), path, lang, ConvertSettings(**settings))
    return path
