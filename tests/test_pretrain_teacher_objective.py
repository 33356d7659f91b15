"""The registered objective: gradient, settings, masks, and training by stock."""

from functools import partial

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.training.pretrain import make_update
from thinc.api import Adam, NumpyOps, fix_random_seed

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.masked_model import Prediction
from spacy_embedkit.pretraining.masking import TokenMasking
from spacy_embedkit.pretraining.transformer_objective import (
    build_pretrain_transformer_v1,
    teacher_loss,
)

pytest.importorskip("torch", reason="needs the extra transformers")
pytest.importorskip("transformers", reason="needs the extra transformers")

from .helpers.embeds import build_tok2vec
from .helpers.pretraining_runs import make_config, run, sample_texts, write_jsonl
from .helpers.tiny_bert import make_bert

TEXTS = [
    "the cat sat on the mat.",
    "",
    "東 the 東 dog",
    "東",
    "  \n\n",
    "a b c d. " * 30,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def docs():
    nlp = spacy.blank("en")
    return [nlp.make_doc(text) for text in TEXTS]


def objective(docs, transformer, **settings):
    fix_random_seed(0)
    create = build_pretrain_transformer_v1(
        transformer, maxout_pieces=2, hidden_size=12, **settings
    )
    tok2vec = build_tok2vec().initialize(X=docs)
    return create(docs[0].vocab, tok2vec).initialize(X=docs)


def prediction_of(rows, positions, n_tokens):
    return Prediction(rows, numpy.asarray(positions, dtype="i"), n_tokens)


# The loss


@pytest.mark.parametrize("loss", ["L2", "cosine"])
def test_gradient_matches_differences(loss):
    rng = numpy.random.default_rng(0)
    targets = rng.normal(size=(6, 5)).astype("f")
    targets[2] = numpy.nan
    guess = rng.normal(size=(4, 5)).astype("f")

    def run(guess):
        chosen = prediction_of(guess, [0, 2, 3, 5], 6)
        return teacher_loss(
            NumpyOps(), [], chosen, targets=lambda docs: targets, loss=loss
        )

    _, gradient = run(guess)
    assert not gradient[1].any()
    for i in range(4):
        for j in range(5):
            step = numpy.zeros_like(guess)
            step[i, j] = 1e-2
            slope = (run(guess + step)[0] - run(guess - step)[0]) / 2e-2
            assert_allclose(gradient[i, j] * 6, slope, atol=2e-3)


def test_losses_are_as_documented():
    targets = numpy.asarray([[3, 4], [numpy.nan] * 2, [0, 2]], "f")
    guess = numpy.asarray([[0, 0], [9, 9], [2, 0]], "f")
    run = partial(
        teacher_loss,
        NumpyOps(),
        [],
        prediction_of(guess, [0, 1, 2], 3),
        targets=lambda docs: targets,
    )
    assert_allclose(run(loss="L2")[0], (9 + 16) / 2 + (4 + 4) / 2)
    assert_allclose(run(loss="cosine")[0], 2)


@pytest.mark.parametrize("loss", ["L2", "cosine"])
def test_zeros_and_no_tokens_give_finite_losses(loss):
    zeros = numpy.zeros((2, 3), "f")
    for targets in (zeros, zeros + 1):
        run = partial(teacher_loss, NumpyOps(), [], targets=lambda docs: targets)  # noqa: B023
        value, gradient = run(prediction_of(zeros, [0, 1], 2), loss=loss)
        assert numpy.isfinite(value)
        assert numpy.isfinite(gradient).all()
    value, gradient = run(prediction_of(zeros[:0], [], 2), loss=loss)
    assert (value, gradient.shape) == (0, (0, 3))


# The objective


@pytest.mark.parametrize(
    ("settings", "width"),
    [
        ({}, 16),
        ({"loss": "cosine"}, 16),
        ({"targets": "pca", "width": 3}, 3),
        ({"targets": "pca", "whiten": True}, 16),
        ({"masking": TokenMasking(0.5), "tokens": "masked"}, 16),
        ({"masking": TokenMasking(0.5)}, 16),
        ({"layers": [0], "window": 8}, 16),
    ],
)
@pytest.mark.parametrize("is_prepared", [True, False])
def test_training_lowers_the_loss(docs, folder, settings, width, is_prepared):
    model = objective(docs, folder, **settings)
    if is_prepared:
        model.attrs["prepare"](iter(docs))
    optimizer = Adam(0.02)
    losses = []
    for _ in range(30):
        losses.append(make_update(model, docs, optimizer, model.attrs["loss"]))
    [prediction] = model.predict(docs)
    assert prediction.data.shape[1] == width
    assert numpy.mean(losses[-5:]) < 0.9 * numpy.mean(losses[:5])


def test_prediction_of_zeros_has_a_loss_of_one_a_known_token(docs, folder):
    model = objective(docs, folder)
    model.attrs["prepare"](docs)
    predictions = model.predict(docs)
    loss, _ = model.attrs["loss"](model.ops, docs, predictions)
    unknown = {"東", "  \n\n"}
    n_known = sum(token.text not in unknown for doc in docs for token in doc)
    assert not predictions[0].data.any()
    assert_allclose(loss, n_known, rtol=1e-3)


def test_cosine_starts_from_predictions_that_have_a_direction(docs, folder):
    [prediction] = objective(docs, folder, loss="cosine").predict(docs)
    assert numpy.linalg.norm(prediction.data, axis=1).min() > 0.01


def test_teacher_sees_the_text_without_masks(docs, folder):
    """The targets of masked tokens are those of the text as it is."""
    plain = objective(docs, folder)
    masked = objective(docs, folder, masking=TokenMasking(1.0, 1.0, 0.0))
    gradients = [
        model.attrs["loss"](model.ops, docs, model.predict(docs))[1][0]
        for model in (plain, masked)
    ]
    assert_allclose(*gradients)


@pytest.mark.parametrize("texts", [["東 東"], [""], ["", "\n"]])
def test_batch_without_targets_changes_no_weights(folder, texts):
    nlp = spacy.blank("en")
    docs = [nlp.make_doc(text) for text in texts]
    model = objective([nlp.make_doc("the cat")], folder)
    before = model.layers[1].to_bytes()
    assert make_update(model, docs, Adam(0.1), model.attrs["loss"]) == 0
    assert model.layers[1].to_bytes() == before


def test_cache_serves_another_run_without_the_transformer(docs, folder, tmp_path):
    settings = {"cache_dir": str(tmp_path / "cache")}
    first = objective(docs, folder, **settings)
    first.attrs["prepare"](docs)
    assert len(first.attrs["heads"][0].loss.keywords["targets"].store) == 5
    wanted = first.attrs["loss"](first.ops, docs, first.predict(docs))
    again = objective(docs, folder, **settings)
    again.attrs["prepare"](docs)
    found = again.attrs["loss"](again.ops, docs, again.predict(docs))
    assert found[0] == wanted[0]
    targets = again.attrs["heads"][0].loss.keywords["targets"]
    assert "model" not in vars(targets.teacher)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden_size": 0}, "hidden_size is 0, but 1 or more"),
        ({"maxout_pieces": 0}, "maxout_pieces is 0"),
        ({"batch_pieces": 0}, "batch_pieces is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"layers": []}, r"layers is \[\], but one or more different"),
        ({"layers": [1, 1]}, r"layers is \[1, 1\]"),
        ({"width": 0, "targets": "pca"}, "width is 0"),
        ({"width": 3}, 'width and whiten are for targets = "pca"'),
        ({"whiten": True}, 'but it is "standardised"'),
        ({"window": 7}, "window is 7, but it has to be 8 to 512"),
        ({"window": 513}, "window is 513"),
        ({"max_cache_gb": 0}, "max_cache_gb is 0, but it has to be above 0"),
        ({"tokens": "masked"}, 'tokens is "masked", but there is no masking'),
    ],
)
def test_impossible_settings_are_named_without_the_transformer(settings, words):
    chosen = {"maxout_pieces": 2, "hidden_size": 3, **settings}
    with pytest.raises(ValueError, match=r"PretrainTransformer\.v1: .*" + words):
        build_pretrain_transformer_v1("./nothing", **chosen)


def test_missing_folder_and_too_many_components_are_named(docs, folder):
    with pytest.raises(InputError, match="no such folder"):
        objective(docs, "./nothing")
    with pytest.raises(InputError, match=r"width is 17, but .* is 16 wide"):
        objective(docs, folder, targets="pca", width=17)


def test_checkpoint_of_another_rule_of_windows_is_refused(
    folder, tmp_path, monkeypatch
):
    corpus = write_jsonl(tmp_path / "raw.jsonl", sample_texts())
    block = {
        "@architectures": "spacy-embedkit.PretrainTransformer.v1",
        "transformer": str(folder),
        "maxout_pieces": 2,
        "hidden_size": 8,
    }
    config = make_config(corpus, pretraining__objective=block)
    run(config, tmp_path / "out")
    monkeypatch.setattr("spacy_embedkit.pretraining.run.run_settings.RULE", 1)
    with pytest.raises(InputError, match="rule that cuts docs for a teacher was 2"):
        run(config, tmp_path / "out", resume=True)
