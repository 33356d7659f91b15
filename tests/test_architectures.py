"""All embedding layers: gradients, odd docs, saving, errors by their words."""

import numpy
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc
from thinc.api import Adam, fix_random_seed

from spacy_embedkit import ops
from spacy_embedkit.architectures import (
    build_multi_hash_embed_v1,
    build_static_hash_embed_v1,
    build_subword_hash_embed_v1,
)
from spacy_embedkit.layers.types import find_types

from .helpers.embeds import ATTRS, BUILDERS, ROWS, gradients_of
from .helpers.gradients import assert_gradient
from .helpers.strategies import token_docs


@pytest.fixture(params=BUILDERS, ids=list(BUILDERS))
def model(request, docs):
    fix_random_seed(0)
    return BUILDERS[request.param]().initialize(X=docs)


@given(words=token_docs)
def test_once_a_type_equals_once_a_token(model_factory, nlp, words):
    docs = [Doc(nlp.vocab, words=w) for w in [["the", "cat"], *words]]
    ours = model_factory(docs)
    Y, backprop = ours(docs, is_train=True)
    dY = [numpy.random.default_rng(0).normal(size=y.shape).astype("f") for y in Y]
    backprop(dY)
    grads = gradients_of(ours)
    ours.finish_update(lambda key, weights, gradient: (weights, gradient))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "spacy_embedkit.layers.types.ops.unique_rows",
            lambda rows: (numpy.arange(len(rows)), numpy.arange(len(rows))),
        )
        Y2, backprop = ours(docs, is_train=True)
        backprop(dY)
    for y, y2 in zip(Y, Y2, strict=True):
        assert_allclose(y2, y, atol=1e-5)
    for key, grad in gradients_of(ours).items():
        assert_allclose(grads[key], grad, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=BUILDERS, ids=list(BUILDERS))
def model_factory(request):
    def make(docs):
        fix_random_seed(0)
        return BUILDERS[request.param]().initialize(X=docs)

    return make


def test_gradient_matches_differences(model, docs, request):
    if request.node.callspec.params["model"] == "multi_hash_static":
        # Stock's gradient for words without a vector is not the true one; the layer
        # promises stock's numbers, so only words with a vector are compared.
        docs = [Doc(docs[0].vocab, words=["the", "cat", "sat", "the"])]
    assert_gradient(model, docs)


def test_output_has_a_row_for_each_token(model, docs):
    Y = model.predict(docs)
    assert [y.shape for y in Y] == [(len(doc), 8) for doc in docs]
    assert all(y.dtype == "float32" for y in Y)
    assert all(numpy.isfinite(y).all() for y in Y)


def test_equal_words_have_equal_rows_and_others_not(model, docs):
    Y = model.predict(docs)
    # "cat" stands in doc 0 at 1 and 8, and alone in doc 2; "mat" at 5.
    assert_array_equal(Y[0][1], Y[0][8])
    assert_array_equal(Y[0][1], Y[2][0])
    assert not numpy.allclose(Y[0][1], Y[0][5])


@pytest.mark.parametrize("n_docs", [0, 1, 3])
def test_batch_without_tokens_passes_both_ways(model, nlp, n_docs):
    docs = [Doc(nlp.vocab) for _ in range(n_docs)]
    Y, backprop = model(docs, is_train=True)
    assert [y.shape for y in Y] == [(0, 8)] * n_docs
    assert backprop(Y) == []


@pytest.mark.parametrize("name", ["multi_hash", "multi_hash_one", "subword"])
@pytest.mark.parametrize("n_docs", [0, 1, 3])
def test_batch_without_tokens_passes_a_layer_that_saw_no_sample(name, n_docs, nlp):
    model = BUILDERS[name]().initialize()
    docs = [Doc(nlp.vocab) for _ in range(n_docs)]
    for Y, backprop in (model(docs, is_train=True), model(docs, is_train=False)):
        assert [y.shape for y in Y] == [(0, 8)] * n_docs
        assert backprop(Y) == []


def test_word_that_no_doc_can_hold_is_named():
    with pytest.raises(ValueError, match=r"key2row has '\\ud800', with half of a surr"):
        build_static_hash_embed_v1(8, 5, key2row={"a": 1, "\ud800": 2})


def test_spans_are_embedded_like_their_docs(model, docs):
    [whole], [part] = model.predict([docs[0]]), model.predict([docs[0][2:6]])
    assert_allclose(part, whole[2:6], atol=1e-6)


def test_very_long_doc_and_word(model, nlp):
    doc = Doc(nlp.vocab, words=["x" * 100_000, *["cat", "dog"] * 30_000])
    [Y] = model.predict([doc])
    assert Y.shape == (60_001, 8)
    assert numpy.isfinite(Y).all()


def test_bytes_restore_the_output(model_factory, docs, tmp_path):
    model = model_factory(docs)
    expected = model.predict(docs)
    for restored in (
        model_factory([docs[2]]).from_bytes(model.to_bytes()),
        model.copy(),
    ):
        for y, y2 in zip(expected, restored.predict(docs), strict=True):
            assert_array_equal(y2, y)


def test_same_seed_same_weights(model_factory, docs):
    assert model_factory(docs).to_bytes() == model_factory(docs).to_bytes()


def test_update_learns(model, docs):
    # Steps towards a constant target shrink the error by far.
    targets = [numpy.ones((len(doc), 8), dtype="f") for doc in docs]

    optimizer = Adam(0.02)

    def step():
        Y, backprop = model(docs, is_train=True)
        diffs = [y - t for y, t in zip(Y, targets, strict=True)]
        backprop(diffs)
        model.finish_update(optimizer)
        return sum(float((d**2).sum()) for d in diffs)

    losses = [step() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_subword_shares_rows_between_related_words(nlp):
    docs = [Doc(nlp.vocab, words=["walking", "walked", "zzzzzz"])]
    model = build_subword_hash_embed_v1(16, 5000, attrs=[], attr_rows=[])
    model.initialize(X=docs)
    table = next(node for node in model.walk() if node.name == "ngram_table")
    rows = table.predict(find_types(model, docs, model.attrs["columns"])[0])
    near, far = rows[0] @ rows[1], rows[0] @ rows[2]
    assert near > 0
    assert near > 3 * abs(far)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("min_n", 2),
        ("max_n", 4),
        ("n_hashes", 1),
        ("boundaries", False),
        ("attr", "SHAPE"),
        ("rows", 51),
        ("width", 9),
        ("attrs", ["NORM", "LOWER", "SUFFIX", "SHAPE"]),
        ("include_static_vectors", True),
    ],
)
def test_every_subword_setting_matters(docs, setting, value):
    settings = {"width": 8, "rows": 50, "attrs": ATTRS, "attr_rows": ROWS}
    outputs = []
    for changed in ({}, {setting: value}):
        fix_random_seed(0)
        model = build_subword_hash_embed_v1(**{**settings, **changed})
        outputs.append(model.initialize(X=docs).predict(docs)[0])
    assert outputs[0].shape != outputs[1].shape or not numpy.allclose(*outputs)


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        (build_multi_hash_embed_v1, {"rows": [10, -5]}, r"rows\[1\] is -5.* 1 or more"),
        (build_multi_hash_embed_v1, {"rows": [10]}, "2 attrs were given with 1 rows"),
        (build_multi_hash_embed_v1, {"width": 0}, "width is 0, but 1 or more"),
        (build_multi_hash_embed_v1, {"attrs": ["NORM", "NROM"]}, "'NROM' is not a tok"),
        (build_multi_hash_embed_v1, {"attrs": [], "rows": []}, "number of attrs is 0"),
        (build_subword_hash_embed_v1, {"min_n": 4, "max_n": 3}, "min_n is 4 .* is 3"),
        (build_subword_hash_embed_v1, {"min_n": 0}, "min_n is 0 .*1 <= min_n"),
        (build_subword_hash_embed_v1, {"n_hashes": 9}, "n_hashes is 9.* 1 to 8"),
        (build_subword_hash_embed_v1, {"rows": -1}, "rows is -1, but 1 or more"),
        (build_subword_hash_embed_v1, {"attr": "POS"}, "attr is 'POS'.*ORTH, NORM"),
        (build_subword_hash_embed_v1, {"attr_rows": [1]}, "0 attrs were given with 1"),
        (build_static_hash_embed_v1, {"vector_width": 0}, "vector_width is 0"),
        (build_static_hash_embed_v1, {"embed_rows": 0}, "embed_rows is 0"),
        (
            build_static_hash_embed_v1,
            {"key2row": {"a": 5}},
            r"key2row\['a'\] is 5, but the table has 5 rows",
        ),
        (
            build_static_hash_embed_v1,
            {"key2row": {"a": 1}, "unseen_row": -1},
            "unseen_row is -1, but the table has 5 rows",
        ),
        (build_static_hash_embed_v1, {"unseen_row": 2}, "without key2row every word"),
    ],
)
def test_setting_out_of_range_is_named(build, settings, message):
    valid = {
        build_multi_hash_embed_v1: {
            "width": 8,
            "attrs": ["NORM", "SHAPE"],
            "rows": [10, 5],
            "include_static_vectors": False,
        },
        build_subword_hash_embed_v1: {"width": 8, "rows": 50},
        build_static_hash_embed_v1: {"output_width": 8, "embed_rows": 5},
    }[build]
    with pytest.raises(ValueError, match=message):
        build(**{**valid, **settings})


def test_kernels_are_not_asked_for_an_empty_batch(model, nlp, monkeypatch):
    monkeypatch.setattr(ops, "unique_rows", None)
    assert model.predict([Doc(nlp.vocab)])[0].shape == (0, 8)
