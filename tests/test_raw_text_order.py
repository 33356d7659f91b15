"""Epochs of raw text: the same docs, in an order that a seed settles."""

import logging
import re

import numpy
import pytest
import spacy
from thinc.api import fix_random_seed

from spacy_embedkit.readers import build_raw_text_v1


@pytest.fixture(scope="module")
def blank():
    return spacy.blank("en")


def texts_of(corpus, nlp):
    return [doc.text for doc in corpus(nlp)]


def corpus_of(tmp_path, **settings):
    for i in range(4):
        lines = (f"This is text {i} {k} of these ." for k in range(25))
        (tmp_path / f"s-{i}").write_text("\n".join(lines))
    return build_raw_text_v1(f"{tmp_path}/s-*", **settings)


@pytest.mark.parametrize("shuffle", [1, 7, 1000])
def test_epochs_have_the_same_docs_in_another_order(tmp_path, blank, shuffle):
    corpus = corpus_of(tmp_path, shuffle=shuffle)
    epochs = [texts_of(corpus, blank) for _ in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    expected = texts_of(corpus_of(tmp_path, shuffle=0), blank)
    assert all(sorted(epoch) == sorted(expected) for epoch in epochs)
    assert len(set(expected)) == 100


def test_without_shuffling_the_order_is_that_of_the_files(tmp_path, blank):
    corpus = corpus_of(tmp_path, shuffle=0)
    state = numpy.random.get_state()[1].tolist()
    first = texts_of(corpus, blank)
    assert first == sorted(first, key=lambda t: [int(n) for n in re.findall(r"\d+", t)])
    assert numpy.random.get_state()[1].tolist() == state


def test_large_buffer_mixes_the_files(tmp_path, blank):
    texts = texts_of(corpus_of(tmp_path, shuffle=1000), blank)
    assert {text.split()[3] for text in texts[:25]} == {"0", "1", "2", "3"}


def test_epoch_replays_from_the_random_state(tmp_path, blank):
    corpus = corpus_of(tmp_path, shuffle=10)
    fix_random_seed(3)
    state = numpy.random.get_state()
    stream = corpus(blank)
    # What is drawn while the epoch runs does not matter.
    first = [(doc.text, numpy.random.random())[0] for doc in stream]
    later = texts_of(corpus, blank)
    numpy.random.set_state(state)
    assert texts_of(corpus, blank) == first != later
    fix_random_seed(3)
    assert texts_of(corpus_of(tmp_path, shuffle=10), blank) == first


def test_order_is_settled_by_the_call_not_by_the_first_doc(tmp_path, blank):
    corpus = corpus_of(tmp_path, shuffle=10)
    numpy.random.seed(1)
    stream = corpus(blank)
    numpy.random.seed(2)
    first = [doc.text for doc in stream]
    numpy.random.seed(1)
    assert texts_of(corpus, blank) == first


def test_buffer_holds_a_number_of_tokens(tmp_path, blank, monkeypatch):
    monkeypatch.setattr("spacy_embedkit.text.corpus.MAX_TOKENS", 30)
    texts = texts_of(corpus_of(tmp_path, shuffle=1000), blank)
    # Docs have 8 tokens: no doc leaves before its file comes, so files stay apart.
    assert len({text.split()[3] for text in texts[:10]}) == 1
    assert len(texts) == 100


@pytest.mark.parametrize("shuffle", [0, 10])
@pytest.mark.parametrize("limit", [1, 30, 100, 1000])
def test_limit_takes_the_same_first_docs(tmp_path, blank, limit, shuffle):
    corpus = corpus_of(tmp_path, limit=limit, shuffle=shuffle)
    expected = texts_of(corpus_of(tmp_path, shuffle=0), blank)[:limit]
    for _ in range(3):
        assert sorted(texts_of(corpus, blank)) == sorted(expected)


def test_first_whole_pass_is_reported_once(tmp_path, blank, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("spacy"), "propagate", True)
    caplog.set_level(logging.INFO, logger="spacy")
    corpus = corpus_of(tmp_path)
    next(corpus(blank))
    assert (corpus.counts, caplog.messages) == (None, [])
    for _ in range(2):
        list(corpus(blank))
    assert caplog.messages == [
        "RawText: 100 docs of 800 tokens, from 100 texts: 0 split, 0 joined to the "
        "next; 0 blank left out"
    ]
    assert corpus.counts.docs == 100
