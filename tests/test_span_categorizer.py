"""The span categorizer that handles whole batches, against spaCy's own."""

import pickle

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.pipeline import SpanCategorizer
from spacy.pipeline.spancat import build_ngram_suggester, build_preset_spans_suggester
from spacy.tokens import Span
from spacy.training import Example
from spacy.util import fix_random_seed
from thinc.types import Ragged

from spacy_embedkit import accelerate
from spacy_embedkit.components import FastSpanCategorizer, accelerate_component
from spacy_embedkit.components.span_categorizer import suggest_ngrams
from spacy_embedkit.layers import extract_spans
from spacy_embedkit.layers.stock_nodes import stock

NLP = spacy.blank("en")
TEXTS = ["one two three four", "", "five", "two two six", "a b c d e f g h i"] * 3
MULTI, SINGLE = "spancat", "spancat_singlelabel"
SETTINGS = [
    (MULTI, {"threshold": 0.5}),
    (MULTI, {"threshold": 0.0}),
    (MULTI, {"threshold": 0.99}),
    (SINGLE, {}),
    (MULTI, {"max_positive": 1, "threshold": 0.4}),
]
LEFT_TO_SPACY = [
    (MULTI, {"max_positive": 2}),
    (SINGLE, {"allow_overlap": False}),
    (
        MULTI,
        {"suggester": {"@misc": "spacy.preset_spans_suggester.v1", "spans_key": "p"}},
    ),
]


def preset(doc):
    doc.spans["p"] = [Span(doc, i, i + 1) for i in range(0, len(doc), 2)]
    return doc


def make_pipeline(factory, settings):
    fix_random_seed(0)
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(factory, config=settings)
    for label in ("X", "Y", "Z"):
        pipe.add_label(label)
    nlp.initialize()
    # A network of this seed prefers some labels to others.
    random = numpy.random.default_rng(1)
    for node in pipe.model.walk():
        if node.name in ("linear", "softmax"):
            shape = node.get_param("W").shape
            node.set_param("W", random.normal(size=shape).astype("f"))
    return nlp


def annotate(nlp, texts=TEXTS):
    docs = [preset(nlp.make_doc(text)) for text in texts]
    found = []
    for doc in nlp.pipe(docs, batch_size=4):
        group = doc.spans["sc"]
        scores = group.attrs.get("scores")
        facts = [(span.start, span.end, span.label_) for span in group]
        if scores is not None:
            scores = (scores.dtype, scores.shape, scores.tolist())
        found.append((group.name, facts, scores))
    return found


@pytest.mark.parametrize(("factory", "settings"), SETTINGS + LEFT_TO_SPACY)
def test_spans_and_scores_are_those_of_spacy(factory, settings):
    nlp = make_pipeline(factory, settings)
    expected = annotate(nlp)
    data = nlp.to_bytes()
    # Products by another library would round in another way.
    result = accelerate(nlp, fast_ops=False, cache_rows=0)
    assert "span groups" in result.changed[factory]
    pipe = nlp.get_pipe(factory)
    assert type(pipe) is FastSpanCategorizer
    found = annotate(nlp)
    for (_, spans, scores), (_, own_spans, own_scores) in zip(
        expected, found, strict=True
    ):
        assert own_spans == spans
        assert (own_scores is None) == (scores is None)
        if scores is not None:
            assert own_scores[:2] == scores[:2]
            numpy.testing.assert_allclose(own_scores[2], scores[2], atol=1e-5)
    assert nlp.to_bytes() == data
    assert annotate(pickle.loads(pickle.dumps(nlp))) == found
    result.undo()
    assert type(pipe) is SpanCategorizer
    assert annotate(nlp) == expected


def test_labels_that_are_added_count_at_once():
    nlp = make_pipeline(MULTI, {"threshold": 0.0})
    accelerate_component(nlp.get_pipe(MULTI))
    assert {label for _, spans, _ in annotate(nlp) for *_, label in spans} == set("XYZ")
    nlp.get_pipe(MULTI).cfg["labels"][2] = "W"
    assert {label for _, spans, _ in annotate(nlp) for *_, label in spans} == set("XYW")


@given(
    st.lists(st.integers(0, 6), max_size=5),
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
)
def test_ngrams_are_those_of_spacy(n_words, sizes):
    docs = [NLP.make_doc("a " * n) for n in n_words]
    suggester = build_ngram_suggester(sizes)
    expected, found = suggester(docs, ops=None), suggest_ngrams(suggester, docs)
    if found is None:
        assert not expected.lengths.sum()
        return
    assert found.dataXd.tolist() == expected.dataXd.tolist()
    assert found.lengths.tolist() == expected.lengths.tolist()
    assert found.dataXd.dtype == expected.dataXd.dtype
    assert found.lengths.dtype == expected.lengths.dtype


@pytest.mark.parametrize(
    "suggester",
    [
        build_ngram_suggester([0, 1]),
        build_ngram_suggester([]),
        build_preset_spans_suggester("p"),
        lambda docs, ops: None,
    ],
)
def test_other_suggesters_are_left_to_spacy(suggester):
    assert suggest_ngrams(suggester, [NLP.make_doc("a b")]) is None


@given(st.data())
def test_vectors_of_spans_are_those_of_spacy(data):
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    bounds, n_spans = [], []
    for n in lengths:
        own = st.lists(st.integers(0, n), min_size=2, max_size=2).map(sorted)
        found = data.draw(st.lists(own, max_size=4)) if n else []
        bounds += found
        n_spans.append(len(found))
    vectors = numpy.random.default_rng(0).normal(size=(sum(lengths), 3)).astype("f")
    spans = numpy.asarray(bounds, dtype="i").reshape(-1, 2)
    model = spacy.registry.layers.get("spacy.extract_spans.v1")()
    inputs = (
        Ragged(vectors, numpy.asarray(lengths, dtype="i")),
        Ragged(spans, numpy.asarray(n_spans, dtype="i")),
    )
    expected, backprop = stock.extract_spans(model, inputs, False)
    found, own_backprop = extract_spans.predict_forward(model, inputs, False)
    assert found.dataXd.tolist() == expected.dataXd.tolist()
    assert found.lengths.tolist() == expected.lengths.tolist()
    if spans.size and (spans[:, 0] < spans[:, 1]).all():
        gradient = Ragged(expected.dataXd, expected.lengths)
        assert own_backprop(gradient)[0].dataXd.tolist() == (
            backprop(gradient)[0].dataXd.tolist()
        )


def test_training_goes_on_by_spacys_code():
    losses = []
    for fast in (False, True):
        nlp = make_pipeline(MULTI, {"threshold": 0.5})
        if fast:
            accelerate(nlp, fast_ops=False)
        reference = nlp.make_doc("one two three")
        reference.spans["sc"] = [Span(reference, 0, 2, label="X")]
        example = Example(nlp.make_doc("one two three"), reference)
        optimizer = nlp.create_optimizer()
        losses.append([nlp.update([example], sgd=optimizer) for _ in range(3)])
    assert losses[0] == losses[1]


def test_classes_of_users_stay():
    class Own(SpanCategorizer):
        pass

    pipe = make_pipeline(MULTI, {}).get_pipe(MULTI)
    own = Own(NLP.vocab, pipe.model, pipe.suggester)
    assert not accelerate_component(own).changed
    assert type(own) is Own
