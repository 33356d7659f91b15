"""Vectors of words out of a table of n-grams."""

from typing import Any, List, Union

import numpy
from numpy.typing import NDArray
from thinc.api import get_array_module

from .. import _ops
from .ngrams import Ngrams, ngram_rows
from .rows import Float32Rows, Rows
from .views import DeviceRows

# Words whose n-grams are looked up at a time.
WORDS = 4096


def embed_words(ngrams: Ngrams, rows: Union[Rows, DeviceRows], words: List[str]) -> Any:
    """Return the mean of the rows of each word's n-grams: (T, O) float32.

    An empty word gets zeros.
    """
    parts: List[Any] = [
        _embed(ngrams, rows, words[i : i + WORDS]) for i in range(0, len(words), WORDS)
    ]
    if not parts:
        return rows.take(numpy.empty(0, dtype="i"))
    return (
        parts[0] if len(parts) == 1 else get_array_module(parts[0]).concatenate(parts)
    )


def _embed(ngrams: Ngrams, rows: Union[Rows, DeviceRows], words: List[str]) -> Any:
    positions, starts = ngram_rows(ngrams, words, len(rows))
    counts = numpy.diff(starts)
    if isinstance(rows, Float32Rows):
        table: Any = rows.as_array()
    else:
        # Each row is decoded once; then it is the same as for plain rows.
        distinct, positions = numpy.unique(positions, return_inverse=True)
        table = rows.take(distinct)
    means = _sum_rows(table, positions.astype("i", copy=False), starts)
    xp = get_array_module(means)
    means /= xp.asarray(numpy.maximum(1, counts)[:, None].astype("f"))
    return means


def _sum_rows(table: Any, positions: NDArray, starts: NDArray) -> Any:
    xp = get_array_module(table)
    sums = xp.zeros((len(starts) - 1, table.shape[1]), dtype="f")
    if xp is numpy:
        _ops.sum_rows(table, positions, starts, sums)
    else:
        words = numpy.repeat(numpy.arange(len(sums)), numpy.diff(starts))
        xp.add.at(sums, xp.asarray(words), table[xp.asarray(positions)])
    return sums
