"""Each kernel against what a layer would use without it."""

from functools import partial
from typing import Any

import numpy
from spacy.attrs import NORM, PREFIX, SHAPE, SUFFIX
from thinc.api import NumpyOps

from spacy_embedkit import ops, reference_ops

from .timing import Row, Setting, compare

CPU = NumpyOps()
WIDTH = 96
N_ROWS = 10_000


def run(setting: Setting) -> list[Row]:
    """Time the kernels on the keys and words of the text."""
    sentences = setting.docs
    keys: Any = numpy.concatenate(
        [doc.to_array([NORM, PREFIX, SUFFIX, SHAPE]) for doc in sentences]
    )
    first, inverse = ops.unique_rows(keys)
    words = [f"<{sentences[0].vocab.strings[int(key)]}>" for key in keys[first, 0]]
    rows, lengths = ops.ngram_rows(words, 3, 5, 2, N_ROWS)
    random = numpy.random.default_rng(0)
    table: Any = random.normal(size=(N_ROWS, WIDTH)).astype("f")
    types: Any = random.normal(size=(len(words), WIDTH)).astype("f")
    tokens = ops.gather_rows(CPU, types, inverse)
    n, t = len(keys), len(words)
    pairs: list[tuple[str, int, partial, partial]] = [
        (
            "unique_rows: numpy.unique",
            n,
            partial(reference_ops.unique_rows, keys),
            partial(ops.unique_rows, keys),
        ),
        (
            "ngram_rows: Python loop",
            t,
            partial(hash_in_python, words),
            partial(ops.ngram_rows, words, 3, 5, 2, N_ROWS),
        ),
        (
            "sum_rows: gather and add.at",
            t,
            partial(reference_ops.sum_rows, CPU, table, rows, lengths),
            partial(ops.sum_rows, CPU, table, rows, lengths),
        ),
        (
            "scatter_add_sums: gather and scatter_add",
            t,
            partial(
                reference_ops.scatter_add_sums, CPU, types, rows, lengths, len(table)
            ),
            partial(ops.scatter_add_sums, CPU, types, rows, lengths, len(table)),
        ),
        (
            "gather_rows: numpy indexing",
            n,
            partial(reference_ops.gather_rows, CPU, types, inverse),
            partial(ops.gather_rows, CPU, types, inverse),
        ),
        (
            "scatter_add_rows: thinc's scatter_add",
            n,
            partial(reference_ops.scatter_add_rows, CPU, tokens, inverse, t),
            partial(ops.scatter_add_rows, CPU, tokens, inverse, t),
        ),
    ]
    return [compare(*pair, setting.repeats) for pair in pairs]


def hash_in_python(words: list[str]) -> list[int]:
    """Hash n-grams as reference_ops does."""
    return [
        reference_ops.ngram_row(ngram, k, N_ROWS)
        for word in words
        for ngram in reference_ops.ngrams(word, 3, 5)
        for k in range(2)
    ]
