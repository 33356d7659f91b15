"""The characters objective: the numbers of stock, masking, odd corpora."""

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.ml.models import multi_task
from spacy.ml.models.multi_task import (
    create_pretrain_characters,
    create_pretrain_vectors,
)
from spacy.tokens import Doc
from spacy.training.pretrain import make_update
from spacy.util import OOV_RANK
from spacy.vectors import Vectors
from spacy.vocab import Vocab
from thinc.api import Adam, fix_random_seed

from spacy_embedkit.pretraining import masking
from spacy_embedkit.pretraining.masking import TokenMasking, WordSample
from spacy_embedkit.pretraining.objectives import (
    build_pretrain_characters_v1,
    build_pretrain_vectors_v1,
)

from .helpers.embeds import build_tok2vec
from .helpers.vector_tables import make_folder


def objective(docs, create):
    """An initialized pretraining model; equal weights for equal architectures."""
    fix_random_seed(0)
    tok2vec = build_tok2vec().initialize(X=docs)
    return create(docs[0].vocab, tok2vec).initialize(X=docs)


@pytest.fixture
def docs():
    nlp = spacy.blank("en")
    words = ["The", "cat", "on", "a", "b", "d", "東京"]
    rows = numpy.random.default_rng(0).normal(size=(7, 6)).astype("f")
    strings = nlp.vocab.strings
    nlp.vocab.vectors = Vectors(strings=strings, data=rows, keys=words)
    for lexeme in nlp.vocab:
        # As spaCy does where it loads vectors.
        lexeme.rank = nlp.vocab.vectors.key2row.get(lexeme.orth, OOV_RANK)
    texts = ["The cat sat on the mat.", "", "naïve café 東京 🙂", "a b c d e " * 20]
    return [nlp.make_doc(text) for text in texts]


def sample_of(docs):
    sample = WordSample()
    sample.add([token.text for doc in docs for token in doc])
    return sample


OBJECTIVES = {
    "characters": (
        lambda: create_pretrain_characters(2, 12, 4),
        lambda: build_pretrain_characters_v1(2, 12, 4),
    ),
    "cosine": (
        lambda: create_pretrain_vectors(2, 12, "cosine"),
        lambda: build_pretrain_vectors_v1(2, 12, "cosine"),
    ),
    "L2": (
        lambda: create_pretrain_vectors(2, 12, "L2"),
        lambda: build_pretrain_vectors_v1(2, 12, "L2"),
    ),
}


def fill_zeros(model):
    """Give weights that start as zeros random values, equal for equal models."""
    random = numpy.random.default_rng(2)
    for node in model.walk():
        if node.name == "linear":
            shape = node.get_param("W").shape
            node.set_param("W", random.normal(size=shape).astype("f"))


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_gradient_equals_stock_for_the_same_mask(docs, monkeypatch, name):
    stock, ours = (objective(docs, create()) for create in OBJECTIVES[name])
    for model in (stock, ours):
        fill_zeros(model)
    fix_random_seed(1)
    masked, positions = TokenMasking(0.3)(docs, sample_of(docs))
    is_kept = numpy.ones(sum(len(doc) for doc in docs), dtype=bool)
    is_kept[positions] = False
    monkeypatch.setattr(
        multi_task, "_apply_mask", lambda *args, **kwargs: (is_kept, masked)
    )
    ours.attrs["masking"] = lambda *args: (masked, positions)
    gradients = []
    for model in (stock, ours):
        prediction, backprop = model.begin_update(docs)
        loss, d_prediction = model.attrs["loss"](model.ops, docs, prediction)
        assert loss > 0
        backprop(d_prediction)
        parts = (model.get_ref("tok2vec"), model.get_ref("output_layer"))
        gradients.append([_gradients(part) for part in parts])
    for stock_part, our_part in zip(*gradients, strict=True):
        assert len(stock_part) == len(our_part) > 0
        for grad, grad2 in zip(stock_part, our_part, strict=True):
            assert_allclose(grad2, grad, rtol=1e-4, atol=1e-6)


def _gradients(model):
    # Stock nests the same nodes in another way: sorted by name and shape they agree.
    found = [(name, node) for node in model.walk() for name in node.grad_names]
    found.sort(key=lambda pair: (pair[0], pair[1].get_grad(pair[0]).shape))
    return [node.get_grad(name) for name, node in found]


def test_loss_is_the_squared_error_of_the_masked_bytes(docs):
    model = objective(docs, build_pretrain_characters_v1(2, 12, 2))
    prediction, _ = model.begin_update(docs)
    loss, (gradient,) = model.attrs["loss"](model.ops, docs, prediction)
    (prediction,) = prediction
    expected = 0.0
    tokens = [token for doc in docs for token in doc]
    for row, i in zip(prediction.data, prediction.positions, strict=True):
        doc = tokens[i].doc
        for k, byte in enumerate(doc.to_utf8_array(nr_char=2)[tokens[i].i]):
            target = numpy.zeros(256)
            target[byte] = 1
            expected += ((row.reshape(2, 256)[k] - target) ** 2).sum()
    assert len(prediction.positions) > 0
    assert loss == pytest.approx(expected, rel=1e-4)
    assert gradient.shape == (len(prediction.positions), 512)


@pytest.mark.parametrize("distance", ["cosine", "L2"])
def test_vectors_loss_is_the_sum_over_masked_words(docs, distance):
    model = objective(docs, build_pretrain_vectors_v1(2, 12, distance))
    fill_zeros(model)
    prediction, _ = model.begin_update(docs)
    loss, (gradient,) = model.attrs["loss"](model.ops, docs, prediction)
    (prediction,) = prediction
    tokens = [token for doc in docs for token in doc]
    expected = 0.0
    for row, i in zip(prediction.data, prediction.positions, strict=True):
        target = tokens[i].vector
        if distance == "L2":
            expected += ((row - target) ** 2).sum()
        elif target.any():
            norms = numpy.linalg.norm(row) * numpy.linalg.norm(target)
            expected += 1 - (row @ target) / norms
    assert loss == pytest.approx(expected, rel=1e-4)
    assert gradient.shape == (len(prediction.positions), 6)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("unseen", ["zeros", "mean"])
def test_vectors_are_learned_from_our_tables(tmp_path, dtype, unseen):
    nlp = spacy.load(make_folder(tmp_path / "table", dtype=dtype, unseen=unseen))
    docs = [nlp.make_doc("the cat sat on the mat zzz " * 5)]
    model = objective(docs, build_pretrain_vectors_v1(2, 12, "L2"))
    optimizer = Adam(0.01)
    losses = []
    for _ in range(60):
        prediction, backprop = model.begin_update(docs)
        loss, d_prediction = model.attrs["loss"](model.ops, docs, prediction)
        backprop(d_prediction)
        model.finish_update(optimizer)
        losses.append(loss / max(1, len(prediction[0].positions)))
    assert numpy.mean(losses[-10:]) < 0.8 * numpy.mean(losses[:5])


def test_vectors_objective_needs_vectors():
    doc = Doc(Vocab(), words=["a"])
    with pytest.raises(ValueError, match="embedkit vectors convert"):
        objective([doc], build_pretrain_vectors_v1(2, 8, "L2"))


def test_updates_lower_the_loss(docs):
    model = objective(docs, build_pretrain_characters_v1(2, 12, 4))
    optimizer = Adam(0.01)
    losses = []
    for _ in range(60):
        prediction, backprop = model.begin_update(docs)
        loss, d_prediction = model.attrs["loss"](model.ops, docs, prediction)
        backprop(d_prediction)
        model.finish_update(optimizer)
        losses.append(loss / max(1, len(prediction[0].positions)))
    assert numpy.mean(losses[-10:]) < 0.8 * numpy.mean(losses[:5])


def test_empty_vocab_and_empty_docs_train(monkeypatch):
    vocab = Vocab()
    docs = [Doc(vocab), Doc(vocab, words=["a", "b"] * 50)]
    model = objective(docs, build_pretrain_characters_v1(1, 8, 1))
    assert make_update(model, docs, Adam(0.01), model.attrs["loss"]) > 0
    # Nothing to predict: no tokens, or none chosen.
    for batch in ([docs[0]], [Doc(vocab, words=["a"])]):
        monkeypatch.setattr(masking.numpy.random, "random", lambda n: numpy.ones(n))
        assert make_update(model, batch, Adam(0.01), model.attrs["loss"]) == 0.0


@pytest.mark.parametrize("setting", ["maxout_pieces", "hidden_size", "n_characters"])
def test_setting_below_one_is_named(setting):
    settings = {"maxout_pieces": 2, "hidden_size": 8, "n_characters": 4, setting: 0}
    with pytest.raises(ValueError, match=f"PretrainCharacters.v1: {setting} is 0"):
        build_pretrain_characters_v1(**settings)
