"""Vectors of words from a table of n-grams, and rows of words: get_batch."""

from collections.abc import Callable
from functools import partial

import numpy
from spacy.strings import StringStore
from spacy.tokens import Doc
from spacy.vectors import Vectors

from spacy_embedkit.vectors.mapped import MappedVectors
from spacy_embedkit.vectors.ngrams import Ngrams
from spacy_embedkit.vectors.rows import Float32Rows
from spacy_embedkit.vectors.table import Table

from .timing import Figure, Row, Setting, compare

ROWS, WIDTH, DOCS = 50_000, 300, 1000
NGRAMS = Ngrams("floret", 3, 5, hash_count=2, hash_seed=2166136261)


def run(setting: Setting) -> list[Row | Figure]:
    """Look up batches of 1,000 docs, with an empty and with a warm cache."""
    random = numpy.random.default_rng(0)
    data = random.normal(size=(ROWS, WIDTH)).astype("f")
    strings = setting.docs[0].vocab.strings
    settings = {**NGRAMS.to_dict(), "mode": "floret"}
    del settings["scheme"]
    stock = Vectors(strings=strings, data=data, **settings)
    keys = [keys_of(docs) for docs in batches_of(setting.docs, DOCS)]
    rows: list[Row | Figure] = []
    for state in ("cold", "warm"):
        ours = make_table(data, strings)
        rows.append(
            compare(
                f"floret get_batch, batches of {DOCS} docs, {state}",
                sum(len(part) for part in keys),
                partial(look_up, stock.get_batch, keys),
                partial(look_up, ours.get_batch, keys)
                if state == "warm"
                else partial(look_up_cold, ours, keys),
                setting.repeats,
            )
        )
    return rows


def make_table(data: numpy.ndarray, strings: StringStore) -> MappedVectors:
    """Make our table of the same rows."""
    table = Table(Float32Rows({"rows": data}), data.mean(axis=0), ngrams=NGRAMS)
    return MappedVectors(strings=strings, table=table)


def batches_of(docs: list[Doc], size: int) -> list[list[Doc]]:
    """Cut into full batches, at least one batch."""
    return [docs[i : i + size] for i in range(0, max(1, len(docs) - size + 1), size)]


def keys_of(docs: list[Doc]) -> numpy.ndarray:
    """Return the keys of all tokens: (N,) uint64."""
    return numpy.concatenate([doc.to_array("ORTH") for doc in docs])


def look_up(get_batch: Callable, keys: list[numpy.ndarray]) -> None:
    """Get the vectors of each batch."""
    for part in keys:
        get_batch(part)


def look_up_cold(vectors: MappedVectors, keys: list[numpy.ndarray]) -> None:
    """Get the vectors of each batch, with an empty cache."""
    for part in keys:
        # Setting the table empties the cache.
        vectors.table = vectors.table
        vectors.get_batch(part)
