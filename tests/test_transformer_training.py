"""What TransformerModel.v1 and TransformerListener.v1 learn, and what stays."""

import gc
from copy import deepcopy

import numpy
import pytest
from thinc.api import SGD, Config

torch = pytest.importorskip(
    "torch", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)

from .helpers.tiny_bert import make_bert  # noqa: E402
from .helpers.tiny_pipelines import train  # noqa: E402
from .helpers.transformer_pipelines import (  # noqa: E402
    FREEZE,
    MODEL,
    SCHEDULE,
    STOCK_LISTENER,
    STOCK_MODEL,
    TEXTS,
    THAW,
    changed,
    make,
    ours,
    replace,
    shim_of,
    stock,
    vectors,
    weights,
)


def test_learns_what_stock_learns() -> None:
    some, others = (
        train(*make(config)) for config in (ours("batch_pieces = 16"), stock())
    )
    for one, other in zip(some, others, strict=True):
        assert one["tagger"] == pytest.approx(other["tagger"], rel=1e-3)
        assert one["transformer"] == pytest.approx(other["transformer"], rel=1e-2)


@pytest.mark.parametrize(
    "settings", [{"model": "trained_layers = 0"}, {"listener": "grad_factor = 0.0"}]
)
def test_frozen_transformer_keeps_every_bit(settings) -> None:
    nlp, examples = make(ours(**settings))
    before = weights(nlp)
    losses = train(nlp, examples, 100)
    assert not changed(before, weights(nlp))
    assert losses[-1]["tagger"] < losses[0]["tagger"]


def test_frozen_transformer_drops_nothing_out(tmp_path) -> None:
    name = make_bert(tmp_path / "bert", hidden_dropout_prob=0.5)
    outputs = []
    for model in ("trained_layers = 0", ""):
        config = ours(model)
        config["components"]["transformer"]["model"]["name"] = name
        nlp, _ = make(config)
        docs = [nlp.make_doc(text) for text in TEXTS]
        node = nlp.get_pipe("transformer").model
        predicted = node.predict(docs).model_output.last_hidden_state
        learned = node(docs, True)[0].model_output.last_hidden_state
        outputs.append(torch.equal(learned, predicted))
    assert outputs == [True, False]


def test_only_the_trained_layers_learn() -> None:
    nlp, examples = make(ours("trained_layers = 1"))
    before = weights(nlp)
    train(nlp, examples)
    names = changed(before, weights(nlp))
    assert names
    assert all(name.startswith("encoder.layer.2.") for name in names)


def test_layers_thaw_from_the_top() -> None:
    config = Config().from_str(ours().to_str() + SCHEDULE)
    nlp, examples = make(config)
    optimizer = nlp.create_optimizer()
    found = []
    for _ in range(6):
        before = weights(nlp)
        train(nlp, examples, 1, optimizer)
        names = changed(before, weights(nlp))
        found.append(sorted({n.split(".")[2] for n in names if ".layer." in n}))
        is_embedded = any(name.startswith("embeddings") for name in names)
    assert found == [[], [], ["2"], ["1", "2"], ["0", "1", "2"], ["0", "1", "2"]]
    assert is_embedded


def test_hidden_layers_below_the_trained_ones_stay() -> None:
    nlp, examples = make(ours("trained_layers = 1", 'layers = "mix"'))
    before = weights(nlp)
    train(nlp, examples)
    names = changed(before, weights(nlp))
    assert names
    assert all(name.startswith("encoder.layer.2.") for name in names)


def test_lower_layers_learn_slower() -> None:
    steps = []
    for decay in (1.0, 0.5):
        nlp, examples = make(ours(f"layer_decay = {decay}"))
        optimizer = SGD(0.1, L2=0.0, grad_clip=0.0, use_averages=False)
        nlp.update(examples, sgd=optimizer)
        before = weights(nlp)
        train(nlp, examples, 1, optimizer)
        after = weights(nlp)
        steps.append({name: (after[name] - before[name]).abs().sum() for name in after})
    for name, share in {
        "encoder.layer.2.output.dense.weight": 1.0,
        "encoder.layer.1.output.dense.weight": 0.5,
        "encoder.layer.0.output.dense.weight": 0.25,
        "embeddings.word_embeddings.weight": 0.125,
    }.items():
        assert float(steps[1][name] / steps[0][name]) == pytest.approx(share, rel=0.1)


def test_learn_rate_factor_slows_the_whole_transformer_alone() -> None:
    steps = []
    for factor in (1.0, 0.25):
        nlp, examples = make(ours(f"learn_rate_factor = {factor}"))
        optimizer = SGD(0.1, L2=0.0, grad_clip=0.0, use_averages=False)
        nlp.update(examples, sgd=optimizer)
        before, output = weights(nlp), nlp.get_pipe("tagger").model.get_ref("softmax")
        start = output.get_param("W").copy()
        train(nlp, examples, 1, optimizer)
        after = weights(nlp)
        found = {name: (after[name] - before[name]).abs().sum() for name in after}
        steps.append(found | {"tagger": abs(output.get_param("W") - start).sum()})
    for name, share in {
        "encoder.layer.2.output.dense.weight": 0.25,
        "encoder.layer.0.output.dense.weight": 0.25,
        "embeddings.word_embeddings.weight": 0.25,
        "tagger": 1.0,
    }.items():
        assert float(steps[1][name] / steps[0][name]) == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(THAW, [False, False, True, True]), (FREEZE, [True, True, False, False])],
)
def test_factor_may_be_a_schedule(factor, expected) -> None:
    nlp, examples = make(Config().from_str(ours().to_str() + factor))
    # Gradients reach the transformer where the weights after it are not zero.
    for node in nlp.get_pipe("tagger").model.walk():
        if node.has_param("W"):
            W = node.get_param("W")
            node.set_param(
                "W", numpy.linspace(0, 1, W.size, dtype="f").reshape(W.shape)
            )
    optimizer = nlp.create_optimizer()
    found = []
    for _ in range(4):
        before = weights(nlp)
        # Two batches an update: the schedule counts updates.
        nlp.update(examples[:3], sgd=False)
        train(nlp, examples[3:], 1, optimizer)
        found.append(bool(changed(before, weights(nlp))))
    assert found == expected


@pytest.mark.parametrize("layers", ['"mix"', "[0, 2]", "[-1]"])
def test_layers_are_learned_from(layers) -> None:
    nlp, examples = make(ours(listener=f"layers = {layers}"))
    before = weights(nlp)
    losses = train(nlp, examples, 20)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    names = changed(before, weights(nlp))
    assert any(name.startswith("embeddings.word") for name in names)
    is_used = any(name.startswith("encoder.layer.2.") for name in names)
    assert is_used is (layers != "[0, 2]")


@pytest.mark.parametrize("layers", ['"mix"', "[0, 2]"])
def test_gradients_of_hidden_layers(layers) -> None:
    nlp, _ = make(ours(listener=f"layers = {layers}\ngrad_factor = 0.5"))
    docs = [nlp.make_doc(text) for text in TEXTS]
    model = nlp.get_pipe("transformer").model
    tokens = nlp.get_pipe("tagger").model.get_ref("tok2vec").layers[1]
    embeddings = model.transformer.embeddings.word_embeddings.weight
    tokens.predict(model.predict(docs).doc_data)
    if tokens.has_param("layer_weights"):
        tokens.set_param("layer_weights", numpy.asarray([0.3, -0.2, 0.5, 0], "f"))
        tokens.set_param("scale", numpy.asarray([1.5], "f"))

    def forward():
        full, backprop = model.begin_update(docs)
        outputs, back = tokens.begin_update(full.doc_data)
        return full, backprop, outputs, back

    full, backprop, outputs, back = forward()
    rng = numpy.random.default_rng(0)
    direction = [rng.normal(size=output.shape).astype("f") for output in outputs]
    datas = back([d.copy() for d in direction])
    backprop(full.unsplit_by_doc([data.tensors for data in datas]))
    piece = int(full.wordpieces.input_ids[0, 1])

    def slope(values, place):
        """Change of the output in the direction, by differences."""
        ends = []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                values[place] += step
            pairs = zip(forward()[2], direction, strict=True)
            ends.append(sum(float((a * b).sum()) for a, b in pairs))
            with torch.no_grad():
                values[place] -= step
        return (ends[0] - ends[1]) / 2e-2

    for place in ((piece, 0), (piece, 5)):
        expected = pytest.approx(0.5 * slope(embeddings, place), rel=0.05, abs=0.05)
        assert float(embeddings.grad[place]) == expected
    for name in tokens.param_names if tokens.has_param("scale") else ():
        # The factor is for the transformer alone.
        expected = pytest.approx(slope(tokens.get_param(name), 0), rel=0.05, abs=0.05)
        assert float(tokens.get_grad(name)[0]) == expected


def test_gradients_of_hidden_layers_add_up_and_are_used_once() -> None:
    nlp, _ = make(ours())
    docs = [nlp.make_doc(text) for text in TEXTS[:2]]
    batch = nlp.get_pipe("transformer").model.predict(docs)
    last = [data.model_output.last_hidden_state for data in batch.doc_data]
    ones = numpy.ones_like(last[0])
    # The second doc has none.
    for _ in range(2):
        batch.doc_data[0].add_gradient(1, ones)
    whole = batch.unsplit_by_doc([[rows] for rows in last])
    found = whole.model_output["hidden_gradients"][1].numpy()
    assert found.shape == batch.model_output.last_hidden_state.shape
    assert (found[: len(ones)] == 2).all()
    assert not found[len(ones) :].any()
    again = batch.unsplit_by_doc([[rows] for rows in last])
    assert "hidden_gradients" not in again.model_output


def test_two_listeners_one_of_them_stock() -> None:
    config = ours(listener='layers = "mix"')
    components = config["components"]
    components["other"] = deepcopy(components["tagger"])
    components["other"]["model"]["tok2vec"] = {
        "@architectures": STOCK_LISTENER,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    config["nlp"]["pipeline"] = ["transformer", "tagger", "other"]
    nlp, examples = make(config)
    losses = train(nlp, examples, 20)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    assert losses[-1]["other"] < losses[0]["other"]


def test_hidden_layers_of_stock_cannot_learn() -> None:
    config = ours(listener="layers = [0, 1]")
    replace(config, MODEL, STOCK_MODEL)
    nlp, examples = make(config)
    with pytest.raises(ValueError, match=r"need a transformer.*TransformerModel\.v1"):
        train(nlp, examples, 1)


@pytest.mark.parametrize("kind", ["mean", "sum", "max", "first", "last", "attention"])
def test_pooling_takes_tokens_without_wordpieces(kind) -> None:
    config = ours()
    block = config["components"]["tagger"]["model"]["tok2vec"]
    block["pooling"] = {"@layers": f"spacy-embedkit.reduce_{kind}.v1"}
    nlp, examples = make(config)
    losses = train(nlp, examples, 20)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    rows = vectors(nlp)[1]
    assert [bool(row.any()) for row in rows] == [True, False, True, True]


def test_updates_do_not_leak_tensors() -> None:
    nlp, examples = make(ours())
    train(nlp, examples, steps=2)
    before = count_tensors()
    shim = shim_of(nlp)
    places = {name: gradient.data_ptr() for name, gradient in shim._gradients.items()}
    train(nlp, examples, steps=4)
    assert count_tensors() <= before
    # The memory of gradients is used again.
    assert places
    for name, gradient in shim._gradients.items():
        assert gradient.data_ptr() == places[name]


def count_tensors() -> int:
    """Tensors that this process holds on to."""
    gc.collect()
    return sum(isinstance(found, torch.Tensor) for found in gc.get_objects())
