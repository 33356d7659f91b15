"""Caches of the layers: which rows they keep, and when they notice new weights."""

import os
import pickle
import threading

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from spacy.ml.models.tok2vec import MaxoutWindowEncoder, MultiHashEmbed
from spacy.ml.staticvectors import StaticVectors
from spacy.tokens import Doc
from spacy.vectors import Vectors
from thinc.api import Adam, fix_random_seed

from spacy_embedkit import param_watch, row_cache
from spacy_embedkit.architectures import (
    build_maxout_window_encoder_v1,
    build_multi_hash_embed_v1,
)
from spacy_embedkit.layers import multi_hash, static_vectors, window_encoder
from spacy_embedkit.row_cache import CACHE, CachedValue, RowCache

from .helpers.embeds import ATTRS, BUILDERS, ROWS
from .helpers.interrupts import interrupted

WORDS = ["the", "cat", "sat", "on", "mat", "zebra", "naïve", "東京", "x", "The"]


def layer(nlp, static=False, cache_rows=100):
    sample = [Doc(nlp.vocab, words=WORDS)]
    fix_random_seed(0)
    model = build_multi_hash_embed_v1(8, ATTRS, ROWS, static, cache_rows)
    return model.initialize(X=sample)


def fresh_prediction(model, docs):
    """What a layer with these weights, and an empty cache, predicts."""
    other = model.copy()
    assert len(other.attrs[CACHE]) == 0
    return other.predict(docs)


def assert_fresh(model, docs):
    expected = fresh_prediction(model, docs)
    for y, y2 in zip(model.predict(docs), expected, strict=True):
        assert_allclose(y, y2, atol=1e-6)


@given(
    batches=st.lists(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), max_size=8
    ),
    cache_rows=st.integers(0, 12),
)
def test_cache_of_any_size_gives_the_same_rows(nlp, batches, cache_rows):
    model = layer(nlp, cache_rows=cache_rows)
    for words in batches:
        assert_fresh(model, [Doc(nlp.vocab, words=words)])
        assert len(model.attrs[CACHE]) <= cache_rows
    if batches and cache_rows:
        assert len(model.attrs[CACHE])


def test_known_types_are_not_computed_again(nlp):
    cache, calls = RowCache(10), []

    def compute(positions):
        calls.append(positions.tolist())
        return keys[positions, :1].astype("f")

    weights = [numpy.ones(3, dtype="f")]
    for values, expected in (
        ([1, 2, 3], [0, 1, 2]),
        ([3, 1], None),
        ([4, 2, 5], [0, 2]),
        # The recent generation is full now, and 1 moves on from the one before.
        ([6, 1], [0]),
        ([1, 7, 6, 8, 9], [1, 3, 4]),
    ):
        keys = numpy.asarray(values, dtype="uint64").reshape(-1, 1)
        calls.clear()
        assert cache.get(keys, weights, compute).ravel().tolist() == values
        assert calls == ([expected] if expected else [])


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_embedding_layer_fills_its_cache(builder, docs):
    model = BUILDERS[builder]().initialize(X=docs)
    first = [y.copy() for y in model.predict(docs)]
    n_types = len(model.attrs[CACHE])
    assert n_types > 5
    assert_array_equal(numpy.concatenate(model.predict(docs)), numpy.concatenate(first))
    assert len(model.attrs[CACHE]) == n_types


def update(model, docs):
    Y, backprop = model.begin_update(docs)
    backprop([numpy.ones_like(y) for y in Y])
    # Before the optimizer's step a component that annotates may predict.
    model.predict(docs)
    model.finish_update(Adam(0.1))


def load(model, docs):
    other = layer_like(model)
    model.from_bytes(other.to_bytes())


def load_from_disk(model, docs, tmp_path):
    layer_like(model).to_disk(tmp_path / "model")
    model.from_disk(tmp_path / "model")


def layer_like(model):
    other = model.copy()
    change_in_place(other, None)
    return other


def change_in_place(model, docs):
    for node in model.walk():
        for name in node.param_names:
            node.get_param(name)[...] *= 1.5


def change_table_in_place(model, docs):
    tables = (node for node in model.walk() if node.name == "hashembed")
    next(tables).get_param("E")[...] *= 1.5


CHANGES = [update, load, change_in_place, change_table_in_place]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("static", [False, True])
def test_changed_weights_are_noticed(nlp, change, static):
    model = layer(nlp, static)
    docs = [Doc(nlp.vocab, words=WORDS)]
    for _ in range(3):
        before = model.predict(docs)[0].copy()
        change(model, docs)
        assert_fresh(model, docs)
        assert not numpy.allclose(model.predict(docs)[0], before)


def watched_layers(nlp):
    """An embedding layer and an encoder, what they are given, and a weight of each."""
    docs = [Doc(nlp.vocab, words=WORDS)]
    embed = layer(nlp)
    yield embed, docs, next(n for n in embed.walk() if n.name == "maxout")
    encode = build_maxout_window_encoder_v1(8, 1, 3, 2)
    X = [numpy.random.default_rng(0).normal(size=(6, 8)).astype("f")]
    encode.initialize(X=X)
    yield encode, X, next(n for n in encode.walk() if n.name == "maxout")
    stock = MaxoutWindowEncoder(8, 1, 3, 2).initialize(X=X)
    stock.replace_callbacks(window_encoder.predict_forward, init=stock.init)
    stock.attrs[CACHE] = CachedValue()
    yield stock, X, next(n for n in stock.walk() if n.name == "maxout")
    stock = MultiHashEmbed(8, ATTRS, ROWS, False).initialize(X=docs)
    stock.replace_callbacks(multi_hash.predict_forward, init=stock.init)
    stock.attrs[CACHE] = RowCache(100)
    yield stock, docs, next(n for n in stock.walk() if n.name == "maxout")


def test_another_array_is_noticed_even_if_one_number_differs(nlp):
    for model, X, node in watched_layers(nlp):
        before = model.predict(X)[0].copy()
        W = node.get_param("W").copy()
        W.ravel()[1] += 100
        node.set_param("W", W)
        assert not numpy.allclose(model.predict(X)[0], before)


def test_one_number_changed_in_place_is_noticed_once_trained(nlp):
    for model, X, node in watched_layers(nlp):
        model.begin_update(X)
        before = model.predict(X)[0].copy()
        node.get_param("W").ravel()[1] += 100
        assert not numpy.allclose(model.predict(X)[0], before)


def test_static_vectors_notice_one_number_changed_in_place_once_trained(nlp):
    docs = [Doc(nlp.vocab, words=WORDS)]
    model = StaticVectors(64).initialize(X=docs)
    model.replace_callbacks(static_vectors.predict_forward, init=model.init)
    model.attrs[CACHE] = RowCache(100)
    model.begin_update(docs)
    before = model.predict(docs).data.copy()
    model.get_param("W").ravel()[1] += 100
    assert not numpy.allclose(model.predict(docs).data, before)


def test_a_part_changed_in_place_is_noticed(nlp):
    for model, X, node in watched_layers(nlp):
        before = model.predict(X)[0].copy()
        W = node.get_param("W").ravel()
        W[len(W) // 2 :][: len(W) // 32] += 100
        assert not numpy.allclose(model.predict(X)[0], before)


def test_weights_from_disk_are_noticed(nlp, tmp_path):
    model = layer(nlp)
    docs = [Doc(nlp.vocab, words=WORDS)]
    before = model.predict(docs)[0].copy()
    load_from_disk(model, docs, tmp_path)
    assert_fresh(model, docs)
    assert not numpy.allclose(model.predict(docs)[0], before)


def test_averaged_weights_are_used_while_they_are_in_place(nlp):
    # As the evaluation of `spacy train` does, which keeps the arrays and changes them.
    model = layer(nlp)
    docs = [Doc(nlp.vocab, words=WORDS)]
    optimizer = Adam(0.1, use_averages=True)
    for _ in range(3):
        update_with(model, docs, optimizer)
        own = model.predict(docs)[0].copy()
        with model.use_params(optimizer.averages):
            assert_fresh(model, docs)
        assert_array_equal(model.predict(docs)[0], own)
        assert_fresh(model, docs)


def update_with(model, docs, optimizer):
    Y, backprop = model.begin_update(docs)
    backprop([numpy.ones_like(y) for y in Y])
    model.finish_update(optimizer)


def test_changed_vectors_are_noticed(nlp):
    model = layer(nlp, static=True)
    docs = [Doc(nlp.vocab, words=WORDS)]
    before = model.predict(docs)[0].copy()
    nlp.vocab.set_vector("cat", numpy.full(6, 9, dtype="f"))
    assert_fresh(model, docs)
    changed = abs(model.predict(docs)[0] - before).max(axis=1) > 1e-3
    assert changed.tolist() == [word == "cat" for word in WORDS]
    # A word that had none; the table is full, so it is another one afterwards.
    nlp.vocab.vectors.resize((8, 6))
    nlp.vocab.set_vector("zebra", numpy.full(6, -9, dtype="f"))
    assert_fresh(model, docs)


def test_changed_floret_vectors_are_noticed(nlp):
    data = numpy.random.default_rng(0).normal(size=(20, 6)).astype("f")
    nlp.vocab.vectors = Vectors(
        strings=nlp.vocab.strings,
        data=data,
        mode="floret",
        hash_count=2,
        minn=2,
        maxn=3,
    )
    model = layer(nlp, static=True)
    docs = [Doc(nlp.vocab, words=WORDS)]
    before = model.predict(docs)[0].copy()
    nlp.vocab.vectors.data *= 1.5
    assert_fresh(model, docs)
    assert not numpy.allclose(model.predict(docs)[0], before)


@pytest.mark.parametrize("builder", ["static_hash", "subword_static", "static_unseen"])
def test_vectors_keyed_by_another_attribute_are_looked_up(nlp, builder):
    docs = [Doc(nlp.vocab, words=["The", "CAT", "zebra", "cat"])]
    model = BUILDERS[builder]().initialize(X=docs)
    table = nlp.vocab.vectors
    lower, norm = (
        Vectors(strings=table.strings, data=table.data, keys=list(table), attr=attr)
        for attr in ("LOWER", "NORM")
    )
    for other in (table, lower, table, norm, lower):
        nlp.vocab.vectors = other
        assert_fresh(model, docs)


def test_emptied_vectors_are_named(nlp):
    docs = [Doc(nlp.vocab, words=WORDS)]
    model = layer(nlp, static=True)
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, shape=(0, 6))
    with pytest.raises(ValueError, match="the vocab's vectors table has shape"):
        model.predict(docs)


def test_cache_stays_out_of_bytes_pickles_and_copies(nlp):
    model = layer(nlp)
    size, data = len(pickle.dumps(model)), model.to_bytes()
    model.predict([Doc(nlp.vocab, words=WORDS)])
    assert len(model.attrs[CACHE])
    assert model.to_bytes() == data
    assert len(pickle.dumps(model)) == size
    for other in (pickle.loads(pickle.dumps(model)), model.copy()):
        assert len(other.attrs[CACHE]) == 0
        assert other.attrs[CACHE].max_rows == 100
    assert isinstance(pickle.loads(pickle.dumps(CachedValue())), CachedValue)


@pytest.mark.parametrize("cache_rows", [1, 3, 1000])
def test_eight_threads_get_their_own_rows(nlp, cache_rows):
    model = layer(nlp, cache_rows=cache_rows)
    random = numpy.random.default_rng(0)
    vocabulary = [f"word{i}" for i in range(40)]
    batches = [
        [Doc(nlp.vocab, words=random.choice(vocabulary, 9).tolist())] for _ in range(64)
    ]
    expected = [fresh_prediction(model, docs)[0] for docs in batches]
    wrong = []

    def work(start):
        for _ in range(5):
            for i in range(start, len(batches), 8):
                if not numpy.allclose(model.predict(batches[i])[0], expected[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(model.attrs[CACHE]) <= cache_rows


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_forked_process_does_not_wait_for_a_lock_of_its_parent(nlp):
    model = layer(nlp)
    docs = [Doc(nlp.vocab, words=WORDS)]
    expected = model.predict(docs)[0]
    cache = model.attrs[CACHE]
    with cache._lock:
        pid = os.fork()
        if pid == 0:
            same = len(cache) == 0 and numpy.array_equal(
                model.predict(docs)[0], expected
            )
            os._exit(0 if same else 1)
    for _ in range(100):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.1)
    else:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        pytest.fail("the forked process hangs")
    assert status == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
@pytest.mark.parametrize("cache", [CachedValue(), RowCache(10)], ids=["value", "rows"])
def test_values_of_old_weights_are_gone_after_an_interrupt(cache, error):
    weights = [numpy.ones(3, dtype="f")]
    keys = numpy.arange(4, dtype="uint64").reshape(-1, 1)

    def get(compute):
        if isinstance(cache, CachedValue):
            return cache.get(weights, lambda: compute(keys[:, 0]))
        return cache.get(keys, weights, compute)

    def compute(positions):
        return weights[0][:1] * numpy.ones((4, 1), dtype="f")

    def interrupted(positions):
        raise error

    assert get(compute)[0] == 1
    weights = [numpy.full(3, 2, dtype="f")]
    with pytest.raises(error):
        get(interrupted)
    assert get(compute)[0] == 2


def test_interrupt_at_any_line_of_the_cache_leaves_no_old_rows():
    keys = numpy.arange(3, dtype="uint64").reshape(-1, 1)

    def get(cache, value):
        weights[0] = numpy.full(3, value, dtype="f")
        rows = numpy.full((3, 1), value, dtype="f")
        if isinstance(cache, CachedValue):
            return cache.get(weights, lambda: rows)
        return cache.get(keys, weights, lambda positions: rows[positions])

    for make in (CachedValue, lambda: RowCache(3), lambda: RowCache(100)):
        n_lines = n_stops = 0
        while n_stops == n_lines:
            # One line later each time, until it runs to its end.
            cache, weights, n_lines = make(), [None], n_lines + 1
            get(cache, 1)
            n_stops += interrupt_at(n_lines, lambda cache=cache: get(cache, 2))
            for _ in range(2):
                assert get_again(cache, keys, weights).ravel()[0] == 2
        assert n_stops > 10


def get_again(cache, keys, weights):
    """Get from the cache without new weights; what it computes is right."""
    rows = numpy.full((3, 1), weights[0][0], dtype="f")
    if isinstance(cache, CachedValue):
        return cache.get(weights, lambda: rows)
    return cache.get(keys, weights, lambda positions: rows[positions])


def interrupt_at(n_lines, function):
    """Run a function, but raise at that line of the caches; return whether it did."""
    with interrupted((row_cache, param_watch), n_lines) as interrupt:
        function()
    return interrupt.happened


def test_negative_size_is_refused():
    with pytest.raises(ValueError, match="cache_rows is -1, but 0 or more"):
        build_multi_hash_embed_v1(8, ATTRS, ROWS, False, cache_rows=-1)
