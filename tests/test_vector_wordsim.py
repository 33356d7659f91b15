"""Scores of word pairs, and errors of their files by words."""

import numpy
import pytest

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.wordsim import read_pairs, score_pairs


@pytest.fixture
def write(tmp_path):
    """Write bytes to a file, and return its path as a user would give it."""

    def write(content):
        (tmp_path / "raw").write_bytes(content)
        return str(tmp_path / "raw")

    return write


VECTORS = {"a": [1, 0], "b": [1, 1], "c": [0, 1], "d": [-1, 0], "zero": [0, 0]}


def scored(path):
    return score_pairs(
        path, lambda words: numpy.asarray([VECTORS[w] for w in words]), VECTORS.get
    )


def test_pairs_are_scored_by_rank_where_both_words_are_known(write):
    # The cosines fall by 1, 0.7, 0, -1: one pair is out of order.
    text = b"# test\nA\ta\t9\na\tb\t7\n\na\tc\t1\na\td\t2\na\tnone\t10\n"
    score = scored(write(text))
    assert (score.n_pairs, score.n_known) == (5, 4)
    assert score.spearman == pytest.approx(0.8)


@pytest.mark.parametrize(
    "text",
    [b"a\tb\t1\na\tc\t2", b"a\tb\t1\nb\ta\t2\na\tb\t3", b"a\tb\t1\na\tc\t1\na\ta\t1"],
)
def test_correlation_of_too_little_is_nan(write, text):
    assert numpy.isnan(scored(write(text)).spearman)


def test_vector_of_zeros_has_cosine_zero(write):
    score = scored(write(b"a\ta\t3\na\tzero\t2\na\td\t1"))
    assert score.spearman == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a\tb\t1\na b 1", r"raw, line 2: 'a b 1' is no pair; write word, tab"),
        (b"a\tb\tx", "line 1: .* is no pair"),
        (b"\n# none\n", "raw: no pairs"),
        (b"\xff", "raw: not UTF-8"),
    ],
)
def test_broken_pairs_are_named(write, text, words):
    with pytest.raises(InputError, match=words):
        read_pairs(write(text))
