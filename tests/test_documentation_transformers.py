"""The page on embeddings, executed: transformers, their spans and listeners."""

import json
import subprocess
import sys

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.util import Config, import_file, load_model_from_config

from spacy_embedkit.annotation_setters import build_doc_vectors_v1
from spacy_embedkit.span_getters import build_sent_spans_v1, build_wordpiece_spans_v1

from .helpers.page_pipelines import (
    NER,
    TAGGER,
    assert_saved,
    head,
    make,
    predictions,
    weights,
    write_examples,
)
from .helpers.tiny_pipelines import train

pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)

TRANSFORMER = """
[components.transformer]
factory = "transformer"
max_batch_items = 4096

[components.transformer.model]
@architectures = "spacy-embedkit.TransformerModel.v1"
name = {name}
tokenizer_config = {{"use_fast": true}}

[components.transformer.model.get_spans]
{spans}

[components.transformer.set_extra_annotations]
{setter}
"""
PIECES = '@span_getters = "spacy-embedkit.wordpiece_spans.v1"\nmax_wordpieces = 32'
VECTORS = '@annotation_setters = "spacy-embedkit.doc_vectors.v1"'
LISTENER = """
[components.{name}.model.tok2vec]
@architectures = "spacy-embedkit.TransformerListener.v1"
{factor}

[components.{name}.model.tok2vec.pooling]
@layers = "spacy-embedkit.{pooling}.v1"
"""
LONG = "The cat sat on the mat. A dog ran and ran. " * 9


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder with a transformer, 16 wide, that takes 64 wordpieces."""
    from .helpers.tiny_bert import make_bert

    return make_bert(tmp_path_factory.mktemp("bert"), layers=2)


def transformer(name, spans=PIECES, setter=VECTORS):
    """Blocks of a transformer."""
    return TRANSFORMER.format(name=json.dumps(name), spans=spans, setter=setter)


def listener(name, pooling="reduce_mean", factor="grad_factor = 1.0"):
    """Blocks of a component's listener to it."""
    return LISTENER.format(name=name, pooling=pooling, factor=factor)


def config_of(bert, **settings):
    """Config of a transformer that a tagger listens to."""
    blocks = transformer(bert, **settings) + TAGGER + listener("tagger")
    return head("transformer", "tagger") + blocks


def assert_token_vectors(docs):
    for doc in docs:
        assert doc._.token_vectors.shape == (len(doc), 16)
        # All but the tokens that have no wordpieces.
        rows = [bool(row.any()) for row in doc._.token_vectors]
        assert rows == [not token.is_space for token in doc]


def test_token_vectors_are_there_at_run_time(bert, tmp_path):
    make(config_of(bert))[0].to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    docs = list(nlp.pipe(["some text", "some  other text", LONG]))
    assert_token_vectors(docs)
    hidden = docs[0]._.trf_data.model_output.last_hidden_state
    assert hidden.shape[-1] == 16
    assert_allclose(docs[0].vector, docs[0]._.token_vectors.mean(axis=0), atol=1e-5)
    assert 0 < docs[0].similarity(docs[1]) < 1


@pytest.mark.gpu
def test_token_vectors_are_there_on_the_gpu(bert):
    cupy = pytest.importorskip("cupy", reason="needs cupy and a GPU")
    from thinc.api import require_gpu, set_gpu_allocator

    set_gpu_allocator("pytorch")
    require_gpu(0)
    try:
        nlp, examples = make(config_of(bert))
        train(nlp, examples)
        docs = list(nlp.pipe(["some text", "some  other text", LONG]))
        assert_token_vectors(docs)
        assert isinstance(docs[0]._.token_vectors, cupy.ndarray)
    finally:
        spacy.require_cpu()


def test_setter_fills_an_attribute_and_is_saved(bert, tmp_path):
    from spacy_transformers.data_classes import TransformerData

    setter = '@annotation_setters = "spacy-embedkit.custom_attr.v1"\n'
    setter += 'name = "custom_attr"\nwhat = "trf_data"'
    nlp, _ = make(config_of(bert, setter=setter))
    for pipeline in (nlp, assert_saved(nlp, tmp_path)):
        doc = pipeline("This is a text")
        assert isinstance(doc._.custom_attr, TransformerData)
        shapes = [array.shape for array in doc._.custom_attr.tensors]
        assert shapes == [(1, doc._.custom_attr.align.dataXd.max() + 2, 16), (1, 16)]


def test_component_from_python_is_that_of_the_config(bert):
    from spacy_transformers import Transformer

    from spacy_embedkit.transformer.builders import build_transformer_model_v1

    nlp = spacy.blank("en")
    component = Transformer(
        nlp.vocab,
        build_transformer_model_v1(
            bert,
            get_spans=build_wordpiece_spans_v1(32),
            tokenizer_config={"use_fast": True},
        ),
        set_extra_annotations=build_doc_vectors_v1(),
        max_batch_items=4096,
    )
    component.model.initialize()
    texts = ["The cat  sat", LONG]
    docs = list(component.pipe(map(nlp.make_doc, texts)))
    others = list(make(config_of(bert))[0].pipe(texts))
    for doc, other in zip(docs, others, strict=True):
        assert_allclose(doc._.token_vectors, other._.token_vectors, atol=1e-5)


def test_transformer_learns_and_is_saved(bert, tmp_path):
    nlp, examples = make(config_of(bert))
    before = weights(nlp, "transformer")
    losses = train(nlp, examples, 10)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    assert weights(nlp, "transformer") != before
    loaded = assert_saved(nlp, tmp_path)
    assert_allclose(loaded(LONG).vector, nlp(LONG).vector, atol=1e-5)


SENTENCES = '@span_getters = "spacy-embedkit.sent_spans.v1"\nmax_length = 5'
SENTENCIZER = '\n[components.sentencizer]\nfactory = "sentencizer"\n'


def with_sentences(text):
    """Put a sentencizer in front."""
    text = text.replace('pipeline = ["', 'pipeline = ["sentencizer", "')
    return text + SENTENCIZER


def test_sentences_are_cut_and_none_is_lost(bert, tmp_path):
    nlp, examples = make(with_sentences(config_of(bert, spans=SENTENCES)))
    doc = nlp(LONG)
    [spans] = build_sent_spans_v1(5)([doc])
    assert [token.i for span in spans for token in span] == list(range(len(doc)))
    assert {len(span) for span in spans} == {2, 5, 1}
    read = doc._.trf_data.wordpieces.input_ids
    assert len(read) == len(spans)
    assert_token_vectors([doc])
    losses = train(nlp, examples, 10, annotates=["sentencizer"])
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    assert_saved(nlp, tmp_path)


CODE = """
from spacy_embedkit.span_getters import build_sent_spans_v1
from spacy_transformers import registry

@registry.span_getters("page_sent_spans")
def build_page_sent_spans(max_length: int):
    return build_sent_spans_v1(max_length)
"""


def test_train_command_takes_a_custom_span_getter(bert, tmp_path, offline_env):
    spans = SENTENCES.replace("spacy-embedkit.sent_spans.v1", "page_sent_spans")
    (tmp_path / "code.py").write_text(CODE)
    import_file("code", tmp_path / "code.py")
    config = Config().from_str(with_sentences(config_of(bert, spans=spans)))
    load_model_from_config(config, auto_fill=True).config.to_disk(
        tmp_path / "config.cfg"
    )
    write_examples(tmp_path / "train.spacy")
    args = ["train", "./config.cfg", "--code", "./code.py", "--output", "trained"]
    args += ["--paths.train", "train.spacy", "--paths.dev", "train.spacy"]
    args += ["--training.annotating_components", '["sentencizer"]']
    args += ["--training.max_steps", "3", "--training.eval_frequency", "3"]
    # In a process of its own, where the code alone can have registered the name.
    command = [sys.executable, "-m", "spacy", *args]
    run = subprocess.run(
        command, cwd=tmp_path, env=offline_env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    nlp = spacy.load(tmp_path / "trained" / "model-best")
    assert len(nlp(LONG)._.trf_data.wordpieces.input_ids) == 9 * 4
    assert all(tag for tags, _ in predictions(nlp) for tag in tags)


@pytest.mark.parametrize("kind", ["mean", "sum", "max", "first", "last"])
def test_listener_learns_from_tokens_without_wordpieces(kind, bert, tmp_path):
    text = head("transformer", "ner") + transformer(bert) + NER
    nlp, examples = make(text + listener("ner", f"reduce_{kind}"))
    losses = train(nlp, examples, 10)
    assert losses[-1]["ner"] < losses[0]["ner"]
    # In a parser it is chained to a linear layer.
    tok2vec = nlp.get_pipe("ner").model.get_ref("tok2vec").layers[0]
    [rows] = tok2vec.predict([nlp("the  cat")])
    assert [bool(row.any()) for row in rows] == [True, False, True]
    assert_saved(nlp, tmp_path)


THAW = """
[components.{name}.model.tok2vec.grad_factor]
@schedules = "constant_then.v1"
rate = 0.0
steps = 2

[components.{name}.model.tok2vec.grad_factor.schedule]
@schedules = "constant.v1"
rate = 1.0
"""


@pytest.mark.parametrize(
    ("tagger", "ner", "expected"),
    [
        ("grad_factor = 0.0", "grad_factor = 0.0", [False] * 4),
        ("grad_factor = 2.0", "grad_factor = 0.0", [True] * 4),
        ("grad_factor = 0.0", "grad_factor = 2.0", [True] * 4),
        (THAW, "grad_factor = 0.0", [False, False, True, True]),
        (THAW, THAW, [False, False, True, True]),
    ],
)
def test_grad_factor_says_when_the_transformer_learns(tagger, ner, expected, bert):
    text = head("transformer", "tagger", "ner") + transformer(bert) + TAGGER + NER
    for name, factor in (("tagger", tagger), ("ner", ner)):
        if factor == THAW:
            text += listener(name, factor="") + THAW.format(name=name)
        else:
            text += listener(name, factor=factor)
    nlp, examples = make(text)
    rng = numpy.random.default_rng(0)
    # Gradients reach the transformer once the weights after it are not zero.
    for name in ("tagger", "ner"):
        for node in nlp.get_pipe(name).model.walk():
            if node.has_param("W"):
                shape = node.get_param("W").shape
                node.set_param("W", rng.normal(size=shape).astype("f"))
    optimizer, found = nlp.create_optimizer(), []
    for _ in expected:
        before = weights(nlp, "transformer")
        train(nlp, examples, 1, optimizer)
        found.append(weights(nlp, "transformer") != before)
    assert found == expected
