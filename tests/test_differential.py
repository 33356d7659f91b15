"""The differential tester: it finds what is broken, and tells ties from errors."""

import pytest

from spacy_embedkit.param_watch import ParamWatch
from stress.differential.command import Harness
from stress.differential.compare import Comparer, Tally
from stress.differential.memory import MemoryCurve
from stress.differential.pipelines import find_source
from stress.differential.recipes import Recipe, Writer

from .helpers.interrupts import interrupted

RECIPE = Recipe(words=("Ab", "cd"), spaces=(True, True))


@pytest.fixture(scope="module")
def source():
    return find_source("hash")


def run(source, scenario, docs=32):
    harness = Harness({(source.name, scenario): docs}, seed=0, options="")
    harness.run(source, scenario, Writer([0]), threads=2, processes=2)
    return harness


@pytest.mark.parametrize("scenario", ["odd", "threads", "use-params"])
def test_nothing_differs(source, scenario):
    harness = run(source, scenario)
    assert harness.tally.docs >= 32
    assert f"{harness.tally.docs} docs" in harness.summary()
    assert ": 0 differences, 0 ties; tensors and scores diff" in harness.summary()


def test_old_rows_after_new_weights_are_found(source, monkeypatch):
    monkeypatch.setattr(ParamWatch, "refresh", lambda self, arrays, clear: None)
    [finding, *_] = run(source, "new-weights").tally.findings
    assert "hash --scenario new-weights --docs 32 --seed 0: tensor: diff" in finding


def test_old_rows_after_an_interrupt_are_found(source, monkeypatch):
    refresh = ParamWatch.refresh

    def note_first(self, arrays, clear):
        # As if it cleared the cache only after new rows have been computed.
        refresh(self, arrays, lambda: None)

    monkeypatch.setattr(ParamWatch, "refresh", note_first)
    assert run(source, "interrupts").tally.findings


def test_exception_is_a_finding(source, monkeypatch):
    monkeypatch.setattr(ParamWatch, "refresh", None)
    [finding] = run(source, "plain").tally.findings
    assert "TypeError" in finding


@pytest.mark.parametrize("is_tie", [False, True])
def test_tie_of_scores_is_no_error(source, is_tie):
    nlp = source.make(None)
    doc, other = (nlp(RECIPE.make(nlp)) for _ in range(2))
    tagger = nlp.get_pipe("tagger")
    first = tagger.labels.index(doc[0].tag_)
    second = (first + 1) % len(tagger.labels)
    if is_tie:
        for name in ("W", "b"):
            param = next(n for n in tagger.model.walk() if n.name == "softmax")
            param.get_param(name)[second] = param.get_param(name)[first]
    other[0].tag_ = tagger.labels[second]
    tally = Tally()
    Comparer(tally, "here")([RECIPE], [doc], [other], nlp)
    lines = tally.ties if is_tie else tally.findings
    assert len(tally.ties) + len(tally.findings) == len(lines) == 1
    assert "here: token 0: TAG is 'T" in lines[0]


def test_docs_that_got_lost_are_a_finding(source):
    nlp, tally = source.make(None), Tally()
    doc = nlp(RECIPE.make(nlp))
    Comparer(tally, "here")([RECIPE] * 2, [doc, doc], [doc], nlp)
    assert "2 docs went in, 2 came out of stock and 1 of ours" in tally.findings[0]


def test_odd_docs_are_made_twice_alike(source):
    nlp, other = source.make(None), source.make(None)
    recipes = Writer([5]).odd(60)
    assert any(recipe.merges for recipe in recipes)
    for recipe in recipes:
        pair = [recipe.make(pipeline) for pipeline in (nlp, other)]
        words, words2 = [[(t.text, t.norm_, t.whitespace_) for t in d] for d in pair]
        assert words == words2


def test_growth_of_memory_is_that_of_the_second_half():
    curve = MemoryCurve()
    curve.points = [(n, 100.0 + min(n, 50)) for n in range(100)]
    assert curve.growth() == 0
    curve.points = [(n, 100.0 + n) for n in range(100)]
    assert curve.growth() == 25


def test_interrupt_comes_at_a_line():
    import stress.differential.memory as module

    with interrupted((module,), 1):
        MemoryCurve().growth()
        pytest.fail("was not interrupted")
