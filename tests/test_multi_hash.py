"""MultiHashEmbed.v1 against the stock layer it replaces."""

import numpy
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from spacy.ml.models import MultiHashEmbed
from spacy.tokens import Doc
from spacy.vectors import Vectors
from thinc.api import fix_random_seed, set_dropout_rate

from spacy_embedkit.architectures import build_multi_hash_embed_v1

from .helpers.embeds import ATTRS, BUILDERS, ROWS, gradients_of
from .helpers.strategies import token_docs


def stock_pair(docs, static, attrs=ATTRS, rows=ROWS):
    """A stock layer, and ours with the weights that it saved."""
    fix_random_seed(1)
    stock = MultiHashEmbed(8, attrs, rows, static).initialize(X=docs)
    ours = build_multi_hash_embed_v1(8, attrs, rows, static).initialize(X=docs)
    return stock, ours.from_bytes(stock.to_bytes())


def run_both(stock, ours, docs, last_dropout=0.0):
    """Outputs and gradients of both for one random output gradient."""
    results = []
    for layer in (stock, ours):
        set_dropout_rate(layer, 0.0)
        for node in layer.walk():
            if node.name == "dropout":
                node.attrs["dropout_rate"] = last_dropout
        fix_random_seed(2)
        Y, backprop = layer(docs, is_train=True)
        random = numpy.random.default_rng(3)
        backprop([random.normal(size=y.shape).astype("f") for y in Y])
        results.append((Y, gradients_of(layer)))
        layer.finish_update(lambda key, weights, gradient: (weights, gradient))
    return results


@pytest.mark.parametrize("static", [False, True])
@given(words=token_docs)
def test_multi_hash_equals_stock(static, nlp, words):
    docs = [Doc(nlp.vocab, words=w) for w in [["the", "cat", "zzz"], *words]]
    (Y, grads), (Y2, grads2) = run_both(*stock_pair(docs, static), docs)
    assert [y.shape for y in Y] == [y.shape for y in Y2]
    for y, y2 in zip(Y, Y2, strict=True):
        assert_allclose(y2, y, atol=1e-5)
    assert grads.keys() == grads2.keys()
    for key, grad in grads.items():
        # An entry near 0 may be the sum of large ones, with their rounding.
        atol = max(1e-5, 1e-6 * float(abs(grad).max()))
        assert_allclose(grads2[key], grad, rtol=1e-5, atol=atol)


def test_multi_hash_equals_stock_after_both_ways_of_saving(docs, tmp_path):
    stock, ours = stock_pair(docs, True)
    ours.to_disk(tmp_path / "model")
    back = MultiHashEmbed(8, ATTRS, ROWS, True).from_disk(tmp_path / "model")
    for y, y2 in zip(stock.predict(docs), back.predict(docs), strict=True):
        assert_array_equal(y2, y)
    assert ours.to_bytes() == stock.to_bytes()


def test_multi_hash_draws_the_weights_of_stock(docs):
    fix_random_seed(5)
    stock = MultiHashEmbed(8, ATTRS, ROWS, False).initialize(X=docs)
    fix_random_seed(5)
    ours = build_multi_hash_embed_v1(8, ATTRS, ROWS, False).initialize(X=docs)
    assert ours.to_bytes() == stock.to_bytes()


def test_multi_hash_drops_out_tokens_as_stock_does(nlp):
    # Tokens of one type get masks of their own. Equal seeds draw equal masks, since
    # the other places of dropout are off.
    docs = [Doc(nlp.vocab, words=["cat", "dog"] * 25)]
    pair = stock_pair(docs, False)
    (Y, grads), (Y2, grads2) = run_both(*pair, docs, last_dropout=0.5)
    assert len(numpy.unique(Y2[0] == 0, axis=0)) > 10
    assert_allclose(Y2[0], Y[0], atol=1e-5)
    for key, grad in grads.items():
        assert_allclose(grads2[key], grad, rtol=1e-4, atol=1e-5)


def test_floret_vectors(nlp):
    data = numpy.random.default_rng(0).normal(size=(20, 6)).astype("f")
    nlp.vocab.vectors = Vectors(
        strings=nlp.vocab.strings,
        data=data,
        mode="floret",
        hash_count=2,
        minn=2,
        maxn=3,
    )
    docs = [Doc(nlp.vocab, words=["cat", "zzz", "cat"])]
    (Y, grads), (Y2, grads2) = run_both(*stock_pair(docs, True), docs)
    assert_allclose(Y2[0], Y[0], atol=1e-5)
    for key, grad in grads.items():
        assert_allclose(grads2[key], grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("builder", ["multi_hash", "subword"])
def test_tables_hash_with_the_seeds_of_stock(builder, docs):
    # One seed for all tables would let equal texts collide in all of them.
    model = BUILDERS[builder]()
    stock = MultiHashEmbed(8, ATTRS, ROWS, False)
    seeds, expected = (
        [node.attrs["seed"] for node in layer.walk() if node.name == "hashembed"]
        for layer in (model, stock)
    )
    assert seeds == expected == [8, 9, 10, 11]
