"""What acceleration brings: seconds, words a second, and what differs."""

import numpy
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Span

from spacy_embedkit import accelerate
from spacy_embedkit.components.attribute_ruler import CachedAttributeRuler
from spacy_embedkit.speed import compare_speed
from stress.differential.pipelines import find_source

TEXTS = ["The cats sat", "", "on the mat ."] * 4
N_WORDS = 28


@Language.component("wrong_in_test_speed")
def wrong(doc):
    """Annotate the first word, the doc and a span, otherwise in each pipeline."""
    for token in doc[:1]:
        token.tag_ = doc.vocab.lang
    doc.cats = {"X": doc.vocab.lang == "en"}
    doc.spans["s"] = [Span(doc, 0, 1, label=doc.vocab.lang)] if len(doc) > 3 else []
    return doc


def make_pipeline(lang="en"):
    nlp = spacy.blank(lang)
    ruler = nlp.add_pipe("attribute_ruler")
    ruler.add([[{"LOWER": "cats"}]], {"POS": "NOUN"})
    return nlp


def ticks(step=1.0):
    """A clock that goes on by a step each time that it is read."""
    state = iter(numpy.arange(0, 1e6, step))
    return lambda: next(state)


def test_table_has_every_component_and_the_rate():
    nlp = make_pipeline()
    nlp.add_pipe("wrong_in_test_speed")
    speed = compare_speed(nlp, nlp, TEXTS, clock=ticks())
    assert (speed.n_words, speed.n_docs) == (N_WORDS, len(TEXTS))
    # Each part is between two readings of the clock.
    parts = dict.fromkeys(["tokenizer", "attribute_ruler", "wrong_in_test_speed"], 1.0)
    assert speed.before == speed.after == parts
    lines = [line.split() for line in str(speed).splitlines()]
    assert ["tokenizer", "35714.3", "35714.3"] in lines
    assert ["all", "107142.9", "107142.9"] in lines
    assert ["words", "a", "second", "9", "9"] in lines
    assert "1.0x; 0 of 28 words are annotated differently, 0 of 12" in str(speed)


def test_differences_are_counted():
    stock, other, twin = (make_pipeline(lang) for lang in ("en", "de", "en"))
    for nlp in (stock, other, twin):
        nlp.add_pipe("wrong_in_test_speed")
    speed = compare_speed(stock, other, TEXTS)
    assert speed.n_other_words == 8
    assert speed.n_other_docs == len(TEXTS)
    speed = compare_speed(stock, twin, TEXTS)
    assert (speed.n_other_words, speed.n_other_docs) == (0, 0)


def test_measuring_leaves_the_pipeline_as_it_was():
    nlp = make_pipeline()
    result = accelerate(nlp)
    pipes, data = dict(nlp.components), nlp.to_bytes()
    speed = result.measure(TEXTS)
    assert speed.n_words == N_WORDS
    assert not speed.n_other_words
    assert speed.before.keys() == {"tokenizer", "attribute_ruler"}
    assert dict(nlp.components) == pipes
    assert nlp.to_bytes() == data
    assert isinstance(nlp.get_pipe("attribute_ruler"), CachedAttributeRuler)


def test_before_is_stock(monkeypatch):
    nlp = make_pipeline()
    result = accelerate(nlp)
    found = []
    monkeypatch.setattr(
        "spacy_embedkit.acceleration.compare_speed",
        lambda *pipelines_and_texts: found.extend(pipelines_and_texts),
    )
    result.measure(TEXTS)
    stock, fast, texts = found
    kinds = [type(p.get_pipe("attribute_ruler")).__name__ for p in (stock, fast)]
    assert kinds == ["AttributeRuler", "CachedAttributeRuler"]
    assert nlp not in (stock, fast)
    assert texts is TEXTS


@pytest.mark.parametrize("name", ["cnn", "floret"])
def test_trained_pipelines_are_measured(name):
    nlp = find_source(name).make(None)
    speed = accelerate(nlp).measure(["ab cd ef", "gh ij"])
    assert list(speed.before) == ["tokenizer", *nlp.pipe_names]
    assert not speed.n_other_words
    assert not speed.n_other_docs


def test_single_text_and_texts_without_words_are_refused():
    result = accelerate(make_pipeline())
    with pytest.raises(TypeError, match="got the text 'The cats'; give a list"):
        result.measure("The cats")
    with pytest.raises(ValueError, match="2 texts have no words; give others"):
        result.measure(["", ""])
