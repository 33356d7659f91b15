"""Several objectives on one encoding, and all of ours in `spacy pretrain`."""

from functools import partial

import numpy
import pytest
from numpy.testing import assert_allclose
from spacy.ml.models.multi_task import create_pretrain_characters
from spacy.tokens import Doc
from spacy.training.pretrain import make_update, pretrain
from spacy.util import load_model_from_config
from spacy.vocab import Vocab
from thinc.api import Adam, Config, Linear, Model, fix_random_seed

from spacy_embedkit.pretraining.masked_model import Head, masked_language_model
from spacy_embedkit.pretraining.masking import TokenMasking
from spacy_embedkit.pretraining.multi import build_pretrain_multi_v1
from spacy_embedkit.pretraining.objectives import (
    build_pretrain_characters_v1,
    build_pretrain_subwords_v1,
)

from .helpers.embeds import build_tok2vec
from .helpers.pretraining_runs import (
    OUR_TOK2VEC,
    make_config,
    sample_texts,
    write_jsonl,
)

CHARACTERS = build_pretrain_characters_v1(1, 8, 2)
SUBWORDS = build_pretrain_subwords_v1(1, 8, n_bits=32)


def lengths_of(vocab, tok2vec, prepare=None):
    """An objective over all tokens: the length of the word."""

    def loss(ops, docs, prediction):
        lengths = ops.asarray([[len(token)] for doc in docs for token in doc])
        diff = prediction.data - lengths[prediction.positions]
        return float((diff**2).sum()), (2 * diff / prediction.n_tokens).astype("f")

    layer = Linear(nO=1, nI=16)
    model = masked_language_model(tok2vec, [Head("n", layer, loss, tokens="all")], None)
    if prepare is not None:
        model.attrs["prepare"] = prepare
    return model


@pytest.fixture
def docs():
    vocab = Vocab()
    return [Doc(vocab, words=["the", "cat", "sat"] * 20), Doc(vocab), Doc(vocab, ["x"])]


def build(docs, create):
    """An initialized model; equal encoders for all objectives."""
    fix_random_seed(0)
    tok2vec = build_tok2vec().initialize(X=docs)
    fix_random_seed(1)
    return create(docs[0].vocab, tok2vec).initialize(X=docs)


def gradients(model, docs, masking=None):
    """Loss of an update, and the gradients of the encoder."""
    if masking is not None:
        model.attrs["masking"] = masking
    fix_random_seed(2)
    predictions, backprop = model.begin_update(docs)
    loss, d_predictions = model.attrs["loss"](model.ops, docs, predictions)
    backprop(d_predictions)
    nodes = model.get_ref("tok2vec").walk()
    return loss, [node.get_grad(name) for node in nodes for name in node.grad_names]


def copy_heads(source, target):
    for node, other in zip(source.walk(), target.walk(), strict=True):
        for name in node.param_names:
            other.set_param(name, node.get_param(name).copy())


def test_gradient_is_the_weighted_sum_of_the_objectives(docs):
    parts = {"chars": CHARACTERS, "all": lengths_of, "subs": SUBWORDS}
    weights = {"chars": 2.0, "subs": 0.5}
    multi = build(docs, build_pretrain_multi_v1(parts, weights))
    masking = TokenMasking(0.3)
    loss, given = gradients(multi, docs, masking)
    losses, expected = 0.0, None
    for i, (key, create) in enumerate(parts.items()):
        single = build(docs, create)
        copy_heads(multi.layers[1 + i], single.layers[1])
        value, grads = gradients(single, docs, masking)
        weight = weights.get(key, 1.0)
        losses += weight * value
        scaled = [weight * grad for grad in grads]
        sums = zip(expected or [0.0] * len(scaled), scaled, strict=True)
        expected = [a + b for a, b in sums]
    assert loss == pytest.approx(losses, rel=1e-4)
    assert len(given) == len(expected) > 0
    for grad, grad2 in zip(given, expected, strict=True):
        assert_allclose(grad, grad2, rtol=1e-3, atol=1e-5)


def test_losses_are_reported_by_head_and_unweighted(docs):
    parts = {"a": CHARACTERS, "b": SUBWORDS, "c": lengths_of}
    model = build(docs, build_pretrain_multi_v1(parts, {"b": 3.0}))
    total, _ = gradients(model, docs)
    losses = model.attrs["losses"].take()
    assert list(losses) == ["a.characters", "b.subwords", "c.n"]
    (a, n_a), (b, n_b), (c, n_c) = losses.values()
    assert total == pytest.approx(a + 3 * b + c, rel=1e-5)
    assert (n_a, n_c) == (n_b, 61)
    assert 0 < n_a < 61


def test_encoder_runs_once_on_masked_docs(docs, monkeypatch):
    parts = {"a": CHARACTERS, "b": SUBWORDS, "c": lengths_of}
    model = build(docs, build_pretrain_multi_v1(parts, masking=TokenMasking(1.0, 1.0)))
    tok2vec, seen = model.get_ref("tok2vec"), []
    stock = tok2vec._func

    def spy(layer, inputs, is_train):
        seen.append([token.text for doc in inputs for token in doc])
        return stock(layer, inputs, is_train)

    monkeypatch.setattr(tok2vec, "_func", spy)
    model.begin_update(docs)
    assert seen == [["[MASK]"] * 61]


def test_multi_of_multi_multiplies_weights(docs):
    inner = build_pretrain_multi_v1({"x": CHARACTERS}, {"x": 2.0})
    model = build(docs, build_pretrain_multi_v1({"y": inner}, {"y": 3.0}))
    (head,) = model.attrs["heads"]
    assert (head.name, head.weight) == ("y.x.characters", 6.0)


def test_updates_lower_every_loss(docs):
    parts = {"chars": CHARACTERS, "all": lengths_of, "subs": SUBWORDS}
    model = build(docs, build_pretrain_multi_v1(parts))
    optimizer, history = Adam(0.01), []
    for _ in range(40):
        make_update(model, docs, optimizer, model.attrs["loss"])
        taken = model.attrs["losses"].take()
        history.append([loss / max(n, 1) for loss, n in taken.values()])
    start, end = numpy.mean(history[:5], axis=0), numpy.mean(history[-5:], axis=0)
    assert (end < 0.9 * start).all()


@pytest.mark.parametrize("empty", [[0], [0, 0]])
def test_empty_docs_leave_all_heads_empty(docs, empty):
    model = build(docs, build_pretrain_multi_v1({"a": CHARACTERS, "b": lengths_of}))
    batch = [Doc(docs[0].vocab) for _ in empty]
    assert make_update(model, batch, Adam(0.01), model.attrs["loss"]) == 0.0


def test_preparation_of_one_objective_is_kept(docs):
    def prepare(docs):
        raise NotImplementedError

    with_one = {"a": CHARACTERS, "b": partial(lengths_of, prepare=prepare)}
    model = build(docs, build_pretrain_multi_v1(with_one))
    assert model.attrs["prepare"] is prepare
    none = build(docs, build_pretrain_multi_v1({"a": CHARACTERS}))
    assert "prepare" not in none.attrs


@pytest.mark.parametrize(
    ("parts", "settings", "message"),
    [
        ({}, {}, "objectives is empty"),
        ({"a": 3}, {}, "objective 'a' is 3, but it has to be a block"),
        ({"a": CHARACTERS}, {"weights": {"b": 1.0}}, "weights has 'b'.*are 'a'"),
        ({"a": CHARACTERS}, {"weights": {"a": 0.0}}, "weight of 'a' is 0.0"),
        ({"a": CHARACTERS}, {"weights": {"a": float("nan")}}, "weight of 'a' is nan"),
        ({"a": CHARACTERS}, {"weights": {"a": float("inf")}}, "weight of 'a' is inf"),
        ({"a": CHARACTERS}, {"masking": None}, "masking is null.*'a' predicts"),
        (
            {"ours": CHARACTERS, "theirs": create_pretrain_characters(1, 8, 2)},
            {},
            "objective 'theirs' made a model 'masked-language-model' without heads",
        ),
        ({"none": lambda vocab, tok2vec: Model("x", None)}, {}, "objective 'none'"),
        (
            {key: partial(lengths_of, prepare=print) for key in "pq"},
            {},
            "objectives 'p', 'q' each need a pass",
        ),
    ],
)
def test_objectives_that_cannot_be_combined_are_named(docs, parts, settings, message):
    with pytest.raises(ValueError, match=f"^PretrainMulti.v1: .*{message}"):
        build(docs, build_pretrain_multi_v1(parts, **settings))


def test_all_tokens_can_be_learned_without_masking(docs):
    model = build(docs, build_pretrain_multi_v1({"a": lengths_of}, masking=None))
    assert make_update(model, docs, Adam(0.01), model.attrs["loss"]) > 0


OBJECTIVES = {
    "subwords": """
[objective]
@architectures = "spacy-embedkit.PretrainSubwords.v1"
maxout_pieces = 1
hidden_size = 8
n_bits = 32

[objective.masking]
@misc = "spacy-embedkit.span_masking.v1"
entities = true
""",
    "multi": """
[objective]
@architectures = "spacy-embedkit.PretrainMulti.v1"
weights = {"bytes": 2.0}

[objective.masking]
@misc = "spacy-embedkit.token_masking.v1"
mask_rate = 0.2

[objective.objectives]

[objective.objectives.bytes]
@architectures = "spacy-embedkit.PretrainCharacters.v1"
maxout_pieces = 1
hidden_size = 8
n_characters = 2

[objective.objectives.parts]
@architectures = "spacy-embedkit.PretrainSubwords.v1"
maxout_pieces = 1
hidden_size = 8
n_bits = 32
""",
}


@pytest.mark.parametrize(("name", "layers"), [("subwords", "stock"), ("multi", "ours")])
def test_spacy_pretrain_runs_the_config(tmp_path, name, layers):
    corpus = write_jsonl(tmp_path / "texts.jsonl", sample_texts(20))
    objective = Config().from_str(OBJECTIVES[name])["objective"]
    settings = {"pretraining__max_epochs": 1, "pretraining__objective": objective}
    if layers == "ours":
        settings["components__tok2vec__model"] = OUR_TOK2VEC
    config = make_config(corpus, **settings)
    pretrain(config.interpolate(), tmp_path)
    saved = (tmp_path / "model-last.bin").read_bytes()
    tok2vec = load_model_from_config(config).get_pipe("tok2vec").model
    tok2vec.initialize(X=[Doc(Vocab(), words=["a"])])
    before = tok2vec.to_bytes()
    assert tok2vec.from_bytes(saved).to_bytes() != before
