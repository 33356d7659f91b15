"""freeze_tok2vec.v1: a layer that is frozen for the first updates of a training."""

from functools import reduce
from operator import getitem

import numpy
import pytest
import spacy
from spacy.cli.train import train as spacy_train
from spacy.language import DEFAULT_CONFIG
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from spacy_embedkit.callbacks import build_freeze_tok2vec_v1

STEPS = 8
SENTENCES = [
    (["The", "cat", "sat"], ["D", "N", "V"], [1, 2, 2], ["det", "nsubj", "ROOT"]),
    (["A", "dog", "ran"], ["D", "N", "V"], [1, 2, 2], ["det", "nsubj", "ROOT"]),
    (["Cats", "sat"], ["N", "V"], [1, 1], ["nsubj", "ROOT"]),
    (["It", "ran", "off"], ["P", "V", "R"], [1, 1, 1], ["nsubj", "ROOT", "prt"]),
]
OVERRIDES = {
    "nlp.lang": "en",
    "nlp.pipeline": ["tok2vec", "tagger", "parser"],
    "components.tok2vec.model.encode.width": 16,
    "components.tok2vec.model.encode.depth": 1,
    "components.tok2vec.model.embed.rows": [50, 20, 20, 20],
    "components.parser.min_action_freq": 1,
    "training.max_steps": STEPS,
    "training.eval_frequency": 2,
    "training.dropout": 0.3,
    "training.batcher.size": 8,
    "training.optimizer.use_averages": True,
}


@pytest.fixture
def config(root, tmp_path):
    """A function that makes a small training config, frozen for a number of steps."""
    nlp = spacy.blank("en")
    docs = [
        Example.from_dict(
            nlp.make_doc(" ".join(words)), {"tags": tags, "heads": heads, "deps": deps}
        ).reference
        for words, tags, heads, deps in SENTENCES * 2
    ]
    data = tmp_path / "data.spacy"
    DocBin(docs=docs).to_disk(data)

    def make(steps=None, **settings):
        paths = {"paths.train": str(data), "paths.dev": str(data)}
        made = DEFAULT_CONFIG.merge(load_config(root / "configs" / "stock.cfg"))
        for name, value in {**OVERRIDES, **paths}.items():
            *sections, setting = name.split(".")
            reduce(getitem, sections, made)[setting] = value
        if steps is not None:
            callback = {"@callbacks": "spacy-embedkit.freeze_tok2vec.v1"}
            made["training"]["before_update"] = {
                **callback,
                "steps": steps,
                **settings,
            }
        return made

    return make


def weights_of(layer):
    return [
        node.get_param(name).tobytes()
        for node in layer.walk()
        for name in node.param_names
    ]


class Trace:
    """A training that notes the weights of a component after every update."""

    def __init__(self, config, component="tok2vec", layer=""):
        self.nlp = init_nlp(config)
        model = self.nlp.get_pipe(component).model
        self.layer = model.get_ref(layer) if layer else model
        self.weights = [weights_of(self.layer)]
        self.backward = []
        self.dropped = []
        self._watch()
        train(self.nlp)

    def _watch(self):
        """Note each update, and whether the encoder is trained in it."""
        node = next(node for node in self.layer.walk() if node.name == "maxout")
        forward = node._func

        def noted(model, X, is_train):
            Y, backprop = forward(model, X, is_train)
            self.dropped.append(is_train)

            def noted_backprop(dY):
                self.backward.append(len(self.weights) - 1)
                return backprop(dY)

            return Y, noted_backprop

        node.replace_callbacks(noted, init=node.init)
        before = self.nlp.evaluate

        def evaluate(*args, **kwargs):
            self.weights.append(weights_of(self.layer))
            return before(*args, **kwargs)

        self.nlp.evaluate = evaluate


def every_step(config):
    config["training"]["eval_frequency"] = 1
    return config


def arrays(nlp):
    return {
        (name, i, param): node.get_param(param)
        for name in nlp.pipe_names
        for i, node in enumerate(nlp.get_pipe(name).model.walk())
        for param in node.param_names
        if node.has_param(param)
    }


@pytest.mark.parametrize("steps", [1, 5])
def test_weights_stay_bit_by_bit_until_the_step(config, steps):
    trace = Trace(every_step(config(steps)))
    start, *after = trace.weights
    assert after[:steps] == [start] * steps
    assert all(weights != start for weights in after[steps:])


def test_nothing_is_computed_backwards_while_frozen(config):
    trace = Trace(every_step(config(3)))
    assert trace.backward
    assert min(trace.backward) == 3


def test_a_frozen_layer_runs_without_dropout(config):
    frozen = Trace(config(STEPS + 1))
    assert not any(frozen.dropped)
    assert any(Trace(config(0)).dropped)


def test_the_other_components_learn_meanwhile(config):
    before = arrays(init_nlp(config()))
    trace = Trace(config(STEPS + 1))
    changed = {
        key[0]
        for key, value in arrays(trace.nlp).items()
        if not numpy.array_equal(before[key], value)
    }
    assert changed == {"tagger", "parser"}


def test_no_steps_is_plain_training(config):
    plain, none = (train(init_nlp(config(steps)))[0] for steps in (None, 0))
    expected = arrays(plain)
    for key, value in arrays(none).items():
        assert numpy.array_equal(expected[key], value)


def test_a_saved_pipeline_is_as_any_other(config, tmp_path):
    train(init_nlp(config(STEPS + 1)), tmp_path)
    nlp = spacy.load(tmp_path / "model-last")
    before = weights_of(nlp.get_pipe("tok2vec").model)
    gold = {"tags": ["D", "N"], "heads": [1, 1], "deps": ["det", "ROOT"]}
    examples = [Example.from_dict(nlp.make_doc("The cat"), gold)]
    optimizer = nlp.resume_training()
    # In Language.update, the layer learns from a batch when the next one comes.
    for _ in range(2):
        nlp.update(examples, sgd=optimizer)
    nlp.update(examples, sgd=optimizer)
    assert weights_of(nlp.get_pipe("tok2vec").model) != before


def test_a_layer_of_a_component(config):
    made = every_step(config(3, component="tagger", layer="tok2vec"))
    made["components"]["tagger"]["model"]["tok2vec"] = made["components"]["tok2vec"][
        "model"
    ]
    start, *after = Trace(made, "tagger", "tok2vec").weights
    assert after[:3] == [start] * 3
    assert start not in after[3:]


def test_a_second_training_is_frozen_too(config):
    nlp = init_nlp(config())
    train(nlp)
    callback = build_freeze_tok2vec_v1(steps=2)
    before = weights_of(nlp.get_pipe("tok2vec").model)
    optimizer = nlp.create_optimizer()
    gold = {"tags": ["D", "N"], "heads": [1, 1], "deps": ["det", "ROOT"]}
    examples = [Example.from_dict(nlp.make_doc("The cat"), gold)]
    for step in range(3):
        assert weights_of(nlp.get_pipe("tok2vec").model) == before
        callback(nlp, {"step": step, "epoch": 0})
        nlp.update(examples, sgd=optimizer)
    nlp.update(examples, sgd=optimizer)
    assert weights_of(nlp.get_pipe("tok2vec").model) != before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"component": "tok2vek"}, "component is 'tok2vek', but the pipeline has tok2"),
        ({"layer": "encoder"}, "layer is 'encoder', but the model of 'tok2vec' has"),
        ({"component": "tagger", "layer": "soft"}, "layer is 'soft', but the model"),
    ],
)
def test_a_component_or_layer_that_is_not_there(config, settings, words):
    with pytest.raises(ValueError, match=f"freeze_tok2vec.v1: {words}"):
        train(init_nlp(config(2, **settings)))


def test_a_negative_number_of_steps():
    with pytest.raises(ValueError, match=r"freeze_tok2vec\.v1: steps is -1, but 0"):
        build_freeze_tok2vec_v1(steps=-1)


def test_spacy_train_takes_it_from_config_text(config, tmp_path):
    config(4).to_disk(tmp_path / "train.cfg")
    spacy_train(tmp_path / "train.cfg", tmp_path / "out")
    assert (tmp_path / "out" / "model-best").is_dir()
