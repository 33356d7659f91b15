"""Masking: which words are chosen, and how they are disguised."""

import numpy
import pytest
import spacy
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import fix_random_seed

from spacy_embedkit.pretraining.masking import (
    MASK,
    TokenMasking,
    WordSample,
    build_token_masking_v1,
)
from spacy_embedkit.pretraining.spans import (
    SpanMasking,
    build_span_masking_v1,
    entity_runs,
)


def sample_of(docs):
    sample = WordSample()
    sample.add([token.text for doc in docs for token in doc])
    return sample


def numbered(*lengths):
    """Docs of words that are all different, in one vocab."""
    vocab, count = Vocab(), iter(range(sum(lengths)))
    return [Doc(vocab, words=[f"w{next(count)}" for _ in range(n)]) for n in lengths]


def texts(docs):
    return [token.text for doc in docs for token in doc]


def runs_of(docs, positions):
    """Begin and end of each run of chosen neighbours within a doc."""
    owner = numpy.repeat(numpy.arange(len(docs)), [len(doc) for doc in docs])
    runs = []
    for i in positions.tolist():
        if runs and runs[-1][1] == i and owner[i] == owner[i - 1]:
            runs[-1][1] = i + 1
        else:
            runs.append([i, i + 1])
    return runs


MASKINGS = {"token": TokenMasking(0.5), "span": SpanMasking(0.5, entities=True)}


@pytest.mark.parametrize("name", sorted(MASKINGS))
def test_masked_docs_keep_shape_and_show_nothing_else(name):
    nlp = spacy.blank("en")
    docs = [nlp.make_doc(t) for t in ["The cat  sat. I don't", "", "x", "東京 🙂 é"]]
    docs[0][0].tag_ = "DT"
    fix_random_seed(0)
    masked, positions = MASKINGS[name](docs, sample_of(docs))
    assert [len(doc) for doc in masked] == [len(doc) for doc in docs]
    assert [t.whitespace_ for d in masked for t in d] == [
        t.whitespace_ for d in docs for t in d
    ]
    assert not masked[0][0].tag_
    pairs = zip(texts(docs), texts(masked), strict=True)
    changed = {i for i, (a, b) in enumerate(pairs) if a != b}
    assert changed
    assert changed <= set(positions.tolist())
    assert positions.dtype == "int32"
    assert (numpy.diff(positions) > 0).all()


@pytest.mark.parametrize("name", sorted(MASKINGS))
@pytest.mark.parametrize("lengths", [(), (0,), (0, 1, 0), (1, 1)])
def test_odd_batches_are_masked(name, lengths):
    docs = numbered(*lengths)
    masked, positions = MASKINGS[name](docs, sample_of(docs))
    assert [len(doc) for doc in masked] == list(lengths)
    assert len(positions) <= sum(lengths)


@pytest.mark.parametrize("name", sorted(MASKINGS))
def test_seed_reproduces_the_masks(name):
    docs = numbered(50, 30)
    results = []
    for _ in range(2):
        fix_random_seed(3)
        masked, positions = MASKINGS[name](docs, sample_of(docs))
        results.append((texts(masked), positions.tolist()))
    assert results[0] == results[1]


def test_mask_shares_are_those_of_the_paper():
    fix_random_seed(0)
    docs = numbered(20_000)
    masked, positions = TokenMasking()(docs, sample_of(docs))
    words = [masked[0][int(i)].text for i in positions]
    kept = [word == f"w{i}" for word, i in zip(words, positions, strict=True)]
    assert len(positions) / 20_000 == pytest.approx(0.15, abs=0.01)
    assert words.count(MASK) / len(words) == pytest.approx(0.8, abs=0.03)
    assert sum(kept) / len(words) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("name", ["token", "span"])
@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0), (1.0, 30)])
def test_mask_rate_bounds(name, rate, expected):
    docs = numbered(10, 0, 19, 1)
    masking = {"token": TokenMasking, "span": SpanMasking}[name](rate)
    assert len(masking(docs, sample_of(docs))[1]) == expected


@pytest.mark.parametrize("lengths", [(3000,), (4,) * 300, (1,) * 300])
@pytest.mark.parametrize("entities", [True, False])
def test_spans_take_the_share_that_was_asked_for(lengths, entities):
    fix_random_seed(0)
    vocab, i, forms = Vocab(), iter(range(sum(lengths))), ["w{}", "Name{}", "9{}"]
    docs = [
        Doc(vocab, words=[forms[(n := next(i)) // 3 % 3].format(n) for _ in range(k)])
        for k in lengths
    ]
    masking, sample = SpanMasking(0.15, entities=entities), sample_of(docs)
    shares = [len(masking(docs, sample)[1]) / sum(lengths) for _ in range(40)]
    assert numpy.mean(shares) == pytest.approx(0.15, abs=0.004)
    assert max(shares) <= 0.15 + 10 / sum(lengths)


def test_one_short_doc_is_masked_at_the_rate_on_average():
    fix_random_seed(0)
    docs = numbered(5)
    masking, sample = SpanMasking(0.2), sample_of(docs)
    counts = [len(masking(docs, sample)[1]) for _ in range(2000)]
    assert numpy.mean(counts) == pytest.approx(1.0, abs=0.08)


def test_span_lengths_are_geometric():
    fix_random_seed(0)
    docs = numbered(30_000)
    lengths = numpy.zeros(12, dtype=int)
    for _ in range(40):
        # So few that spans rarely meet.
        spans = SpanMasking(0.02)._spans(docs)
        lengths += numpy.bincount([e - b for b, e in spans], minlength=12)
    expected = 0.2 * 0.8 ** numpy.arange(10)
    expected[9] = 0.8**9
    assert lengths[[0, 11]].sum() == 0
    assert lengths[1:11] / lengths.sum() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("entities", [True, False])
def test_spans_stay_in_their_doc_and_apart(entities):
    fix_random_seed(0)
    vocab, words = Vocab(), ["x", "New", "York", "City", "x", "x", "x"]
    docs = [Doc(vocab, words=words) for _ in range(200)]
    taken = numpy.zeros(1400, dtype=int)
    for begin, end in SpanMasking(0.6, entities=entities)._spans(docs):
        assert begin // 7 == (end - 1) // 7
        taken[begin:end] += 1
    assert taken.max() == 1


def test_span_is_disguised_as_one():
    fix_random_seed(0)
    docs = numbered(*[4] * 3000)
    masking = SpanMasking(0.1, 0.4, 0.3, stop=1e-9, max_length=4)
    before = texts(docs)
    masked, positions = masking(docs, sample_of(docs))
    after = texts(masked)
    ways = {}
    for i in positions.tolist():
        way = "mask" if after[i] == MASK else "random"
        way = "kept" if after[i] == before[i] else way
        ways.setdefault(i // 4, set()).add(way)
    # Two spans meet in few docs.
    alone = [next(iter(way)) for way in ways.values() if len(way) == 1]
    assert len(alone) / len(ways) > 0.8
    assert alone.count("mask") / len(alone) == pytest.approx(0.4, abs=0.08)
    assert alone.count("random") / len(alone) == pytest.approx(0.3, abs=0.08)
    # Each token of a random span is another word.
    words = [after[i] for i in positions.tolist() if after[i] != MASK]
    assert len(set(words)) > 0.8 * len(words)


def test_entity_runs_have_capitals_or_digits():
    vocab = Vocab()
    words = ["in", "New", "York", "on", "3", "May", "2020", ",", "the", "A4"]
    words += ["iPhone", "B"]
    docs = [Doc(vocab, words=words), Doc(vocab), Doc(vocab, words=["C", "x"])]
    first, end = entity_runs(docs, 10)
    runs = sorted({(a, b) for a, b in zip(first, end, strict=True) if a >= 0})
    assert runs == [(1, 3), (4, 7), (9, 10), (11, 12), (12, 13)]
    # A headline is not one.
    first, _ = entity_runs([Doc(vocab, words=["A"] * 11 + ["x"] + ["B"] * 10)], 10)
    assert (first >= 0).tolist() == [False] * 12 + [True] * 10


def test_start_in_an_entity_takes_all_of_it():
    fix_random_seed(0)
    docs = [Doc(Vocab(), words=["x", "New", "York", "City", "x", "x"] * 300)]
    sample = sample_of(docs)
    runs = SpanMasking(0.05, stop=1.0, entities=True)(docs, sample)[1]
    single = SpanMasking(0.05, stop=1.0)(docs, sample)[1]
    names = [(b, e) for b, e in runs_of(docs, runs) if b % 6 in (1, 2, 3)]
    assert len(names) > 10
    assert {(b % 6, e - b) for b, e in names} == {(1, 3)}
    assert {e - b for b, e in runs_of(docs, single)} <= {1, 2}


BUILDERS = {
    "token_masking.v1": build_token_masking_v1,
    "span_masking.v1": build_span_masking_v1,
}


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_rate": 0.0}, "mask_rate is 0.0, but it has to be above 0"),
        ({"mask_rate": float("nan")}, "mask_rate is nan"),
        ({"mask_rate": 1.5}, "mask_rate is 1.5"),
        ({"mask_share": -0.1}, "mask_share is -0.1, but it has to be 0 to 1"),
        ({"random_share": 2}, "random_share is 2"),
        ({"mask_share": 0.8, "random_share": 0.3}, "their sum has to be 1 or less"),
    ],
)
def test_rate_outside_is_named(name, settings, message):
    with pytest.raises(ValueError, match=f"^{name}: .*{message}"):
        BUILDERS[name](**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stop": 0.0}, "stop is 0.0"),
        ({"stop": 1.1}, "stop is 1.1"),
        ({"max_length": 0}, "max_length is 0, but 1 or more"),
    ],
)
def test_span_setting_outside_is_named(settings, message):
    with pytest.raises(ValueError, match=f"^span_masking.v1: {message}"):
        build_span_masking_v1(**settings)


def test_builders_pass_their_settings_on():
    assert build_token_masking_v1() == TokenMasking(0.15, 0.8, 0.1)
    assert build_token_masking_v1(0.3, 0.5, 0.5) == TokenMasking(0.3, 0.5, 0.5)
    assert build_span_masking_v1() == SpanMasking(0.15, 0.8, 0.1, 0.2, 10, False)
    settings = (0.3, 0.7, 0.3, 0.5, 4, True)
    assert build_span_masking_v1(*settings) == SpanMasking(*settings)
