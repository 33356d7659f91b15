"""Targets: their scale, and what a store keeps through kills, damage and limits."""

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
from spacy_embedkit.pretraining.teacher.reduction import (
    Reduction,
    ReductionSettings,
    fit,
)
from spacy_embedkit.pretraining.teacher.store import DATABASE, TargetStore
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


# The store: limits and damage


def open_store(folder, width=4, settings="some", max_bytes=1 << 30):
    return TargetStore(folder, width, settings, max_bytes)


def some_targets(n=10, width=4):
    keys = [(i * 7919 + 2**63) % 2**64 for i in range(n)]
    return {key: numpy.full((i % 4, width), i, "f2") for i, key in enumerate(keys)}


def assert_holds(store, targets):
    found = store.read(list(targets))
    assert found.keys() == targets.keys()
    assert all(numpy.array_equal(found[key], targets[key]) for key in found)


def break_database(folder, old, new):
    """Change the first such bytes of a database."""
    [path] = folder.rglob(DATABASE)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


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


@pytest.mark.parametrize("settings", [PLAIN, ReductionSettings("pca", 3)])
def test_reduction_is_read_back_and_the_first_one_stays(tmp_path, settings):
    store = open_store(tmp_path, settings.out_width(8))
    assert store.reduction is None
    first = fit(random_rows(), settings)
    store.set_reduction(first)
    store.set_reduction(fit(random_rows(99), settings))
    store.close()
    found = open_store(tmp_path, settings.out_width(8)).reduction
    assert numpy.array_equal(found.mean, first.mean)
    assert numpy.array_equal(found.axes, first.axes)


def test_two_stores_of_a_folder_read_what_the_other_adds(tmp_path):
    stores = [open_store(tmp_path) for _ in range(2)]
    targets = some_targets(20)
    for i, (key, array) in enumerate(targets.items()):
        stores[i % 2].add({key: array})
    for store in stores:
        assert_holds(store, targets)
    assert len(stores[0]) == 20


def test_targets_of_a_doc_that_is_added_twice_count_once(tmp_path):
    targets = some_targets()
    n_bytes = sum(array.nbytes for array in targets.values())
    for _ in range(3):
        store = open_store(tmp_path, max_bytes=n_bytes)
        store.add(targets)
        assert not store.is_full
    store.add({1: numpy.zeros((1, 4), "f2")})
    assert store.is_full
    assert_holds(store, targets)


def test_failed_write_is_one_line_and_the_store_goes_on(tmp_path):
    store = open_store(tmp_path)
    targets = some_targets()
    store.add(targets)
    [[n_pages]] = store._database.execute("PRAGMA page_count")
    store._database.execute(f"PRAGMA max_page_count = {n_pages}")
    large = {1: numpy.zeros((9000, 4), "f2")}
    with pytest.raises(InputError, match=r"disk is full; check free space and perm"):
        store.add(large)
    assert_holds(store, targets)
    store._database.execute("PRAGMA max_page_count = 1000000")
    store.add(large)
    assert_holds(store, targets | large)


def test_interrupted_write_leaves_nothing_and_the_store_goes_on(tmp_path):
    class Interrupted(dict):
        def items(self):
            yield from super().items()
            raise KeyboardInterrupt

    store = open_store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.add(Interrupted(some_targets()))
    assert not len(store)
    store.add(some_targets())
    assert_holds(store, some_targets())


def test_damaged_targets_are_computed_again_and_then_kept(tmp_path):
    docs = make_docs(10)
    first = build(tmp_path)
    first.prepare(docs)
    wanted = first(docs)
    damaged = first.store.read([hash_doc(docs[3])])[hash_doc(docs[3])].tobytes()
    first.store.close()
    break_database(tmp_path, damaged, bytes(len(damaged)))
    again = build(tmp_path)
    for _ in range(2):
        assert_allclose(again(docs), wanted, atol=0.05)
        assert again.teacher.asked == [docs[3].text]


def test_damaged_reduction_is_named(tmp_path):
    store = open_store(tmp_path, 8)
    reduction = fit(random_rows(), PLAIN)
    store.set_reduction(reduction)
    store.close()
    break_database(tmp_path, reduction.mean.tobytes(), bytes(32))
    with pytest.raises(InputError, match=r"sqlite is damaged .*; delete the folder"):
        _ = open_store(tmp_path, 8).reduction


@pytest.mark.parametrize("old", [b"SQLite format 3", b"CREATE TABLE targets"])
def test_damaged_database_is_named(tmp_path, old):
    open_store(tmp_path).close()
    break_database(tmp_path, old, b"x" * len(old))
    with pytest.raises(InputError, match=r"sqlite is damaged .*; delete the folder"):
        open_store(tmp_path)


def test_other_settings_are_refused(tmp_path):
    open_store(tmp_path).close()
    for settings in ({"width": 5}, {"settings": "other"}):
        with pytest.raises(InputError, match=r"was made with other settings .*some, 4"):
            open_store(tmp_path, **settings)


def test_other_formats_are_refused(tmp_path):
    (tmp_path / "0.index").touch()
    with pytest.raises(InputError, match=r"another format now, .*; delete the folder"):
        open_store(tmp_path)
    store = open_store(tmp_path / "later")
    store._database.execute("PRAGMA user_version = 2")
    store.close()
    with pytest.raises(InputError, match="has format 2, but 1 is read; delete the fo"):
        open_store(tmp_path / "later")


def test_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match=r"x.*; check free space and permissions"):
        open_store(tmp_path / "x" / "y")
    (tmp_path / "y" / DATABASE).mkdir(parents=True)
    with pytest.raises(InputError, match=r"unable to open .*; check free space and"):
        open_store(tmp_path / "y")


def test_error_of_another_process_that_writes_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "TIMEOUT", 0.01)
    first, second = open_store(tmp_path), open_store(tmp_path)
    first._database.execute("BEGIN IMMEDIATE")
    with pytest.raises(InputError, match="database is locked"):
        second.add(some_targets())
    first._database.execute("COMMIT")
    second.add(some_targets())
    assert_holds(first, some_targets())


# Interruptions


def test_stopped_preparation_resumes_with_the_same_bits(tmp_path, small_groups):
    docs = make_docs(60)
    docs += docs[5:20] + make_docs(20, 100)
    whole = build(tmp_path / "whole")
    whole.prepare(docs)
    for stop in (0, 9, 25, 70, len(docs) - 1):
        folder = tmp_path / f"stopped{stop}"
        for end in (stop, stop + 9):
            with pytest.raises(KeyboardInterrupt):
                build(folder).prepare(interrupted(docs, end))
        resumed = build(folder)
        resumed.prepare(docs)
        assert_same(resumed(docs), whole(docs))
        assert len(resumed.store) == len(whole.store)


def interrupted(docs, n):
    yield from docs[:n]
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_preparation_resumes_with_the_same_bits(tmp_path, small_groups):
    docs = make_docs(1500)
    whole = build(tmp_path / "whole")
    whole.prepare(docs)
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
    assert_same(resumed(docs), whole(docs))


def assert_same(a, b):
    assert a.tobytes() == b.tobytes()
