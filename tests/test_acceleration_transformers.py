"""accelerate() on stock transformers, against the same ones left alone."""

import pickle
import subprocess
import sys
from copy import deepcopy

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal

import spacy_embedkit

from .helpers.hidden_packages import HIDE

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
    stock,
    vectors,
    weights,
)

LONG = "the cat sat on a mat and saw a dog " * 12
TEXTS = [
    "the cat sat",
    "",
    "abc  the x.",
    "a",
    LONG,
    "東 the cat\n\n 東",
    " ",
    LONG[:90],
]
STRIDED = {
    "@span_getters": "spacy-transformers.strided_spans.v1",
    "window": 6,
    "stride": 4,
}
# Of tokens: wordpieces of the longest do not fit into the transformer.
SPANS = {
    "strided": STRIDED,
    "gaps": {**STRIDED, "@span_getters": "test_gaps"},
    "docs": {"@span_getters": "spacy-transformers.doc_spans.v1"},
    "sentences": {"@span_getters": "spacy-transformers.sent_spans.v1"},
    "ours": {"@span_getters": "spacy-embedkit.sent_spans.v1", "max_length": 9},
}
CALLBACK = {"@callbacks": "spacy-embedkit.accelerate.v1"}


@spacy.util.registry.span_getters("test_gaps")
def build_gaps(window, stride):
    """Spans that leave out tokens; one doc has none, unless it is alone."""

    def get_spans(docs):
        return [
            []
            if doc.text.startswith("東") and len(docs) > 1
            else [doc[i : i + stride] for i in range(0, len(doc), window)]
            for doc in docs
        ]

    return get_spans


def pair(spans="strided", version=3):
    """Pipelines with the same weights."""
    config = stock()
    model = config["components"]["transformer"]["model"]
    model["get_spans"] = SPANS[spans]
    model["@architectures"] = f"spacy-transformers.TransformerModel.v{version}"
    model["tokenizer_config"] = {"model_max_length": 60}
    if version == 1:
        del model["transformer_config"]
    nlps = make(config)[0], make(config)[0]
    for nlp in nlps:
        nlp.add_pipe("sentencizer", first=True)
    return nlps


def read(nlp, texts=TEXTS, **settings):
    return list(nlp.pipe(texts, **settings))


def assert_same_docs(found, expected, atol=1e-5):
    """Compare all that is on docs; zeros stand for what padding gets."""
    assert len(found) == len(expected)
    for doc, other in zip(found, expected, strict=True):
        assert [t.tag_ for t in doc] == [t.tag_ for t in other]
        data, wanted = doc._.trf_data, other._.trf_data
        assert type(data) is type(wanted)
        assert data.align.dataXd.shape == wanted.align.dataXd.shape
        assert data.model_output.keys() == wanted.model_output.keys()
        assert_array_equal(data.align.lengths, wanted.align.lengths)
        if not wanted.model_output:
            continue
        assert_same_pieces(data, wanted, atol)


def assert_same_pieces(data, wanted, atol):
    """Compare by wordpiece, since batches may be padded to other lengths."""
    n = min(data.wordpieces.input_ids.shape[1], wanted.wordpieces.input_ids.shape[1])
    mask = wanted.wordpieces.attention_mask[:, :n] > 0
    assert mask.sum() == wanted.wordpieces.attention_mask.sum()
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        some, others = (getattr(x.wordpieces, name) for x in (data, wanted))
        assert some.dtype == others.dtype
        assert_array_equal(some[:, :n], others[:, :n])
    for some, others in zip(
        data.wordpieces.strings, wanted.wordpieces.strings, strict=True
    ):
        assert some[:n] == others[:n]
    assert_array_equal(data.align.dataXd, wanted.align.dataXd)
    for some, others in zip(data.tensors, wanted.tensors, strict=True):
        for array, other in zip(*layers(some, others), strict=True):
            assert array.dtype == other.dtype
            if array.ndim == 3:
                array, other = array[:, :n][mask], other[:, :n][mask]
            assert_allclose(array, other, atol=atol)


def layers(*outputs):
    return [out if isinstance(out, list) else [out] for out in outputs]


@pytest.mark.parametrize("spans", SPANS)
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_same_numbers_over_the_same_spans(spans, batch_size):
    fast, slow = pair(spans)
    result = spacy_embedkit.accelerate(fast)
    assert result.changed["transformer"][0] == "tight batches"
    assert "transformer" not in result.left_alone
    # Stock fails if an empty doc has a span.
    texts = [text for text in TEXTS if text or spans != "docs"]
    found = read(fast, texts, batch_size=batch_size)
    assert_same_docs(found, read(slow, texts, batch_size=batch_size))


@pytest.mark.parametrize("version", [1, 2])
def test_every_version_is_known(version):
    fast, slow = pair(version=version)
    result = spacy_embedkit.accelerate(fast)
    assert result.changed["transformer"][0] == "tight batches"
    assert_same_docs(read(fast), read(slow))


def test_one_doc_and_docs_of_nothing():
    fast, slow = pair()
    spacy_embedkit.accelerate(fast)
    for text in TEXTS:
        assert_same_docs([fast(text)], [slow(text)])
    assert_same_docs(list(fast.pipe(["", ""])), list(slow.pipe(["", ""])))
    assert not list(fast.pipe([]))


def test_padding_is_little():
    """Each length in a batch of its own, where stock pads all to the longest."""
    fast, _ = pair("docs")
    spacy_embedkit.accelerate(fast)
    shim = shim_of(fast)
    shapes = []
    predict = type(shim).predict

    def counted(inputs):
        shapes.append(tuple(inputs.kwargs["input_ids"].shape))
        return predict(shim, inputs)

    shim.predict = counted
    list(fast.pipe(["a"] * 600 + ["a b c d e f g h i j k l"] * 300))
    assert (600, 3) in shapes
    assert all(rows == 600 or length == 14 for rows, length in shapes)
    assert max(rows * length for rows, length in shapes) <= 2048


def test_listeners_get_the_same_vectors():
    fast, slow = pair()
    spacy_embedkit.accelerate(fast)
    assert_same_vectors(vectors(fast, TEXTS), vectors(slow, TEXTS))


def test_undo_restores_all():
    fast, slow = pair()
    model, shim = fast.get_pipe("transformer").model, shim_of(fast)
    before = model._func, type(shim), set(model.attrs), set(shim.__dict__)
    result = spacy_embedkit.accelerate(fast, precision="int8")
    read(fast)
    assert model._func is not before[0]
    result.undo()
    assert (model._func, type(shim), set(model.attrs), set(shim.__dict__)) == before
    assert_same_docs(read(fast), read(slow), atol=0)


def test_twice_is_the_same_as_once():
    fast, slow = pair()
    spacy_embedkit.accelerate(fast, precision="int8")
    result = spacy_embedkit.accelerate(fast)
    assert result.changed["transformer"][0] == "tight batches"
    assert "int8" not in result.changed["transformer"]
    assert_same_docs(read(fast), read(slow))
    result.undo()
    assert type(shim_of(fast)).__module__ == "spacy_transformers.layers.hf_shim"


@pytest.mark.parametrize("precision", [None, "bfloat16", "int8"])
def test_saved_bytes_are_those_of_stock(precision, tmp_path):
    fast, slow = pair()
    read(slow)
    spacy_embedkit.accelerate(fast, precision=precision)
    read(fast)
    for name in fast.pipe_names:
        # A difference would take pytest minutes to print.
        is_same = fast.get_pipe(name).to_bytes() == slow.get_pipe(name).to_bytes()
        assert is_same, name
    assert fast.config == slow.config
    fast.to_disk(tmp_path)
    assert_same_docs(read(spacy.load(tmp_path)), read(slow))


@pytest.mark.parametrize("precision", [None, "int8"])
def test_training_is_that_of_stock(precision):
    config = stock()
    (fast, examples), (slow, _) = make(config), make(config)
    # Other products than those of stock round in another way.
    spacy_embedkit.accelerate(fast, precision=precision, fast_ops=False)
    for _ in range(2):
        read(fast)
        assert train(fast, examples) == train(slow, examples)
        assert not changed(weights(fast), weights(slow))
    if precision is None:
        assert_same_docs(read(fast), read(slow))
    assert cosines(fast, slow).min() > 0.97


def cosines(fast, slow):
    """Of the vectors of each token that has wordpieces."""
    some, others = (
        numpy.concatenate([array for array in vectors(nlp, TEXTS) if len(array)])
        for nlp in (fast, slow)
    )
    lengths = numpy.linalg.norm(some, axis=1) * numpy.linalg.norm(others, axis=1)
    return (some * others).sum(axis=1)[lengths > 0] / lengths[lengths > 0]


@pytest.mark.parametrize(("name", "low"), [("bfloat16", 0.99), ("int8", 0.97)])
def test_precision(name, low):
    fast, slow = pair()
    result = spacy_embedkit.accelerate(fast, precision=name)
    assert result.changed["transformer"][:2] == ["tight batches", name]
    for doc in read(fast):
        for output in doc._.trf_data.tensors:
            for array in output if isinstance(output, list) else [output]:
                assert array.dtype == "float32"
    assert low < cosines(fast, slow).min() < 0.9999999


def test_precision_follows_weights_that_are_loaded_or_averaged():
    fast, slow = pair()
    spacy_embedkit.accelerate(fast, precision="int8")
    read(fast)
    shim = shim_of(fast)
    twice = {
        f"pytorch_{shim.id}_{name}": value.numpy() * 2
        for name, value in weights(slow).items()
    }
    with fast.get_pipe("transformer").model.use_params(twice):
        assert cosines(fast, slow).min() < 0.9
    assert cosines(fast, slow).min() > 0.97
    for value in slow.get_pipe("transformer").model.transformer.parameters():
        value.data *= 2
    fast.from_bytes(slow.to_bytes())
    spacy_embedkit.accelerate(slow, precision="int8")
    assert_same_docs(read(fast), read(slow))


def test_config_accelerates_before_weights_are_loaded(tmp_path):
    _, slow = pair()
    slow.to_disk(tmp_path)
    config = spacy.Config().from_disk(tmp_path / "config.cfg")
    config["nlp"]["after_pipeline_creation"] = {**CALLBACK, "precision": "int8"}
    fast = spacy.util.load_model_from_config(config)
    fast.from_disk(tmp_path, exclude=["config"])
    assert type(shim_of(fast)).__name__ == "HFInferenceShim"
    assert 0.97 < cosines(fast, slow).min() < 0.9999999


def test_copies_and_pickles_predict_the_same():
    fast, slow = pair()
    spacy_embedkit.accelerate(fast, precision="int8")
    found = read(fast)
    again = pickle.loads(pickle.dumps(fast.get_pipe("transformer").model))
    assert "tight_batches" in again._func.__module__
    output = again.predict([fast.make_doc("the cat sat")])
    expected = found[0]._.trf_data.model_output.last_hidden_state
    n = output.model_output.last_hidden_state.shape[1]
    assert_allclose(output.model_output.last_hidden_state, expected[:, :n], atol=1e-5)
    assert deepcopy(shim_of(fast))._inference_model is None
    fast.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    slow.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    result = spacy_embedkit.accelerate(fast)
    assert result.changed["tagger"][0] == "tight batches"
    for doc, other in zip(read(fast), read(slow), strict=True):
        assert [t.tag_ for t in doc] == [t.tag_ for t in other]


def test_our_own_transformer_has_its_own_precision():
    nlp, _ = make(ours())
    assert "transformer" not in spacy_embedkit.accelerate(nlp).left_alone
    result = spacy_embedkit.accelerate(nlp, precision="int8")
    assert "inference_precision" in result.left_alone["transformer"]
    assert "tight batches" not in result.changed.get("transformer", [])


def test_bytes_need_linear_layers():
    fast, _ = pair()
    shim_of(fast)._model = torch.nn.Embedding(2, 2)
    result = spacy_embedkit.accelerate(fast, precision="int8")
    assert "no linear layers" in result.left_alone["transformer"]
    assert "int8" not in result.changed["transformer"]


def test_shims_of_others_keep_their_precision():
    fast, slow = pair()
    shim = shim_of(fast)
    shim.__class__ = type("OtherShim", (type(shim),), {})
    result = spacy_embedkit.accelerate(fast, precision="int8")
    assert result.left_alone["transformer"] == "precision is for HFShim, not OtherShim"
    assert_same_docs(read(fast), read(slow))


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision is 'float16'; choose one of bfl"):
        spacy_embedkit.accelerate(spacy.blank("en"), precision="float16")


def test_nothing_heavy_is_imported_for_other_pipelines():
    code = (
        f"{HIDE}\nimport spacy, spacy_embedkit\nnlp = spacy.blank('en')\n"
        "nlp.add_pipe('tagger')\nspacy_embedkit.accelerate(nlp, precision='int8')"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
