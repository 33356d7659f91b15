"""The subwords objective: bits of words, loss, gradient, learning."""

import numpy
import pytest
from numpy.testing import assert_allclose
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Adam, NumpyOps, fix_random_seed

from spacy_embedkit.pretraining.masked_model import Prediction
from spacy_embedkit.pretraining.objectives import build_pretrain_subwords_v1
from spacy_embedkit.pretraining.subwords import (
    DENSITY,
    MAX_CHARACTERS,
    SubwordBits,
    bit_scores,
    subwords_loss,
)

from .helpers.embeds import build_tok2vec
from .helpers.gradients import assert_gradient

BITS = SubwordBits(64, 2, 3, 2, 3)


def bits_of(words, bits=BITS):
    vocab = Vocab()
    keys = numpy.asarray([vocab.strings.add(word) for word in words], dtype="uint64")
    return bits(vocab, keys)


def prediction_of(docs, n_bits=64, seed=0):
    n_tokens = sum(map(len, docs))
    positions = numpy.arange(0, n_tokens, 2, dtype="i")
    random = numpy.random.default_rng(seed)
    return Prediction(random.normal(size=(len(positions), n_bits)), positions, n_tokens)


@pytest.fixture
def docs():
    vocab = Vocab()
    return [Doc(vocab, words=words.split()) for words in ("the cat the é", "", "a 🙂")]


@pytest.mark.parametrize("words", [[], ["cat"], ["", "a", "東京", "cat", "cat"]])
def test_bits_are_those_of_the_word_alone(words):
    bits = bits_of(words)
    assert bits.shape == (len(words), 64)
    assert set(numpy.unique(bits)) <= {0.0, 1.0}
    for word, row in zip(words, bits, strict=True):
        assert_allclose(row, bits_of([word])[0])
        assert row.any()


def test_words_of_the_same_parts_share_bits():
    wide = SubwordBits(4096, 3, 5, 2, 4)
    walked, walking, other = bits_of(["walked", "walking", "xyzzyq"], wide)
    # 6 + 5 + 4 n-grams of "<walked>".
    assert walked.sum() <= 15 * 2 + 4
    assert walked @ walking > 10 > walked @ other


def test_words_without_n_grams_share_nothing():
    walked, walking = bits_of(["walked", "walking"], SubwordBits(4096, 3, 5, 0, 4))
    assert walked.sum() == walking.sum() == 4
    assert walked @ walking == 0


def test_word_hashes_tell_words_of_the_same_n_grams_apart():
    alike = ["abababab", "ababababab"]
    same = bits_of(alike, SubwordBits(4096, 2, 3, 2, 0))
    apart = bits_of(alike, SubwordBits(4096, 2, 3, 2, 4))
    assert_allclose(same[0], same[1])
    assert numpy.abs(apart[0] - apart[1]).sum() >= 6


def test_words_that_share_a_bit_do_not_share_all():
    rows = bits_of([f"w{i}" for i in range(200)], SubwordBits(16, 3, 5, 0, 3))
    assert len(numpy.unique(rows, axis=0)) > 3 * 16


def test_giant_word_sets_the_bits_of_its_beginning():
    start = "abcde" * (MAX_CHARACTERS // 5)
    no_words = SubwordBits(4096, 3, 5, 2, 0)
    short, giant = bits_of([start, start + "xyz" * 10_000], no_words)
    assert_allclose(short, giant)


def test_loss_is_the_cross_entropy_of_the_bits(docs):
    prediction = prediction_of(docs)
    loss, gradient = subwords_loss(NumpyOps(), docs, prediction, bits=BITS)
    words = [token.text for doc in docs for token in doc]
    target = bits_of([words[i] for i in prediction.positions])
    chance = 1 / (1 + numpy.exp(-prediction.data))
    each = numpy.where(target == 1, numpy.log(chance), numpy.log(1 - chance))
    assert loss == pytest.approx(-each.sum(), rel=1e-5)
    assert gradient.shape == prediction.data.shape


def test_loss_gradient_matches_differences(docs):
    prediction = prediction_of(docs)
    _, gradient = subwords_loss(NumpyOps(), docs, prediction, bits=BITS)
    direction = numpy.random.default_rng(1).normal(size=gradient.shape)
    losses = []
    for eps in (1e-4, -1e-4):
        moved = prediction_of(docs)
        moved.data += eps * direction
        losses.append(subwords_loss(NumpyOps(), docs, moved, bits=BITS)[0])
    slope = (losses[0] - losses[1]) / 2e-4 / prediction.n_tokens
    assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_loss_of_large_scores_is_finite(docs, sign):
    prediction = prediction_of(docs)
    prediction.data[:] = sign * 1000
    prediction.data = prediction.data.astype("f")
    with numpy.errstate(over="raise", invalid="raise"):
        loss, gradient = subwords_loss(NumpyOps(), docs, prediction, bits=BITS)
    assert numpy.isfinite(loss)
    assert numpy.isfinite(gradient).all()


@pytest.mark.parametrize("n_rows", [1, 5])
def test_scores_gradient_matches_differences(n_rows):
    X = numpy.random.default_rng(0).normal(size=(n_rows, 4))
    model = bit_scores(6, 4).initialize()
    model.set_param("W", numpy.random.default_rng(1).normal(size=(6, 4)))
    assert_gradient(model, X)


def test_bits_start_at_their_usual_chance():
    model = bit_scores(3, 2).initialize()
    Y = model.predict(numpy.ones((4, 2), dtype="f"))
    assert 1 / (1 + numpy.exp(-Y)) == pytest.approx(numpy.full((4, 3), DENSITY))


def objective(docs, **settings):
    fix_random_seed(0)
    create = build_pretrain_subwords_v1(2, 12, n_bits=128, **settings)
    return create(docs[0].vocab, build_tok2vec()).initialize(X=docs)


def learn(model, docs, n_steps=40):
    optimizer, losses = Adam(0.01), []
    for _ in range(n_steps):
        predictions, backprop = model.begin_update(docs)
        loss, gradients = model.attrs["loss"](model.ops, docs, predictions)
        backprop(gradients)
        model.finish_update(optimizer)
        losses.append(loss / max(1, len(predictions[0].positions)))
    return losses


def test_updates_lower_the_loss_and_the_seed_reproduces_them():
    docs = [Doc(Vocab(), words=["the", "cat", "sat", "on", "a", "mat"] * 10)]
    first, second = (learn(objective(docs), docs) for _ in range(2))
    assert first == second
    assert numpy.mean(first[-5:]) < 0.8 * numpy.mean(first[:5])


@pytest.mark.parametrize("words", [[[]], [["a"]], [[], ["a"], []]])
def test_few_words_are_learned_from(words):
    vocab = Vocab()
    docs = [Doc(vocab, words=each) for each in words]
    sample = [Doc(vocab, words=["x"])]
    model = objective(sample)
    losses = learn(model, docs, 20)
    assert numpy.isfinite(losses).all()


def test_objective_has_one_head_of_the_width_that_was_asked_for():
    docs = [Doc(Vocab(), words=["a", "b"] * 30)]
    model = objective(docs, min_n=1, max_n=2, n_hashes=1, word_hashes=0)
    (head,) = model.attrs["heads"]
    (prediction,) = model.predict(docs)
    assert (head.name, head.tokens) == ("subwords", "masked")
    assert prediction.data.shape == (len(prediction.positions), 128)
    assert model.get_ref("output_layer").name == head.output_layer.name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"maxout_pieces": 0}, "maxout_pieces is 0"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"n_bits": 0}, "n_bits is 0"),
        ({"min_n": 0}, "min_n is 0"),
        ({"min_n": 4, "max_n": 3}, "min_n is 4 and max_n is 3"),
        ({"n_hashes": 0, "word_hashes": 0}, "word_hashes, without n-grams, is 0"),
        ({"n_hashes": -1}, "n_hashes is -1"),
        ({"n_hashes": 9}, "n_hashes is 9"),
        ({"word_hashes": -1}, "word_hashes is -1"),
    ],
)
def test_setting_outside_is_named(settings, message):
    settings = {"maxout_pieces": 2, "hidden_size": 8, **settings}
    with pytest.raises(ValueError, match=f"^PretrainSubwords.v1: {message}"):
        build_pretrain_subwords_v1(**settings)
