"""sent_spans.v1 with and without sentences, and in `spacy train`."""

import pytest
import spacy
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin

from spacy_embedkit.span_getters import build_sent_spans_v1

TEXTS = ["The cat sat. A dog ran on the mat.", "cat", "dog ran. cat"]


def sentencized(text):
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    return nlp(text)


@pytest.mark.parametrize("max_length", [1, 3, 100])
def test_spans_cover_each_token_once_within_sentences(max_length):
    doc = sentencized("The cat sat on the mat. A dog ran. Yes")
    [spans] = build_sent_spans_v1(max_length)([doc])
    assert [token.i for span in spans for token in span] == list(range(len(doc)))
    assert max(len(span) for span in spans) <= max_length
    assert all(
        span.sent.start <= span.start < span.end <= span.sent.end for span in spans
    )


def test_sentences_that_fit_are_spans():
    doc = sentencized("The cat sat. A dog ran.")
    [spans] = build_sent_spans_v1(10)([doc])
    assert [span.text for span in spans] == ["The cat sat.", "A dog ran."]


def test_spans_of_empty_and_one_token_docs():
    nlp = spacy.blank("en")
    spans = build_sent_spans_v1(10)([nlp.make_doc(""), nlp.make_doc("cat")])
    assert [[span.text for span in doc_spans] for doc_spans in spans] == [[], ["cat"]]


def test_doc_without_sentences_gets_the_remedy():
    docs = [sentencized("a b"), spacy.blank("en").make_doc("no bounds here")]
    with pytest.raises(ValueError, match=r"doc 1 .*'no bounds here'.*annotating_comp"):
        build_sent_spans_v1(10)(docs)


def test_spacy_train_needs_the_remedy_of_the_error(tmp_path):
    pytest.importorskip("spacy_transformers", reason="needs the extra transformers")
    from .helpers.tiny_bert import make_bert
    from .helpers.tiny_pipelines import make_pipeline

    nlp = make_pipeline(make_bert(tmp_path / "bert"))
    docs = [Doc(nlp.vocab, words=t.split(), tags=["X"] * len(t.split())) for t in TEXTS]
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    nlp.config.to_disk(tmp_path / "config.cfg")
    data = str(tmp_path / "train.spacy")
    settings = {"paths.train": data, "paths.dev": data, "training.max_steps": 2}
    with pytest.raises(ValueError, match="annotating_components"):
        train(tmp_path / "config.cfg", overrides=settings)
    remedy = {"training.annotating_components": ["sentencizer"]}
    train(tmp_path / "config.cfg", tmp_path / "out", overrides={**settings, **remedy})
    assert (tmp_path / "out" / "model-last").is_dir()
