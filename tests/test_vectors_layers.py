"""Layers on our tables: the numbers of spaCy's tables, unseen words, cache."""

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.ml.models.multi_task import create_pretrain_vectors
from spacy.ml.models.tok2vec import MultiHashEmbed
from spacy.ml.staticvectors import StaticVectors
from spacy.vectors import Vectors
from thinc.api import fix_random_seed

from spacy_embedkit.architectures import (
    build_multi_hash_embed_v1,
    build_static_hash_embed_v1,
    build_static_vectors_v1,
)
from spacy_embedkit.row_cache import CACHE

from .helpers.embeds import ATTRS, ROWS, build_tok2vec, gradients_of
from .helpers.gradients import assert_gradient
from .helpers.vector_tables import (
    WORDS,
    make_folder,
    make_ngram_source,
    make_rows,
    make_source,
)

TEXTS = ["the cat sat on zzz.", "", "naïve Straße 🙂", "zzz"]
STORES = ["float32", "float16", "int8", "pq"]


@pytest.fixture(scope="module", params=STORES)
def pair(request, tmp_path_factory):
    """A pipeline on our table, and one on spaCy's with the very same rows."""
    folder = tmp_path_factory.mktemp(request.param) / "table"
    ours = spacy.load(make_folder(folder, dtype=request.param))
    stock = spacy.blank("en")
    data = ours.vocab.vectors.get_batch(WORDS)
    stock.vocab.vectors = Vectors(strings=stock.vocab.strings, data=data, keys=WORDS)
    return ours, stock


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "table")


def docs_of(nlp):
    return [nlp.make_doc(text) for text in TEXTS]


def build(name, docs):
    fix_random_seed(0)
    builders = {
        "ours, multi": lambda: build_multi_hash_embed_v1(8, ATTRS, ROWS, True),
        "ours, hash": lambda: build_static_hash_embed_v1(8, 20),
        "ours, alone": lambda: build_static_vectors_v1(8),
        "stock, multi": lambda: MultiHashEmbed(8, ATTRS, ROWS, True),
        "stock, alone": lambda: StaticVectors(8),
    }
    return builders[name]().initialize(X=docs)


def arrays_of(Y):
    return [Y.data] if hasattr(Y, "data") and not isinstance(Y, list) else list(Y)


@pytest.mark.parametrize("is_train", [False, True])
@pytest.mark.parametrize(
    "name", ["ours, multi", "ours, hash", "ours, alone", "stock, multi", "stock, alone"]
)
def test_a_layer_gives_the_same_on_either_table(pair, name, is_train):
    outputs, gradients = [], []
    for nlp in pair:
        docs = docs_of(nlp)
        model = build(name, docs)
        for _ in range(2):
            Y, backprop = model(docs, is_train)
        outputs.append(arrays_of(Y))
        if is_train:
            backprop(Y)
            gradients.append(gradients_of(model))
    for a, b in zip(*outputs, strict=True):
        assert_allclose(a, b, atol=1e-5)
    # On its own table, stock's layer, and ours with its maths, let words without a row
    # put gradient on W by way of the last row.
    if is_train and name in ("ours, hash", "ours, alone"):
        for key in gradients[0]:
            assert_allclose(gradients[0][key], gradients[1][key], atol=1e-4)


def test_words_without_row_learn_one_of_their_own(folder):
    nlp = spacy.load(folder)
    docs = docs_of(nlp)
    model = build_static_vectors_v1(8, learn_unseen=True).initialize(X=docs)
    [node] = [node for node in model.walk() if node.name == "static_vectors"]
    node.set_param("unseen", numpy.arange(8, dtype="f"))
    Y = model.predict(docs)
    assert_array_equal(Y[3], [numpy.arange(8)])
    assert_allclose(Y[0][1], node.get_param("W") @ make_rows()[1], atol=1e-5)
    assert_gradient(model, docs)


def test_a_learned_row_stands_before_the_policy_of_the_table(tmp_path):
    nlp = spacy.load(make_folder(tmp_path / "table", unseen="mean"))
    docs = docs_of(nlp)
    plain = build_static_vectors_v1(8).initialize(X=docs)
    assert plain.predict(docs)[3].any()
    model = build_static_vectors_v1(8, learn_unseen=True).initialize(X=docs)
    assert not model.predict(docs)[3].any()


def test_cache_notices_another_table(tmp_path, folder):
    nlp = spacy.load(folder)
    docs = docs_of(nlp)
    model = build_static_vectors_v1(8).initialize(X=docs)
    before = model.predict(docs)[0]
    assert len(model.attrs[CACHE])
    make_folder(tmp_path / "other", make_source(make_rows(seed=5)))
    nlp.vocab.vectors.from_disk(tmp_path / "other" / "vocab")
    fresh = build_static_vectors_v1(8, cache_rows=0).initialize(X=docs)
    after = model.predict(docs)[0]
    assert not numpy.allclose(after, before)
    assert_allclose(after, fresh.from_bytes(model.to_bytes()).predict(docs)[0])


@pytest.mark.parametrize("loss", ["cosine", "L2"])
def test_spacys_vectors_objective_takes_our_tables(pair, loss):
    losses = []
    for nlp in pair:
        # Words get the number of their row when they come into the vocabulary.
        for word in [*WORDS, "zzz"]:
            nlp.vocab[word].rank = nlp.vocab.vectors.key2row.get(
                nlp.vocab.strings.add(word), 2**64 - 1
            )
        docs = [doc for doc in docs_of(nlp) if len(doc)]
        fix_random_seed(0)
        tok2vec = build_tok2vec().initialize(X=docs)
        model = create_pretrain_vectors(2, 12, loss)(nlp.vocab, tok2vec)
        model.initialize(X=docs)
        fix_random_seed(1)
        prediction = model.predict(docs)
        losses.append(model.attrs["loss"](model.ops, docs, prediction))
    assert_allclose(losses[0][0], losses[1][0], rtol=1e-4)
    assert_allclose(losses[0][1], losses[1][1], atol=1e-5)


def test_spacys_vectors_objective_takes_our_floret_table(tmp_path):
    nlp = spacy.load(make_folder(tmp_path / "floret", make_ngram_source()))
    docs = [doc for doc in docs_of(nlp) if len(doc)]
    tok2vec = build_tok2vec().initialize(X=docs)
    model = create_pretrain_vectors(2, 12, "cosine")(nlp.vocab, tok2vec)
    model.initialize(X=docs)
    loss, gradient = model.attrs["loss"](model.ops, docs, model.predict(docs))
    assert loss > 0
    assert gradient.any()
