"""Targets: their scale, and what stays through kills, damage and limits."""

import os
import random
import signal
import threading
import time

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from tqdm import tqdm

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.teacher import store as store_module
from spacy_embedkit.pretraining.teacher import targets as targets_module
from spacy_embedkit.pretraining.teacher.database import DATABASE
from spacy_embedkit.pretraining.teacher.reduction import (
    Reduction,
    ReductionSettings,
    fit,
)
from spacy_embedkit.pretraining.teacher.targets import Targets, hash_doc
from spacy_embedkit.pretraining.teacher.transformer_teacher import TeacherSettings

WIDTH = 6
PLAIN = ReductionSettings()


class LoudTeacher:
    """Rows by the tokens' hashes and the docs of the call; notes what it is asked."""

    identity = "loud"
    width = WIDTH

    settings = TeacherSettings("some/loud")

    def __init__(self):
        self.asked = []

    def __call__(self, docs, advance=lambda n: None):
        self.asked += [doc.text for doc in docs]
        advance(sum(map(len, docs)))
        # As in batches, the last digits depend on the docs that are encoded together.
        noise = 1e-3 * (len(docs) + sum(map(len, docs)) % 7)
        return [self.rows(doc) + numpy.float32(noise) for doc in docs]

    def rows(self, doc):
        rows = numpy.full((len(doc), WIDTH), numpy.nan, dtype="f")
        for row, token in zip(rows, doc, strict=True):
            if token.text != "?":
                seed = numpy.random.default_rng(token.orth % 2**32)
                row[:] = seed.normal(size=WIDTH) * [1, 2, 3, 4, 5, 0]
        return rows


NLP = spacy.blank("en")


def make_docs(n, start=0):
    return [
        NLP.make_doc(f"doc {i} has {i % 7} words ?" + " x" * (i % 5))
        for i in range(start, start + n)
    ]


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(targets_module, "GROUP_WORDS", 50)


def build(folder=None, settings=PLAIN, max_bytes=1 << 30):
    return Targets(LoudTeacher(), settings, folder, max_bytes)


# The reduction


def random_rows(n=500, width=8):
    rng = numpy.random.default_rng(0)
    return (rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + 3).astype(
        "f"
    )


def test_standardised_targets_have_mean_0_and_variance_1():
    targets = fit(random_rows(), PLAIN)(random_rows()).astype("d")
    assert targets.shape == (500, 8)
    assert_allclose(targets.mean(axis=0), 0, atol=1e-3)
    assert_allclose(targets.var(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize(("width", "expected"), [(None, 8), (3, 3), (8, 8)])
@pytest.mark.parametrize("whiten", [True, False])
def test_components_are_uncorrelated_and_scaled(width, expected, whiten):
    settings = ReductionSettings("pca", width, whiten)
    targets = fit(random_rows(), settings)(random_rows()).astype("d")
    assert targets.shape == (500, expected)
    covariance = numpy.cov(targets.T, bias=True)
    variances = numpy.diag(covariance)
    assert_allclose(covariance, numpy.diag(variances), atol=2e-3)
    assert_allclose(variances.mean(), 1, atol=2e-3)
    if whiten:
        assert_allclose(variances, 1, atol=2e-3)
    else:
        values = numpy.linalg.eigvalsh(numpy.cov(random_rows().T))[::-1][:expected]
        assert_allclose(variances, values / values.mean(), rtol=1e-2)


@pytest.mark.parametrize(
    "settings", [PLAIN, ReductionSettings("pca"), ReductionSettings("pca", 2, True)]
)
@pytest.mark.parametrize("n", [1, 2])
def test_directions_without_variance_become_zeros(settings, n):
    rows = numpy.ones((n, 4), "f")
    targets = fit(rows, settings)(rows)
    assert_allclose(targets, numpy.zeros_like(targets))


def test_targets_beyond_float16_are_clipped_and_nan_stays():
    rows = numpy.asarray([[1e9, -1e9], [numpy.nan, numpy.nan]], "f")
    targets = Reduction(numpy.zeros(2, "f"), numpy.ones(2, "f"))(rows)
    assert targets.tolist()[0] == [65504, -65504]
    assert numpy.isnan(targets[1]).all()


# Targets


@pytest.mark.parametrize("is_kept", [True, False])
def test_targets_are_in_the_order_of_the_docs(tmp_path, is_kept):
    docs = make_docs(9)
    docs = [docs[3], spacy.blank("en").make_doc(""), *docs, docs[3], docs[0]]
    targets = build(tmp_path if is_kept else None)
    targets.prepare(iter(docs))
    found = targets(docs)
    rows = numpy.concatenate([targets.teacher.rows(doc) for doc in docs])
    assert found.dtype == "float32"
    assert found.shape == rows.shape
    is_known = ~numpy.isnan(rows[:, 0])
    assert (numpy.isnan(found).all(axis=1) == ~is_known).all()
    wanted = targets.reduction(rows[is_known]).astype("f")
    assert_allclose(found[is_known], wanted, atol=0.05)


def test_kept_targets_need_no_teacher(tmp_path):
    docs = make_docs(20)
    first = build(tmp_path)
    first.prepare(docs)
    wanted = first(docs)
    for seen in (first, build(tmp_path)):
        seen.teacher.asked.clear()
        assert_same(seen(docs), wanted)
        seen.prepare(docs)
        assert not seen.teacher.asked


def test_without_preparation_the_first_batch_is_fitted_and_the_rest_kept(tmp_path):
    docs = make_docs(30)
    targets = build(tmp_path)
    first = [targets(docs[i : i + 10]) for i in range(0, 30, 10)]
    again = [targets(docs[i : i + 10]) for i in range(0, 30, 10)]
    assert len(targets.teacher.asked) == 30
    for a, b in zip(first, again, strict=True):
        assert_same(a, b)
    known = first[0][~numpy.isnan(first[0][:, 0])]
    assert_allclose(known[:, :5].var(axis=0), 1, atol=1e-2)


def test_streamed_targets_are_computed_each_time_with_one_fit():
    docs = make_docs(10)
    targets = build()
    assert_same(targets(docs), targets(docs))
    assert len(targets.teacher.asked) == 20
    before = targets.reduction
    targets.prepare(docs)
    assert targets.reduction is before


def test_preparation_without_a_store_reads_only_what_it_fits(small_groups):
    docs = iter(make_docs(100))
    build().prepare(docs)
    assert 80 < len(list(docs)) < 95


def test_docs_without_rows_have_no_targets(tmp_path):
    nlp = spacy.blank("en")
    targets = build(tmp_path)
    assert numpy.isnan(targets([nlp.make_doc("? ?")])).all()
    assert targets.reduction is None
    targets.prepare([nlp.make_doc("?"), nlp.make_doc("")])
    assert targets.reduction is None
    assert not numpy.isnan(targets([nlp.make_doc("word")])).any()


def test_hash_depends_on_words_and_spaces():
    nlp = spacy.blank("en")
    docs = [
        spacy.tokens.Doc(nlp.vocab, words, spaces)
        for words in (["a", "b"], ["b", "a"], ["ab"], ["a", "c"])
        for spaces in ([True] * len(words), [False] * len(words))
    ]
    assert len({hash_doc(doc) for doc in docs}) == len(docs)
    other = spacy.blank("de").make_doc("a b")
    assert hash_doc(other) == hash_doc(nlp.make_doc("a b"))


def test_width_beyond_the_teacher_is_named():
    with pytest.raises(InputError, match="width is 7, but some/loud is 6 wide"):
        build(settings=ReductionSettings("pca", 7))


def test_settings_have_folders_of_their_own(tmp_path):
    for settings in (PLAIN, ReductionSettings("pca"), ReductionSettings("pca", 3)):
        build(tmp_path, settings).prepare(make_docs(3))
    assert len(list(tmp_path.iterdir())) == 3


# Limits and damage


def test_limit_is_kept_and_reported_once(tmp_path, small_groups, caplog, monkeypatch):
    monkeypatch.setattr(targets_module.logger, "propagate", True)
    docs = make_docs(40)
    targets = build(tmp_path, max_bytes=200 * 2 * WIDTH)
    targets.prepare(iter(docs))
    kept = [doc for doc in docs if hash_doc(doc) in targets.store]
    assert 180 < sum(map(len, kept)) <= 200
    targets(docs)
    assert len(targets(docs)) == sum(map(len, docs))
    assert len(targets.store) == len(kept) < 40
    messages = [record.getMessage() for record in caplog.records]
    assert len([m for m in messages if "max_cache_gb" in m]) == 1


def test_damaged_targets_are_computed_again_and_then_kept(tmp_path):
    docs = make_docs(10)
    first = build(tmp_path)
    first.prepare(docs)
    wanted = first(docs)
    key = hash_doc(docs[3])
    damaged = first.store.read([key])[key].tobytes()
    first.store.close()
    [path] = tmp_path.rglob(DATABASE)
    data = path.read_bytes()
    assert damaged in data
    path.write_bytes(data.replace(damaged, bytes(len(damaged))))
    again = build(tmp_path)
    for _ in range(2):
        assert_allclose(again(docs), wanted, atol=0.05)
        assert again.teacher.asked == [docs[3].text]


@pytest.mark.parametrize(
    "data", [b"not a database", b"SQLite format 3\0" + bytes(9999)]
)
def test_damaged_database_is_set_aside_and_made_anew(
    tmp_path, caplog, monkeypatch, data
):
    monkeypatch.setattr(targets_module.logger, "propagate", True)
    docs = make_docs(10)
    first = build(tmp_path)
    fingerprint = first.prepare(docs)
    wanted = first(docs)
    first.store.close()
    [path] = tmp_path.rglob(DATABASE)
    path.write_bytes(data)
    again = build(tmp_path)
    assert again.prepare(docs) == fingerprint
    assert_same(again(docs), wanted)
    assert path.with_name(f"damaged.{DATABASE}").read_bytes() == data
    assert len(build(tmp_path).store) == 10
    [message] = [record.getMessage() for record in caplog.records]
    assert "targets.sqlite is damaged" in message


def test_damage_or_a_lock_while_it_is_used_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "TIMEOUT", 0.01)
    docs = make_docs(20)
    wanted = build(tmp_path / "good")
    wanted.prepare(docs[:10])
    targets = build(tmp_path / "bad")
    targets.prepare(docs[:10])
    targets.store._database.execute("DROP TABLE targets")
    assert_allclose(targets(docs), wanted(docs), atol=0.05)
    assert targets.store is not None
    targets = build(tmp_path / "good")
    locking = build(tmp_path / "good")
    locking.store._database.execute("BEGIN IMMEDIATE")
    assert_same(targets(docs), wanted(docs))
    more = make_docs(30)
    assert len(targets(more)) == sum(map(len, more))
    assert targets.store is None


def test_a_store_that_is_damaged_in_use_is_replaced(tmp_path):
    docs = make_docs(10)
    targets = build(tmp_path)
    fingerprint = targets.prepare(docs)
    wanted = targets(docs)
    [path] = tmp_path.rglob(DATABASE)
    path.write_bytes(b"not a database" * 999)
    assert_same(targets(docs), wanted)
    assert targets.store is not None
    assert build(tmp_path).prepare(docs) == fingerprint


@pytest.mark.parametrize("width", [1, 4, 9])
def test_reduction_of_another_width_is_fitted_anew(tmp_path, width):
    docs = make_docs(10)
    first = build(tmp_path)
    other = Reduction(numpy.zeros(width, "f"), numpy.zeros((width, WIDTH), "f"))
    first.store.set_reduction(other)
    fingerprint = build().prepare(docs)
    assert build(tmp_path).prepare(docs) == fingerprint


# Interruptions


def test_stopped_preparation_resumes_with_the_same_bits(tmp_path, small_groups):
    docs = make_docs(60)
    docs += docs[5:20] + make_docs(20, 100)
    uninterrupted = build(tmp_path / "uninterrupted")
    uninterrupted.prepare(docs)
    for stop in (0, 9, 25, 70, len(docs) - 1):
        folder = tmp_path / f"stopped{stop}"
        for end in (stop, stop + 9):
            with pytest.raises(KeyboardInterrupt):
                build(folder).prepare(interrupted(docs, end))
        resumed = build(folder)
        resumed.prepare(docs)
        assert_same(resumed(docs), uninterrupted(docs))
        assert len(resumed.store) == len(uninterrupted.store)


def interrupted(docs, n):
    yield from docs[:n]
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_preparation_resumes_with_the_same_bits(tmp_path, small_groups):
    docs = make_docs(1500)
    uninterrupted = build(tmp_path / "uninterrupted")
    uninterrupted.prepare(docs)
    moments, sizes = random.Random(0), []
    for _ in range(12):
        pid = os.fork()
        if not pid:
            try:
                # One of its own: killed with that of all processes, it would keep it.
                tqdm.set_lock(threading.RLock())
                build(tmp_path / "killed").prepare(docs)
            finally:
                os._exit(0)
        time.sleep(moments.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        sizes.append(len(build(tmp_path / "killed").store))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3
    resumed = build(tmp_path / "killed")
    resumed.prepare(docs)
    assert_same(resumed(docs), uninterrupted(docs))


def assert_same(a, b):
    assert a.tobytes() == b.tobytes()
