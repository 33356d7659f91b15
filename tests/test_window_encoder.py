"""MaxoutWindowEncoder.v1 against the stock layer it replaces."""

import pickle

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from spacy.ml.models.tok2vec import MaxoutWindowEncoder
from spacy.tokens import Doc
from thinc.api import chain, fix_random_seed, set_dropout_rate, with_array

from spacy_embedkit.architectures import build_maxout_window_encoder_v1
from spacy_embedkit.layers import window_predict
from spacy_embedkit.layers.window_nodes import match_nodes

from .helpers.embeds import BUILDERS, gradients_of
from .helpers.gradients import assert_gradient
from .helpers.strategies import token_docs


def pair(width=8, window=1, pieces=3, depth=4):
    """A stock encoder, and ours with the weights that it saved."""
    fix_random_seed(0)
    sample = [numpy.ones((3, width), dtype="f")]
    stock = MaxoutWindowEncoder(width, window, pieces, depth).initialize(X=sample)
    random = numpy.random.default_rng(0)
    for node in stock.walk():
        # Fresh biases and norms are zeros and ones, which would hide mistakes.
        for name in node.param_names:
            param = node.get_param(name)
            noise = random.normal(size=param.shape, scale=0.3).astype("f")
            node.set_param(name, param + noise)
    ours = build_maxout_window_encoder_v1(width, window, pieces, depth)
    return stock, ours.initialize(X=sample).from_bytes(stock.to_bytes())


def rows(lengths, width=8, seed=0):
    random = numpy.random.default_rng(seed)
    return [random.normal(size=(n, width)).astype("f") for n in lengths]


def assert_same(Ys, Ys2, atol=1e-5):
    assert [y.shape for y in Ys] == [y.shape for y in Ys2]
    for y, y2 in zip(Ys, Ys2, strict=True):
        assert y2.dtype == y.dtype
        assert_allclose(y2, y, atol=atol)


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    width=st.integers(1, 20),
    window=st.integers(1, 3),
    pieces=st.integers(1, 3),
    depth=st.integers(1, 5),
)
def test_prediction_equals_stock(lengths, width, window, pieces, depth):
    # At width 1 the norm of a single value is noise over noise.
    stock, ours = pair(width + 1, window, pieces, depth)
    X = rows(lengths, width + 1)
    assert_same(stock.predict(X), ours.predict(X), atol=1e-4)


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    chunk=st.integers(1, 8),
    block=st.integers(1, 20),
    window=st.integers(1, 2),
)
@example(lengths=[2, 0, 1, 9], chunk=1, block=1, window=2)
@example(lengths=[40, 1, 40], chunk=5, block=7, window=1)
@settings(max_examples=30)
def test_chunks_and_blocks_leave_no_seam(monkeypatch, lengths, chunk, block, window):
    monkeypatch.setattr(window_predict, "CHUNK", chunk)
    monkeypatch.setattr(window_predict, "BLOCK", block)
    stock, ours = pair(window=window)
    X = rows(lengths)
    assert_same(stock.predict(X), ours.predict(X))


@pytest.mark.parametrize("lengths", [[20_000], [1] * 2000, [7, 9000, 0, 9000, 1]])
def test_long_docs_and_many_docs(lengths):
    stock, ours = pair()
    X = rows(lengths)
    assert_same(stock.predict(X), ours.predict(X))


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6))
@settings(max_examples=25)
def test_training_equals_stock(lengths):
    if not sum(lengths):
        return
    results = []
    for layer in pair():
        set_dropout_rate(layer, 0.0)
        Y, backprop = layer(rows(lengths), is_train=True)
        dX = backprop(rows(lengths, seed=1))
        results.append((Y, dX, gradients_of(layer)))
    (Y, dX, grads), (Y2, dX2, grads2) = results
    assert_same(Y, Y2)
    assert_same(dX, dX2, atol=1e-4)
    assert grads.keys() == grads2.keys()
    for key, grad in grads.items():
        assert_allclose(grads2[key], grad, rtol=1e-3, atol=1e-4)


def test_gradient_equals_differences():
    _, ours = pair(width=5, pieces=2, depth=2)
    set_dropout_rate(ours, 0.0)
    assert_gradient(ours, [x.astype("d") for x in rows([4, 0, 1], 5)])


def test_dropout_zeroes_what_a_layer_adds_to_its_input():
    _, ours = pair(depth=1)
    set_dropout_rate(ours, 0.5)
    X = rows([200])
    fix_random_seed(0)
    Y, backprop = ours(X, is_train=True)
    share = float((Y[0] == X[0]).mean())
    assert 0.4 < share < 0.6
    dX = backprop([numpy.ones_like(X[0])])
    assert numpy.isfinite(dX[0]).all()
    set_dropout_rate(ours, 1.0)
    assert_array_equal(ours(X, is_train=True)[0][0], X[0])


@pytest.mark.parametrize("builder", BUILDERS)
@given(words=token_docs)
@settings(max_examples=10)
def test_types_of_the_embedding_below_make_no_difference(builder, nlp, words):
    docs = [Doc(nlp.vocab, words=w) for w in [["the", "cat", "the"], *words]]
    stock, ours = pair()
    embed = BUILDERS[builder]().initialize(X=docs)
    for batch in (docs, docs[::-1]):
        assert_same(
            chain(embed, stock).predict(batch), chain(embed, ours).predict(batch)
        )


def test_tree_of_two_window_sizes_is_not_matched():
    one, two = (MaxoutWindowEncoder(8, size, 3, 1).layers[0] for size in (1, 2))
    assert match_nodes(with_array(chain(one, one.copy()))) is not None
    assert match_nodes(with_array(chain(one, two))) is None


def test_other_inputs_run_the_stock_layer():
    stock, ours = pair()
    X = rows([7])[0]
    assert_array_equal(ours.predict(X), stock.predict(X))
    assert [y.shape for y in ours.predict(rows([0, 0]))] == [(0, 8), (0, 8)]


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_batch_without_tokens_passes_both_ways(lengths):
    # The stock layer raises: on no doc at once, on empty ones in backprop.
    model = build_maxout_window_encoder_v1(8, 1, 3, 2).initialize()
    for Y, backprop in (model(rows(lengths), True), model(rows(lengths), False)):
        assert [y.shape for y in Y] == [(0, 8)] * len(lengths)
        assert [dx.shape for dx in backprop(Y)] == [(0, 8)] * len(lengths)
    assert not gradients_of(model)


def test_bytes_go_both_ways_and_are_drawn_alike(tmp_path):
    stock, ours = pair()
    X = rows([5])
    ours.predict(X)
    assert ours.to_bytes() == stock.to_bytes()
    ours.to_disk(tmp_path / "model")
    back = MaxoutWindowEncoder(8, 1, 3, 4).from_disk(tmp_path / "model")
    assert_array_equal(back.predict(X)[0], stock.predict(X)[0])
    fresh = []
    for build in (MaxoutWindowEncoder, build_maxout_window_encoder_v1):
        fix_random_seed(3)
        fresh.append(build(8, 1, 3, 4).initialize(X=X).to_bytes())
    assert fresh[0] == fresh[1]


@pytest.mark.parametrize(
    "copy", [lambda m: m.copy(), lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_have_weights_of_their_own(copy):
    _, ours = pair()
    X = rows([5])
    before = ours.predict(X)[0].copy()
    other = copy(ours)
    for node in other.walk():
        for name in node.param_names:
            node.set_param(name, node.get_param(name) * 2)
    assert not numpy.allclose(other.predict(X)[0], before)
    assert_array_equal(ours.predict(X)[0], before)


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ((0, 1, 3, 4), "width is 0"),
        ((8, 0, 3, 4), "window_size is 0"),
        ((8, 1, 0, 4), "maxout_pieces is 0"),
        ((8, 1, 3, 0), "depth is 0"),
    ],
)
def test_settings_below_one_are_refused(settings_, words):
    with pytest.raises(ValueError, match=words):
        build_maxout_window_encoder_v1(*settings_)
