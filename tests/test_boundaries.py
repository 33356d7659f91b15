"""Where sentences and words start, in docs and in characters, and where cuts fall."""

from itertools import pairwise

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from spacy_embedkit.text.boundaries import (
    SENTENCE_END,
    choose_cut,
    even_cuts,
    sentence_starts,
    word_starts,
)

NLP = spacy.blank("en")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('He left. "Why?" she said.', ["He", '"', "she"]),
        ("(Yes.) “No!” Line\nbreak … on", ["(", "“", "Line", "break", "on"]),
        ("He left.\nWhy? (So.)\nIt", ["He", "Why", "(", "It"]),
        ("Oh? No! Well … so", ["Oh", "No", "Well", "so"]),
        ("Yes.  Two spaces \n break", ["Yes", "Two", "break"]),
        ("It is 3.5, or \n so", ["It", "so"]),
        ("東京です 。 はい", ["東京です", "はい"]),
    ],
)
def test_sentences_of_docs_are_those_of_characters(text, expected):
    doc = NLP(text)
    starts = [0, *sentence_starts(doc).tolist()]
    assert [doc[i].text for i in starts] == expected
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    inner = [end for end in ends if end < len(text)]
    assert [0, *inner] == [doc[i].idx for i in starts]


def test_closing_marks_of_scripts_without_spaces_end_the_sentence():
    doc = Doc(NLP.vocab, words=list("「一。」二"), spaces=[False] * 5)
    assert sentence_starts(doc).tolist() == [4]


def test_abbreviations_end_no_sentence():
    doc = NLP("Mr. Smith in the U.S. left")
    assert sentence_starts(doc).tolist() == []


def test_annotated_sentences_win():
    doc = Doc(NLP.vocab, words=["a", ".", "b", "c"], sent_starts=[1, 0, 0, 1])
    assert sentence_starts(doc).tolist() == [0, 3]


def test_words_start_after_white_space():
    doc = NLP("the cat-dog  don't\nstop")
    assert [doc[i].text for i in word_starts(doc)] == ["cat", "do", "stop"]


@pytest.mark.parametrize("find", [sentence_starts, word_starts])
def test_empty_doc_has_no_starts(find):
    assert find(NLP("")).tolist() == []


@pytest.mark.parametrize(
    ("sentences", "words", "expected"),
    [
        ([3, 8], [6], 8),
        ([1, 9], [2, 5, 7, 8], 7),
        ([], [3, 5], 5),
        ([1, 9], [], 6),
    ],
)
def test_cut_is_at_a_sentence_a_word_or_the_aim(sentences, words, expected):
    places = [numpy.asarray(starts, dtype="int64") for starts in (sentences, words)]
    assert choose_cut(numpy.arange(11), 6, 2, 8, *places) == expected


@given(
    st.lists(st.integers(0, 9), max_size=80),
    st.integers(1, 30),
    st.sets(st.integers(1, 79)),
    st.sets(st.integers(1, 79)),
)
def test_even_cuts_make_parts_that_fit(counts, max_size, sentences, words):
    sizes = numpy.concatenate([[0], numpy.cumsum(counts, dtype="int64")])
    places = [numpy.asarray(sorted(s), dtype="int64") for s in (sentences, words)]
    cuts = [0, *even_cuts(sizes, max_size, *places), len(counts)]
    for start, end in pairwise(cuts):
        assert start < end or not counts
        assert sizes[end] - sizes[start] <= max_size or end - start == 1


def test_even_cuts_make_as_few_parts_as_fit():
    sizes = numpy.arange(101)
    none = numpy.zeros(0, dtype="int64")
    assert even_cuts(sizes, 30, none) == [25, 50, 75]
    assert even_cuts(sizes, 30, numpy.asarray([20, 24, 52, 77])) == [24, 52, 77]
