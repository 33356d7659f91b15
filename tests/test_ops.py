"""Kernels against the plain-array reference, and errors by their words."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from thinc.api import NumpyOps

from spacy_embedkit import ops, reference_ops

from .helpers.strategies import key_rows, lengths_of, tables_and_rows, words

CPU = NumpyOps()


@given(rows=key_rows())
def test_unique_rows_equals_reference(rows):
    first, inverse = ops.unique_rows(rows)
    expected_first, expected_inverse = reference_ops.unique_rows(rows)
    assert_array_equal(first, expected_first)
    assert_array_equal(inverse, expected_inverse)


@given(rows=key_rows())
def test_unique_rows_restores_rows(rows):
    first, inverse = ops.unique_rows(rows)
    assert_array_equal(rows[first][inverse], rows)
    assert len({tuple(row) for row in rows.tolist()}) == len(first)


@pytest.mark.parametrize("n", [7, 8, 9, 1023, 1024, 1025])
def test_unique_rows_holds_all_distinct_rows(n):
    rows = numpy.arange(n, dtype="uint64").reshape(-1, 1)
    first, inverse = ops.unique_rows(rows)
    assert_array_equal(first, numpy.arange(n))
    assert_array_equal(inverse, numpy.arange(n))


def test_unique_rows_tells_columns_apart():
    rows = numpy.asarray([[1, 2], [2, 1], [1, 2], [0, 3]], dtype="uint64")
    assert ops.unique_rows(rows)[1].tolist() == [0, 1, 0, 2]


def test_unique_rows_takes_read_only_and_strided_rows():
    rows = numpy.arange(12, dtype="uint64").reshape(3, 4)[:, ::2]
    rows.flags.writeable = False
    assert ops.unique_rows(rows)[1].tolist() == [0, 1, 2]


@given(rows=key_rows())
def test_find_rows_finds_the_rows_that_were_added(rows):
    first, inverse = ops.unique_rows(rows)
    table, slots = rows[first], ops.empty_slots(len(first))
    half = len(table) // 2
    ops.add_rows(table, 0, half, slots)
    expected = numpy.where(inverse < half, inverse, -1)
    assert_array_equal(ops.find_rows(rows, table, slots), expected)
    ops.add_rows(table, half, len(table), slots)
    assert_array_equal(ops.find_rows(rows, table, slots), inverse)


def test_find_rows_finds_no_rows_of_another_width():
    table, slots = numpy.arange(9, dtype="uint64").reshape(-1, 1), ops.empty_slots(9)
    ops.add_rows(table, 0, len(table), slots)
    pairs = numpy.asarray(list(itertools.product(range(9), range(50))), dtype="uint64")
    assert set(ops.find_rows(pairs, table, slots).tolist()) == {-1}


def sum_of(array, n_samples=None):
    (found,) = ops.checksums([array], n_samples)
    return found


def test_checksum_of_samples_sees_every_step_and_the_end():
    array = numpy.zeros(1000, dtype="f")
    whole, sampled = sum_of(array), sum_of(array, 10)
    for i, is_sampled in ((0, True), (1, False), (100, True), (999, True)):
        changed = array.copy()
        changed[i] = 1
        assert sum_of(changed) != whole
        assert (sum_of(changed, 10) != sampled) == is_sampled


def test_reference_hash_is_fnv1a():
    # The published test vector of FNV-1a, 64 bit, read before it is mixed.
    h = reference_ops.FNV_OFFSET
    for byte in b"foobar":
        h = ((h ^ byte) * reference_ops.FNV_PRIME) & reference_ops.MASK
    assert h == 0x85944171F73967E8


@given(
    texts=st.lists(words, max_size=6),
    min_n=st.integers(1, 4),
    more=st.integers(0, 3),
    n_hashes=st.integers(1, 3),
    n_rows=st.sampled_from([1, 2, 7, 1000, 2**31 - 1]),
)
def test_ngram_rows_equals_reference(texts, min_n, more, n_hashes, n_rows):
    rows, lengths = ops.ngram_rows(texts, min_n, min_n + more, n_hashes, n_rows)
    expected = [
        [
            reference_ops.ngram_row(ngram, k, n_rows)
            for ngram in reference_ops.ngrams(text, min_n, min_n + more)
            for k in range(n_hashes)
        ]
        for text in texts
    ]
    assert lengths.tolist() == [len(entries) for entries in expected]
    assert rows.tolist() == list(itertools.chain(*expected))


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_checksum_takes_any_number_of_bytes(dtype):
    array = numpy.arange(7).astype(dtype)
    sums = {sum_of(array)}
    for i in range(len(array)):
        other = array.copy()
        other[i] += 1
        sums.add(sum_of(other))
    assert len(sums) == 8
    assert sum_of(array.copy()) in sums


@pytest.mark.parametrize("max_n", [2**31 - 1, 2**40])
def test_more_ngrams_than_int32_counts_are_refused(max_n):
    # 92,680 letters have 2**32 - 3,516 n-grams, which 32 bits wrap to few.
    with pytest.raises(
        ValueError, match=f"92680 letters.*lower max_n, which is {max_n}"
    ):
        ops.ngram_rows(["x" * 92_680], 1, max_n, 1, 10)


def test_ngrams_longer_than_any_word_can_be_asked_for():
    rows, lengths = ops.ngram_rows(["abc", ""], 2, 2**40, 1, 50)
    assert lengths.tolist() == [3, 1]
    assert_array_equal(rows, ops.ngram_rows(["abc", ""], 2, 3, 1, 50)[0])
    assert len(ops.ngram_rows(["abc"], 2**40, 2**41, 1, 50)[0]) == 1


def test_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="n_rows is 0, but 1 or more"):
        ops.ngram_rows(["abc"], 1, 2, 1, 0)


def test_ngram_rows_counts_code_points_not_bytes():
    _, lengths = ops.ngram_rows(["東京🙂"], 2, 2, 1, 10)
    assert lengths.tolist() == [2]


def test_ngram_rows_spread_over_the_table():
    texts = [f"{a}{b}{c}" for a, b, c in itertools.product("abcdefgh", repeat=3)]
    rows, _ = ops.ngram_rows(texts, 3, 3, 2, 64)
    counts = numpy.bincount(rows, minlength=64)
    # 1024 draws into 64 rows: 16 each, standard deviation 4.
    assert counts.min() > 0
    assert counts.max() < 40


def test_ngram_rows_of_one_ngram_differ_by_hash():
    rows, _ = ops.ngram_rows(["abc"], 3, 3, 8, 2**31 - 1)
    assert len(set(rows.tolist())) == 8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_gather_rows_equals_reference(dtype, data):
    table, rows = data.draw(tables_and_rows(dtype))
    table.flags.writeable = False
    Y = ops.gather_rows(CPU, table, rows)
    assert Y.dtype == dtype
    assert_array_equal(Y, reference_ops.gather_rows(CPU, table, rows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_scatter_add_rows_equals_reference(dtype, data):
    table, rows = data.draw(tables_and_rows(dtype))
    values = table[rows]
    dX = ops.scatter_add_rows(CPU, values, rows, len(table))
    expected = reference_ops.scatter_add_rows(CPU, values, rows, len(table))
    assert dX.dtype == dtype
    assert_allclose(dX, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_sum_rows_and_gradient_equal_reference(dtype, data):
    table, rows = data.draw(tables_and_rows(dtype))
    lengths = data.draw(lengths_of(len(rows)))
    Y = ops.sum_rows(CPU, table, rows, lengths)
    expected = reference_ops.sum_rows(CPU, table, rows, lengths)
    assert_allclose(Y, expected, rtol=1e-5, atol=1e-3)
    dE = ops.scatter_add_sums(CPU, Y, rows, lengths, len(table))
    expected = reference_ops.scatter_add_sums(CPU, Y, rows, lengths, len(table))
    assert dE.dtype == Y.dtype == dtype
    assert_allclose(dE, expected, rtol=1e-4, atol=1e-2)


@given(data=st.data())
def test_scatter_is_the_adjoint_of_gather(data):
    # <gather(E), dY> = <E, scatter(dY)> says that the gradient is exact.
    table, rows = data.draw(tables_and_rows("float64"))
    dY = numpy.random.default_rng(0).normal(size=(len(rows), table.shape[1]))
    dE = ops.scatter_add_rows(CPU, dY, rows, len(table))
    given_sum = (ops.gather_rows(CPU, table, rows) * dY).sum()
    assert_allclose(given_sum, (table * dE).sum(), rtol=1e-9, atol=1e-6)


def test_sum_rows_of_an_empty_segment_is_zero():
    table = numpy.ones((2, 3), dtype="f")
    Y = ops.sum_rows(CPU, table, numpy.asarray([1, 1]), numpy.asarray([0, 2, 0]))
    assert Y.tolist() == [[0, 0, 0], [2, 2, 2], [0, 0, 0]]


TABLE = numpy.ones((2, 3), dtype="f")


@pytest.mark.parametrize("bad", [-1, 2])
@pytest.mark.parametrize(
    "call",
    [
        lambda rows: ops.gather_rows(CPU, TABLE, rows),
        lambda rows: ops.scatter_add_rows(CPU, TABLE, rows, 2),
        lambda rows: ops.sum_rows(CPU, TABLE, rows, [2]),
        lambda rows: ops.scatter_add_sums(CPU, TABLE[:1], rows, [2], 2),
    ],
    ids=["gather_rows", "scatter_add_rows", "sum_rows", "scatter_add_sums"],
)
def test_row_outside_the_table_is_named(call, bad):
    with pytest.raises(IndexError, match=rf"rows\[1\] is {bad}, .* has 2 rows"):
        call(numpy.asarray([0, bad]))


@pytest.mark.parametrize("lengths", [[1], [3], [-1, 3], []])
def test_lengths_that_do_not_add_up_are_named(lengths):
    rows = numpy.asarray([0, 1])
    with pytest.raises(ValueError, match=r"lengths add up to .* there are 2 rows"):
        ops.sum_rows(CPU, TABLE, rows, numpy.asarray(lengths, dtype="i"))


def test_values_without_a_row_are_named():
    with pytest.raises(ValueError, match="2 values were given with 1 rows"):
        ops.scatter_add_rows(CPU, TABLE, numpy.asarray([0]), 2)
    with pytest.raises(ValueError, match="2 values were given with 1 lengths"):
        ops.scatter_add_sums(CPU, TABLE, numpy.asarray([0]), numpy.asarray([1]), 2)
