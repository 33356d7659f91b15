"""Hypothesis strategies, named by what they draw."""

import numpy
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

# Few values, so that rows repeat; and the extremes of the type.
keys = st.one_of(st.integers(0, 3), st.just(2**64 - 1), st.integers(0, 2**64 - 1))


@st.composite
def key_rows(draw, max_rows=40, max_columns=4):
    """(N, A) uint64 with repeated rows."""
    shape = (draw(st.integers(0, max_rows)), draw(st.integers(1, max_columns)))
    return draw(arrays("uint64", shape, elements=keys))


@st.composite
def tables_and_rows(draw, dtype="float32"):
    """A table (V, O) and row numbers (N,) in it."""
    n_rows, width = draw(st.integers(1, 8)), draw(st.integers(0, 5))
    floats = st.floats(-100, 100, width=32)
    table = draw(arrays(dtype, (n_rows, width), elements=floats))
    rows = draw(
        arrays("int32", draw(st.integers(0, 20)), elements=st.integers(0, n_rows - 1))
    )
    return table, rows


@st.composite
def lengths_of(draw, total):
    """Segment lengths (T,) that add up to the total, zeros among them."""
    cuts = sorted(draw(st.lists(st.integers(0, total), max_size=5)))
    return numpy.diff([0, *cuts, total]).astype("int32")


# Any code point, surrogates too; short alphabets make n-grams repeat.
words = st.one_of(
    st.text(alphabet="ab<>", max_size=8),
    st.text(st.characters(codec=None), max_size=12),
)

# Tokens of a Doc: no surrogates, which spaCy cannot store, and not empty.
tokens = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
token_docs = st.lists(
    st.lists(st.one_of(st.sampled_from(["the", "cat", "sat"]), tokens), max_size=12),
    min_size=1,
    max_size=5,
)
