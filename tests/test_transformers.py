"""Span getter and annotation setter, with a tiny random transformer of our own."""

import json
import subprocess
import sys

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.tokens import Doc, DocBin
from spacy.training import Example

from spacy_embedkit.annotation_setters import add_vector_hooks
from spacy_embedkit.span_getters import build_sent_spans_v1

TEXTS = ["The cat sat. A dog ran on the mat.", "cat", "The  cat", "dog ran. cat"]


def sentencized(text):
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    return nlp(text)


@pytest.mark.parametrize("max_length", [1, 2, 3, 100])
def test_sent_spans_cover_each_token_once_within_sentences(max_length):
    doc = sentencized("The cat sat on the mat. A dog ran. Yes")
    [spans] = build_sent_spans_v1(max_length)([doc])
    assert [token.i for span in spans for token in span] == list(range(len(doc)))
    assert max(len(span) for span in spans) <= max_length
    assert all(
        span.sent.start <= span.start < span.end <= span.sent.end for span in spans
    )


def test_sent_spans_keep_whole_sentences_that_fit():
    doc = sentencized("The cat sat. A dog ran.")
    [spans] = build_sent_spans_v1(10)([doc])
    assert [span.text for span in spans] == ["The cat sat.", "A dog ran."]


def test_sent_spans_of_empty_and_one_token_docs():
    nlp = spacy.blank("en")
    spans = build_sent_spans_v1(10)([nlp.make_doc(""), nlp.make_doc("cat")])
    assert [[span.text for span in doc_spans] for doc_spans in spans] == [[], ["cat"]]


def test_doc_without_sentences_gets_the_remedy():
    docs = [sentencized("a b"), spacy.blank("en").make_doc("no bounds here")]
    with pytest.raises(ValueError, match=r"doc 1 .*'no bounds here'.*annotating_comp"):
        build_sent_spans_v1(10)(docs)


@pytest.mark.parametrize("max_length", [0, -1])
def test_max_length_below_one_is_named(max_length):
    with pytest.raises(ValueError, match=f"max_length is {max_length}, but 1 or more"):
        build_sent_spans_v1(max_length)


CONFIG = """
[nlp]
lang = "en"
pipeline = ["sentencizer", "transformer", "tagger"]

[components]

[components.sentencizer]
factory = "sentencizer"

[components.transformer]
factory = "transformer"

[components.transformer.model]
@architectures = "spacy-transformers.TransformerModel.v3"
name = {name}

[components.transformer.model.get_spans]
@span_getters = "spacy-embedkit.sent_spans.v1"
max_length = 3

[components.transformer.set_extra_annotations]
@annotation_setters = "spacy-embedkit.doc_vectors.v1"

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy-transformers.TransformerListener.v1"
grad_factor = 1.0

[components.tagger.model.tok2vec.pooling]
@layers = "reduce_mean.v1"
"""


@pytest.fixture(scope="session")
def transformer_dir(tmp_path_factory):
    """A folder with a BERT of 16 dimensions and a vocabulary of letters and words."""
    pytest.importorskip(
        "spacy_transformers",
        reason="needs pip install 'spacy-embedkit[transformers]'",
    )
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    letters = [chr(i) for i in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", *letters]
    pieces += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def config_text(transformer_dir):
    return CONFIG.format(name=json.dumps(str(transformer_dir)))


@pytest.fixture
def pipeline(config_text):
    nlp = spacy.util.load_model_from_config(
        spacy.util.Config().from_str(config_text), auto_fill=True
    )
    examples = [
        Example.from_dict(nlp.make_doc(text), {"tags": ["X"] * len(nlp.make_doc(text))})
        for text in TEXTS
    ]
    nlp.initialize(lambda: examples)
    return nlp


def expected_rows(doc):
    """Mean wordpiece row of each token, spelled out."""
    data = doc._.trf_data
    flat = data.model_output.last_hidden_state.reshape(-1, 16)
    rows, start = [], 0
    for n in data.align.lengths:
        index = data.align.dataXd[start : start + n].reshape(-1)
        rows.append(flat[index].mean(axis=0) if n else numpy.zeros(16))
        start += n
    return numpy.asarray(rows)


def test_doc_vectors_are_means_of_wordpieces(pipeline):
    for doc in pipeline.pipe(TEXTS):
        rows = expected_rows(doc)
        assert_allclose(doc._.token_vectors, rows, atol=1e-5)
        assert_allclose(doc.vector, rows.mean(axis=0), atol=1e-5)
        assert_allclose(doc[:1].vector, rows[0], atol=1e-5)
        assert_allclose(doc[0].vector, rows[0], atol=1e-5)
        assert doc.has_vector
        for part in (doc, doc[:1], doc[0]):
            norm = numpy.linalg.norm(part.vector)
            assert part.vector_norm == pytest.approx(norm, rel=1e-5)


def test_token_without_wordpieces_has_a_zero_vector(pipeline):
    doc = pipeline("The  cat")
    assert doc[1].is_space
    assert not doc[1].has_vector
    assert doc[0].has_vector
    assert doc[0].similarity(doc[1]) == 0.0


def test_similarity_is_the_cosine(pipeline):
    doc, other = pipeline.pipe(["The cat sat.", "A dog ran."])
    expected = (doc.vector @ other.vector) / (
        numpy.linalg.norm(doc.vector) * numpy.linalg.norm(other.vector)
    )
    assert doc.similarity(other) == pytest.approx(expected, rel=1e-4)
    assert doc.similarity(doc) == pytest.approx(1.0, rel=1e-5)
    assert doc[0].similarity(doc[:1]) == pytest.approx(1.0, rel=1e-5)


def test_empty_doc_has_a_zero_vector(pipeline):
    empty, _ = pipeline.pipe(["", "cat"])
    assert not empty.has_vector
    assert empty.similarity(empty) == 0.0
    # Alone in its batch it never meets the transformer.
    alone = pipeline("")
    assert not alone.has_vector
    assert alone.similarity(pipeline("cat")) == 0.0
    assert pipeline("cat").similarity(alone) == 0.0


def test_similarity_to_another_width_is_named(pipeline):
    other = spacy.blank("en")
    other.vocab.set_vector("cat", numpy.ones(4, dtype="f"))
    with pytest.raises(ValueError, match="vectors 16 and 4 wide"):
        pipeline("cat").similarity(other("cat"))


def test_setter_survives_saving_the_pipeline(pipeline, tmp_path):
    expected = pipeline(TEXTS[0]).vector
    pipeline.to_disk(tmp_path / "nlp")
    code = (
        "import spacy, sys, json\n"
        f"doc = spacy.load({str(tmp_path / 'nlp')!r})({TEXTS[0]!r})\n"
        "print(json.dumps(doc.vector.tolist()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert_allclose(json.loads(out.stdout), expected, atol=1e-5)
    restored = spacy.util.load_model_from_config(pipeline.config, auto_fill=True)
    restored.from_bytes(pipeline.to_bytes())
    assert_allclose(restored(TEXTS[0]).vector, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*W109")  # spaCy's own note that hooks stay behind
def test_token_vectors_survive_saving_the_doc(pipeline):
    doc = pipeline(TEXTS[0])
    doc._.trf_data = None
    loaded = [
        Doc(pipeline.vocab).from_bytes(doc.to_bytes()),
        *DocBin(docs=[doc], store_user_data=True).get_docs(pipeline.vocab),
    ]
    for other in loaded:
        assert_allclose(add_vector_hooks(other).vector, doc.vector, atol=1e-6)


def test_sent_spans_train_with_annotating_components(config_text, tmp_path):
    """`spacy train` from config text alone, with the remedy the error names."""
    nlp = spacy.blank("en")
    docs = [Doc(nlp.vocab, words=t.split(), tags=["X"] * len(t.split())) for t in TEXTS]
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    (tmp_path / "config.cfg").write_text(config_text)
    command = [sys.executable, "-m", "spacy"]
    fill = [*command, "init", "fill-config", "config.cfg", "full.cfg"]
    subprocess.run(fill, cwd=tmp_path, check=True, capture_output=True)
    paths = ["--paths.train", "train.spacy", "--paths.dev", "train.spacy"]
    train = [*command, "train", "full.cfg", *paths, "--training.max_steps", "4"]
    failed = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "annotating_components" in failed.stdout + failed.stderr
    remedy = ["--training.annotating_components", '["sentencizer"]']
    done = subprocess.run(
        [*train, *remedy], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
