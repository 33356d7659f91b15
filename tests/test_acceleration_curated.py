"""accelerate() on curated transformers, against the same ones left alone."""

import json

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Adam, Config, fix_random_seed

import spacy_embedkit

torch = pytest.importorskip(
    "torch", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytest.importorskip(
    "spacy_curated_transformers",
    reason="needs pip install spacy-curated-transformers==0.3.1",
)

CONFIG = """
[nlp]
lang = "en"
pipeline = ["transformer", "tagger"]

[components]

[components.transformer]
factory = "curated_transformer"
all_layer_outputs = {all_layers}

[components.transformer.model]
@architectures = "spacy-curated-transformers.RobertaTransformer.v1"
vocab_size = 300
hidden_width = 16
intermediate_width = 32
num_attention_heads = 2
num_hidden_layers = 2
max_position_embeddings = 64
model_max_length = 60
attention_probs_dropout_prob = 0.0
hidden_dropout_prob = 0.0

[components.transformer.model.piece_encoder]
@architectures = "spacy-curated-transformers.ByteBpeEncoder.v1"

[components.transformer.model.with_spans]
@architectures = "spacy-curated-transformers.WithStridedSpans.v1"
stride = {stride}
window = 16

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "{listener}"
width = 16
upstream = "transformer"
grad_factor = 1.0

[components.tagger.model.tok2vec.pooling]
@layers = "reduce_mean.v1"

[initialize]

[initialize.components]

[initialize.components.transformer]

[initialize.components.transformer.piecer_loader]
@model_loaders = "spacy-curated-transformers.ByteBpeLoader.v1"
vocab_path = "{folder}/vocab.json"
merges_path = "{folder}/merges.txt"
"""
LAST = "spacy-curated-transformers.LastTransformerLayerListener.v1"
TEXTS = ["the cat sat", "", "abc  the x.", "a", "the cat sat on a mat " * 20]
TEXTS += ["a dog saw the cat\n\n and sat", "naïve 東京", "the mat " * 9]


@pytest.fixture
def make_pair(tmp_path):
    """Make pipelines with the same weights, whose pieces are bytes."""
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *bytes_to_unicode().values(), "th"]
    ids = {piece: i for i, piece in enumerate(pieces)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\n")

    def make(all_layers=False, stride=12, listener=LAST):
        text = CONFIG.format(
            all_layers=json.dumps(all_layers),
            stride=stride,
            listener=listener,
            folder=tmp_path,
        )
        return [build(text) for _ in range(2)]

    return make


def build(text):
    fix_random_seed(0)
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    nlp.initialize(lambda: examples(nlp))
    encoder = shim_of(nlp)._model
    torch.manual_seed(0)
    for weights in encoder.parameters():
        if weights.ndim == 2:
            torch.nn.init.normal_(weights, std=0.3)
    return nlp


def examples(nlp):
    return [
        Example.from_dict(doc, {"tags": ["AB"[token.i % 2] for token in doc]})
        for doc in map(nlp.make_doc, TEXTS[:4])
    ]


def shim_of(nlp):
    [shim] = nlp.get_pipe("transformer").model.get_ref("transformer").shims
    return shim


def read(nlp, **settings):
    return list(nlp.pipe(TEXTS, **settings))


def update(nlp):
    """Update the transformer alone: the component fails with NumPy 2.4 or later."""
    model = nlp.get_pipe("transformer").model
    output, backprop = model.begin_update([nlp.make_doc("the cat sat " * 9)])
    backprop(output.all_outputs)
    model.finish_update(Adam(0.001))


def assert_same_docs(found, expected, atol=1e-5):
    for doc, other in zip(found, expected, strict=True):
        assert [t.tag_ for t in doc] == [t.tag_ for t in other]
        data, wanted = doc._.trf_data, other._.trf_data
        assert data.last_layer_only == wanted.last_layer_only
        pairs = zip(data.all_outputs, wanted.all_outputs, strict=True)
        for some, others in pairs:
            assert_array_equal(some.lengths, others.lengths)
            assert_allclose(some.dataXd, others.dataXd, atol=atol)


def cosine(found, expected):
    """The lowest of any wordpiece."""
    some, others = (
        numpy.concatenate([doc._.trf_data.all_outputs[-1].dataXd for doc in docs])
        for docs in (found, expected)
    )
    lengths = numpy.linalg.norm(some, axis=1) * numpy.linalg.norm(others, axis=1)
    return ((some * others).sum(axis=1) / lengths).min()


@pytest.mark.parametrize("all_layers", [False, True])
@pytest.mark.parametrize("stride", [8, 12, 16])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_same_numbers_over_the_same_spans(make_pair, all_layers, stride, batch_size):
    fast, slow = make_pair(all_layers, stride)
    result = spacy_embedkit.accelerate(fast)
    assert result.changed["transformer"][0] == "tight batches"
    assert "transformer" not in result.left_alone
    found = read(fast, batch_size=batch_size)
    assert_same_docs(found, read(slow, batch_size=batch_size))
    assert_same_docs(list(fast.pipe(["", ""])), list(slow.pipe(["", ""])))


def test_undo_restores_all(make_pair):
    fast, slow = make_pair()
    model, shim = fast.get_pipe("transformer").model, shim_of(fast)
    forwards = [node._func for node in model.walk()]
    before = type(shim), set(shim.__dict__)
    result = spacy_embedkit.accelerate(fast, precision="int8", fast_ops=False)
    read(fast)
    assert [node._func for node in model.walk()] != forwards
    result.undo()
    assert [node._func for node in model.walk()] == forwards
    assert (type(shim), set(shim.__dict__)) == before
    assert_same_docs(read(fast), read(slow), atol=0)


@pytest.mark.parametrize("precision", [None, "int8"])
def test_training_and_files_are_those_of_stock(make_pair, precision):
    fast, slow = make_pair()
    spacy_embedkit.accelerate(fast, precision=precision, fast_ops=False)
    for _ in range(2):
        read(fast), read(slow)
        update(fast), update(slow)
        for name in fast.pipe_names:
            is_same = fast.get_pipe(name).to_bytes() == slow.get_pipe(name).to_bytes()
            assert is_same, name
    if precision is None:
        assert_same_docs(read(fast), read(slow))
    assert cosine(read(fast), read(slow)) > 0.97


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_precision(make_pair, precision, tmp_path):
    fast, slow = make_pair(all_layers=True)
    result = spacy_embedkit.accelerate(fast, precision=precision)
    assert result.changed["transformer"][:2] == ["tight batches", precision]
    found = read(fast)
    for doc in found:
        assert all(
            layer.dataXd.dtype == "float32" for layer in doc._.trf_data.all_outputs
        )
    assert 0.97 < cosine(found, read(slow)) < 0.9999999
    fast.to_disk(tmp_path / "nlp")
    assert_same_docs(read(spacy.load(tmp_path / "nlp")), read(slow))
