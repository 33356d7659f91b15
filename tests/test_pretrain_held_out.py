"""Which documents are held out, and the mean of gradients."""

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from thinc.api import SGD, Adam, Linear

from spacy_embedkit.pretraining.masked_model import LossMeter
from spacy_embedkit.pretraining.run.held_out import HeldOutSample, evaluate, hash_text
from spacy_embedkit.pretraining.run.run_settings import build_parts
from spacy_embedkit.pretraining.run.update import ObjectiveAdapter, update

from .helpers.pretraining_runs import STOCK_CHARACTERS, make_config, sample_texts


def choose(texts, share=0.2, max_words=10_000):
    nlp = spacy.blank("en")
    held_out = HeldOutSample(share, max_words)
    for text in texts:
        held_out.offer(hash_text(text), nlp.make_doc(text))
    limit, docs = held_out.close(len(texts))
    chosen = [doc.text for doc in docs]
    # What is learned from and what is not are told apart by the limit alone.
    below = {text for text in texts if hash_text(text) < limit}
    assert not docs or below == set(chosen)
    return chosen


TEXTS = [f"text number {i} with words" for i in range(400)]


@pytest.mark.parametrize("max_words", [10_000, 100, 17])
def test_choice_does_not_depend_on_order(max_words):
    chosen = choose(TEXTS, max_words=max_words)
    assert choose(TEXTS[::-1], max_words=max_words) == chosen
    assert 0 < 5 * len(chosen) <= max_words


def test_share_is_kept():
    assert 0.15 < len(choose(TEXTS)) / len(TEXTS) < 0.25
    assert choose(TEXTS, share=0.0) == []


def test_copies_are_held_out_together_and_scored_once():
    chosen = choose(TEXTS * 3)
    assert len(chosen) == len(set(chosen)) == len(choose(TEXTS))


def test_a_small_corpus_gives_one_and_a_tiny_one_none():
    assert len(choose(TEXTS[:20], share=1e-9)) == 1
    assert choose(TEXTS[:9], share=1e-9) == []


def test_texts_that_are_too_long_are_learned_from():
    assert choose(["a b c " * 100] * 20, share=0.9, max_words=50) == []


@pytest.mark.parametrize("n", [1, 2, 3])
def test_update_learns_from_the_mean_gradient(n):
    model = Linear(nO=1, nI=2).initialize()
    model.set_param("b", numpy.zeros(1, dtype="f"))
    before = model.get_param("W").copy()
    model.attrs["loss"] = lambda ops, X, Y: (float(Y.sum()), numpy.ones_like(Y))
    batches = [numpy.full((1, 2), i + 1, dtype="f") for i in range(n)]
    optimizer = SGD(1.0, grad_clip=0.0, use_averages=False)
    update(model, ObjectiveAdapter(model), optimizer, batches, LossMeter())
    assert_allclose(before - model.get_param("W"), (n + 1) / 2, rtol=1e-5)
    assert_allclose(model.get_param("b"), -1, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ours", "stock"])
def test_evaluation_hides_the_same_words_each_time(kind):
    settings = {"pretraining__dropout": 0.5}
    if kind == "stock":
        settings["pretraining__objective"] = STOCK_CHARACTERS
    parts = build_parts(make_config("none.jsonl", **settings).interpolate())
    docs = [parts.nlp.make_doc(text) for text in sample_texts(9)]
    objective, losses = ObjectiveAdapter(parts.model), LossMeter()
    # Output layers begin with zeros: then all masks give the same loss.
    for _ in range(3):
        update(parts.model, objective, Adam(0.1), [docs], losses)
    first = evaluate(parts.model, objective, docs)
    update(parts.model, objective, SGD(0.0), [docs[:3]], losses)
    assert evaluate(parts.model, objective, docs) == first
