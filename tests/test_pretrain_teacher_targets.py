"""Targets: their scale, and what a store keeps through kills, damage and limits."""

import os
import random
import shutil
import signal
import threading
import time

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from tqdm import tqdm

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.teacher import targets as targets_module
from spacy_embedkit.pretraining.teacher.reduction import (
    Reduction,
    ReductionSettings,
    fit,
    load_reduction,
)
from spacy_embedkit.pretraining.teacher.store import TargetStore
from spacy_embedkit.pretraining.teacher.targets import Targets, hash_doc
from spacy_embedkit.pretraining.teacher.transformer_teacher import TeacherSettings

WIDTH = 6
PLAIN = ReductionSettings()


class LoudTeacher:
    """Rows by the tokens' hashes and the docs beside them; counts what it is asked."""

    identity = "loud"
    width = WIDTH

    settings = TeacherSettings("some/loud")

    def __init__(self):
        self.asked = []

    def __call__(self, docs, advance=lambda n: None):
        self.asked += [doc.text for doc in docs]
        advance(sum(map(len, docs)))
        # As in batches, the last digits depend on what is encoded together.
        noise = 1e-3 * (len(docs) + sum(map(len, docs)) % 7)
        return [self.rows(doc) + numpy.float32(noise) for doc in docs]

    def rows(self, doc):
        rows = numpy.full((len(doc), WIDTH), numpy.nan, dtype="f")
        for row, token in zip(rows, doc, strict=True):
            if token.text != "?":
                seed = numpy.random.default_rng(token.orth % 2**32)
                row[:] = seed.normal(size=WIDTH) * [1, 2, 3, 4, 5, 0]
        return rows


def make_docs(n, start=0):
    nlp = spacy.blank("en")
    return [
        nlp.make_doc(f"doc {i} has {i % 7} words ?" + " x" * (i % 5))
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


@pytest.mark.parametrize("settings", [PLAIN, ReductionSettings("pca", 3)])
def test_reduction_is_read_back_and_the_first_one_stays(tmp_path, settings):
    path, width = tmp_path / "x.npz", settings.out_width(8)
    first = fit(random_rows(), settings)
    first.save(path)
    fit(random_rows(99), settings).save(path)
    found = load_reduction(path, 8, width)
    assert numpy.array_equal(found.mean, first.mean)
    assert numpy.array_equal(found.axes, first.axes)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
    with pytest.raises(InputError, match="is for other widths"):
        load_reduction(path, 9, width)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="is damaged"):
        load_reduction(path, 8, width)


# Targets


@pytest.mark.parametrize("is_kept", [True, False])
def test_targets_stand_in_the_order_of_the_docs(tmp_path, is_kept):
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


def test_docs_that_nothing_is_known_of_have_no_targets(tmp_path):
    nlp = spacy.blank("en")
    targets = build(tmp_path)
    assert numpy.isnan(targets([nlp.make_doc("? ?")])).all()
    assert targets.reduction is None
    targets.prepare([nlp.make_doc("?"), nlp.make_doc("")])
    assert targets.reduction is None
    assert not numpy.isnan(targets([nlp.make_doc("word")])).any()


def test_hash_tells_words_and_spaces_apart():
    nlp = spacy.blank("en")
    docs = [
        spacy.tokens.Doc(nlp.vocab, words, spaces)
        for words in (["a", "b"], ["b", "a"], ["ab"], ["a", "c"])
        for spaces in ([True] * len(words), [False] * len(words))
    ]
    assert len({hash_doc(doc) for doc in docs}) == len(docs)
    other = spacy.blank("de").make_doc("a b")
    assert hash_doc(other) == hash_doc(nlp.make_doc("a b"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [(ReductionSettings("pca", 7), "width is 7, but some/loud is 6 wide")],
)
def test_width_beyond_the_teacher_is_named(settings, words):
    with pytest.raises(InputError, match=words):
        build(settings=settings)


def test_settings_have_folders_of_their_own(tmp_path):
    for settings in (PLAIN, ReductionSettings("pca"), ReductionSettings("pca", 3)):
        build(tmp_path, settings).prepare(make_docs(3))
    assert len(list(tmp_path.iterdir())) == 3


# Limits and damage


def test_bound_is_kept_and_said_once(tmp_path, small_groups, caplog, monkeypatch):
    monkeypatch.setattr(targets_module.logger, "propagate", True)
    docs = make_docs(40)
    targets = build(tmp_path, max_bytes=200 * 2 * WIDTH)
    targets.prepare(iter(docs))
    rows = sum(path.stat().st_size for path in tmp_path.rglob("*.rows"))
    assert 180 * 2 * WIDTH < rows <= 200 * 2 * WIDTH
    kept = len(targets.store)
    targets(docs)
    found = targets(docs)
    assert len(found) == sum(map(len, docs))
    assert len(targets.store) == kept < 40
    said = [r.getMessage() for r in caplog.records if "max_cache_gb" in r.getMessage()]
    assert len(said) == 1
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.rows")) == rows


def store_with(tmp_path, n=10, width=4):
    store = TargetStore(tmp_path, width, 1 << 30)
    keys = numpy.arange(n, dtype="uint64") * 7919
    rows = [numpy.full((i % 4, width), i, "float16") for i in range(n)]
    for start in range(0, n, 3):
        store.add(keys[start : start + 3], rows[start : start + 3])
    store.close()
    return keys, rows


def reread(tmp_path, keys, rows, width=4):
    """Return which docs are there, once all that are have been compared."""
    store = TargetStore(tmp_path, width, 1 << 30)
    places = store.find(keys)
    for place, wanted in zip(places, rows, strict=True):
        if place >= 0:
            assert numpy.array_equal(store.read(place), wanted)
    return (places >= 0).tolist()


@pytest.mark.parametrize("name", ["0.index", "0.rows"])
def test_store_cut_at_any_byte_has_what_is_whole_and_goes_on(tmp_path, name):
    keys, rows = store_with(tmp_path / "whole")
    size = (tmp_path / "whole" / name).stat().st_size
    n_whole = set()
    for cut in range(0, size + 1, 3):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", folder)
        with (folder / name).open("r+b") as file:
            file.truncate(cut)
        found = reread(folder, keys, rows)
        n = sum(found)
        assert found == [True] * n + [False] * (10 - n)
        n_whole.add(n)
        store = TargetStore(folder, 4, 1 << 30)
        store.add(keys[n:], rows[n:])
        store.close()
        assert all(reread(folder, keys, rows))
        shutil.rmtree(folder)
    assert {0, 3, 6, 9} <= n_whole


def test_damaged_rows_are_computed_again_and_then_kept(tmp_path):
    docs = make_docs(10)
    first = build(tmp_path)
    first.prepare(docs)
    wanted = first(docs)
    first.store.close()
    [path] = tmp_path.rglob("0.rows")
    data = bytearray(path.read_bytes())
    data[100] ^= 64
    path.write_bytes(data)
    again = build(tmp_path)
    assert_allclose(again(docs), wanted, atol=0.05)
    assert len(again.teacher.asked) == 1
    assert_allclose(again(docs), wanted, atol=0.05)
    assert len(again.teacher.asked) == 1


@pytest.mark.parametrize("place", [0, 5, 30, -2])
def test_damaged_record_is_left_out_with_all_behind_it(tmp_path, place):
    keys, rows = store_with(tmp_path)
    data = bytearray((tmp_path / "0.index").read_bytes())
    data[place] ^= 1
    (tmp_path / "0.index").write_bytes(data)
    assert sum(reread(tmp_path, keys, rows)) == (9 if place < 0 else 0)


def test_two_writers_do_not_meet(tmp_path):
    keys, rows = store_with(tmp_path, 20)
    stores = [TargetStore(tmp_path / "two", 4, 1 << 30) for _ in range(2)]
    for i in range(0, 20, 4):
        for store, start in zip(stores, (i, i + 2), strict=True):
            store.add(keys[start : start + 2], rows[start : start + 2])
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "0.index", "0.rows", "1.index", "1.rows",
    ]  # fmt: skip
    assert all(reread(tmp_path / "two", keys, rows))
    for store in stores:
        store.close()
    late = TargetStore(tmp_path / "two", 4, 1 << 30)
    late.add(keys[:1] + numpy.uint64(1), rows[:1])
    assert not (tmp_path / "two" / "2.index").exists()


def test_failed_write_is_one_line_and_the_store_goes_on(tmp_path, monkeypatch):
    keys, rows = store_with(tmp_path)
    store = TargetStore(tmp_path, 4, 1 << 30)
    with monkeypatch.context() as patch:

        def full(file):
            raise OSError(28, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device; check free"):
            store.add(keys[2:4] + numpy.uint64(1), rows[2:4])
    store.add(keys[:2] + numpy.uint64(1), rows[:2])
    store.close()
    assert all(reread(tmp_path, keys, rows))
    assert all(reread(tmp_path, keys[:2] + numpy.uint64(1), rows[:2]))


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match=r"x.*; check free space and permissions"):
        TargetStore(tmp_path / "x" / "y", 4, 1)


# Interruptions


def test_stopped_preparation_goes_on_bit_by_bit(tmp_path, small_groups):
    docs = make_docs(60)
    docs += docs[5:20] + make_docs(20, 100)
    whole = build(tmp_path / "whole")
    whole.prepare(docs)
    for stop in range(0, len(docs), 7):
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
def test_killed_preparation_goes_on_bit_by_bit(tmp_path, small_groups):
    docs = make_docs(1500)
    whole = build(tmp_path / "whole")
    whole.prepare(docs)
    moments, sizes = random.Random(0), []
    for _ in range(20):
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
