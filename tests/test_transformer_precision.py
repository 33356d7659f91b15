"""Transformers that predict with fewer bits, and those that learn by adapters."""

import numpy
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.util import load_model_from_config

torch = pytest.importorskip(
    "torch", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)

from .helpers.tiny_pipelines import train  # noqa: E402
from .helpers.transformer_pipelines import (  # noqa: E402
    assert_same_vectors,
    changed,
    make,
    ours,
    shim_of,
    vectors,
    weights,
)

LORA = 'lora = {"r": 2, "target_modules": ["query", "value"]}'


def precision(name):
    return f'inference_precision = "{name}"'


def cosines(some, others):
    """Of the vectors of each token that has wordpieces."""
    a, b = numpy.concatenate(some), numpy.concatenate(others)
    lengths = numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1)
    return (a * b).sum(axis=1)[lengths > 0] / lengths[lengths > 0]


def override(name, value):
    return {"config": {f"components.transformer.model.{name}": value}}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5), st.integers(1, 40), st.floats(1e-6, 1e6))
def test_bytes_are_within_half_a_step(n, width, size):
    from spacy_embedkit.transformer.precision import quantise_rows

    X = torch.from_numpy(numpy.random.default_rng(n).normal(size=(n, width))).float()
    X = X * size
    rows, scales = quantise_rows(X)
    assert rows.dtype == torch.int8
    assert ((rows * scales - X).abs() <= scales * 0.501).all()


def test_bytes_of_zeros_are_zeros():
    from spacy_embedkit.transformer.precision import quantise_rows

    rows, _ = quantise_rows(torch.zeros(2, 3))
    assert not rows.any()


@pytest.mark.parametrize("shape", [(7, 24), (2, 3, 24), (1, 24), (0, 24), (600, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_product_of_bytes_is_near_that_of_floats(shape, bias):
    from spacy_embedkit.transformer.precision import Int8Linear

    torch.manual_seed(0)
    linear = torch.nn.Linear(24, 10, bias=bias)
    # One large value costs its own row alone.
    X = torch.randn(shape)
    X.reshape(-1, 24)[:1, 0] = 1000.0
    found, expected = Int8Linear(linear)(X), linear(X)
    assert found.shape == expected.shape
    rest = (found - expected).reshape(-1, 10)[1:]
    assert not len(rest) or rest.abs().max() < 0.05


@pytest.mark.parametrize(("name", "min_cosine"), [("bfloat16", 0.999), ("int8", 0.99)])
def test_vectors_are_near_those_of_floats(name, min_cosine):
    exact, _ = make(ours())
    less, _ = make(ours(precision(name)))
    found, expected = vectors(less), vectors(exact)
    assert all(array.dtype == "float32" for array in found)
    similar = cosines(found, expected)
    assert min_cosine < similar.min() < 0.9999999


@pytest.mark.parametrize("name", ["bfloat16", "int8"])
def test_training_is_exact_and_predictions_follow_it(name):
    exact, examples = make(ours())
    less, _ = make(ours(precision(name)))
    before = vectors(less)
    losses = train(exact, examples)
    assert train(less, examples) == losses
    assert not changed(weights(exact), weights(less))
    assert cosines(vectors(less), vectors(exact)).min() > 0.99
    assert cosines(vectors(less), before).min() < 0.99


def test_saved_pipeline_can_be_loaded_with_another_precision(tmp_path):
    exact, _ = make(ours())
    exact.to_disk(tmp_path / "exact")
    less = spacy.load(tmp_path / "exact", **override("inference_precision", "int8"))
    less.to_disk(tmp_path / "less")
    again = spacy.load(tmp_path / "less")
    assert_same_vectors(vectors(again), vectors(less))
    assert cosines(vectors(less), vectors(exact)).min() < 0.9999999
    assert not changed(weights(exact), weights(again))


def test_averages_are_predicted_with_while_they_are_used():
    nlp, _ = make(ours(precision("int8")))
    before = vectors(nlp)
    shim = shim_of(nlp)
    other = {
        f"pytorch_{shim.id}_{name}": value.numpy() * 2
        for name, value in weights(nlp).items()
    }
    with nlp.get_pipe("transformer").model.use_params(other):
        assert cosines(vectors(nlp), before).min() < 0.99
    assert_same_vectors(vectors(nlp), before)


def test_layers_that_are_not_linear_cannot_be_bytes():
    from spacy_embedkit.transformer.precision import to_precision

    with pytest.raises(ValueError, match=r"Embedding has no linear layers.*bfloat16"):
        to_precision(torch.nn.Embedding(2, 2), "int8")


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="inference_precision"):
        load_model_from_config(ours(precision("int4")), auto_fill=True)


def test_adapters_alone_learn():
    pytest.importorskip("peft", reason="needs pip install 'spacy-embedkit[lora]'")
    nlp, examples = make(ours(LORA))
    before, predicted = weights(nlp), vectors(nlp)
    train(nlp, examples)
    names = changed(before, weights(nlp))
    assert names == {name for name in before if "lora_" in name}
    assert cosines(vectors(nlp), predicted).min() < 0.9999


def test_adapters_of_lower_layers_stay_where_only_the_top_learns():
    pytest.importorskip("peft", reason="needs pip install 'spacy-embedkit[lora]'")
    nlp, examples = make(ours(f"{LORA}\ntrained_layers = 1"))
    before = weights(nlp)
    train(nlp, examples)
    names = changed(before, weights(nlp))
    assert names == {name for name in before if "layer.2" in name and "lora_" in name}


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_adapters_are_part_of_what_predicts_and_is_saved(name, tmp_path):
    pytest.importorskip("peft", reason="needs pip install 'spacy-embedkit[lora]'")
    nlp, examples = make(ours(f"{LORA}\n{precision(name)}"))
    train(nlp, examples)
    transformer = nlp.get_pipe("transformer").model.transformer
    predicting = shim_of(nlp).inference_model
    assert predicting is not transformer
    assert not any("lora_" in key for key in predicting.state_dict())
    pieces = {"input_ids": torch.arange(7, 19).reshape(2, 6)}
    with torch.no_grad():
        exact = transformer.eval()(**pieces).last_hidden_state
        found = predicting(**pieces).last_hidden_state
    torch.testing.assert_close(
        found, exact, atol=1e-5 if name == "float32" else 1, rtol=0
    )
    nlp.to_disk(tmp_path)
    assert_same_vectors(vectors(spacy.load(tmp_path)), vectors(nlp))


def test_saved_adapters_need_the_setting(tmp_path):
    pytest.importorskip("peft", reason="needs pip install 'spacy-embedkit[lora]'")
    nlp, _ = make(ours(LORA))
    nlp.to_disk(tmp_path)
    with pytest.raises(ValueError, match="saved with adapters"):
        spacy.load(tmp_path, **override("lora", None))


def test_wrong_settings_of_adapters_are_named():
    pytest.importorskip("peft", reason="needs pip install 'spacy-embedkit[lora]'")
    for wrong in ('{"rank": 2}', '{"target_modules": ["nothing"]}'):
        with pytest.raises(ValueError, match="peft does not take for BertModel"):
            make(ours(f"lora = {wrong}"))
