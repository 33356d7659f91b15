"""Static vectors in the layers: which row a word gets, tables of all kinds."""

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc
from spacy.vectors import Vectors

from spacy_embedkit.architectures import build_static_hash_embed_v1

from .helpers.embeds import BUILDERS


def test_static_words_get_the_rows_they_are_given(nlp):
    nlp.vocab.vectors.data[:] = 0
    docs = [Doc(nlp.vocab, words=["the", "cat", "dog", "zzz", "on"])]
    key2row = {"the": 1, nlp.vocab.strings["cat"]: 2, "dog": 1}
    model = build_static_hash_embed_v1(8, 5, key2row=key2row, unseen_row=4)
    [Y] = model.initialize(X=docs).predict(docs)
    [table] = [node for node in model.walk() if node.name == "word_table"]
    assert_array_equal(Y, table.get_param("E")[[1, 2, 1, 4, 4]])


def test_static_hash_adds_the_projected_vector(nlp):
    docs = [Doc(nlp.vocab, words=["cat", "zzz"])]
    model = build_static_hash_embed_v1(8, 5, key2row={}).initialize(X=docs)
    [table] = [node for node in model.walk() if node.name == "word_table"]
    [static] = [node for node in model.walk() if node.name == "static_vectors"]
    learned = table.get_param("E")[0]
    expected = static.get_param("W") @ nlp.vocab["cat"].vector
    assert_allclose(model.predict(docs)[0], [learned + expected, learned], atol=1e-5)


def test_static_vectors_follow_the_attribute_of_the_table(nlp):
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, shape=(2, 6), attr="LOWER")
    nlp.vocab.vectors.add("cat", vector=numpy.ones(6, dtype="f"))
    docs = [Doc(nlp.vocab, words=["CAT", "Cat", "dog"])]
    model = build_static_hash_embed_v1(8, 5, key2row={}).initialize(X=docs)
    [Y] = model.predict(docs)
    assert_array_equal(Y[0], Y[1])
    assert not numpy.allclose(Y[0], Y[2])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
def test_static_vectors_of_any_dtype(nlp, dtype):
    data = numpy.arange(12).reshape(2, 6).astype(dtype)
    nlp.vocab.vectors = Vectors(
        strings=nlp.vocab.strings, data=data, keys=["cat", "dog"]
    )
    docs = [Doc(nlp.vocab, words=["cat", "dog", "zzz"])]
    for build in (BUILDERS["multi_hash_static"], BUILDERS["static_hash"]):
        [Y] = build().initialize(X=docs).predict(docs)
        assert numpy.isfinite(Y).all()


def test_words_without_vector_add_nothing_to_the_gradient(nlp):
    model = BUILDERS["static_hash"]().initialize(X=[Doc(nlp.vocab, words=["cat"])])
    [static] = [node for node in model.walk() if node.name == "static_vectors"]
    Y, backprop = model([Doc(nlp.vocab, words=["zzz", "yyy"])], is_train=True)
    backprop([numpy.ones_like(Y[0])])
    assert not static.get_grad("W").any()


@pytest.mark.parametrize(
    "builder", ["multi_hash_static", "subword_static", "static_hash"]
)
def test_vocab_without_vectors_is_named(builder):
    docs = [spacy.blank("en").make_doc("a cat")]
    with pytest.raises(
        ValueError, match=r"shape \(0, 0\).*`vectors` in \[initialize\]"
    ):
        BUILDERS[builder]().initialize(X=docs)


@pytest.mark.parametrize(
    "builder", ["multi_hash_static", "subword_static", "static_hash"]
)
def test_vectors_of_another_width_are_named_when_predicting(builder, docs):
    model = BUILDERS[builder]().initialize(X=docs)
    other = spacy.blank("en")
    other.vocab.set_vector("cat", numpy.ones(4, dtype="f"))
    with pytest.raises(ValueError, match=r"vectors 6 wide, .* shape \(\d+, 4\)"):
        model.predict([other.make_doc("a cat")])


def test_vector_width_is_checked(docs):
    model = build_static_hash_embed_v1(8, 5, vector_width=300)
    with pytest.raises(ValueError, match=r"vectors 300 wide, .* shape \(\d+, 6\)"):
        model.initialize(X=docs)
