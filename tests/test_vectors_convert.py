"""Conversion: what each setting does, and that it is all or nothing."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors import nearest
from spacy_embedkit.vectors.build.convert import ConvertSettings, convert
from spacy_embedkit.vectors.build.npy import NpyWriter
from spacy_embedkit.vectors.build.quantise import learn_centroids, to_codes, to_int8
from spacy_embedkit.vectors.rows import STORES, part_starts
from spacy_embedkit.vectors.sources import open_source

from .helpers.vector_tables import (
    WORDS,
    make_folder,
    make_ngram_source,
    make_rows,
    make_source,
)


def load_vectors(folder):
    return spacy.load(folder).vocab.vectors


def test_a_report_says_what_was_read(tmp_path):
    report = convert(make_source(name="mine"), tmp_path / "out", "en")
    assert report.shape == (9, 12)
    assert report.n_keys == 9
    assert report.format == "a list"
    assert load_vectors(tmp_path / "out").name == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name != "out"]


def test_truncating_keeps_the_first_rows(tmp_path):
    vectors = load_vectors(make_folder(tmp_path / "out", truncate=5))
    assert_array_equal(vectors.get_batch(WORDS[:5]), make_rows()[:5])
    assert not vectors.get_batch(WORDS[5:]).any()
    assert vectors.n_keys == 5


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_pruning_gives_the_others_the_nearest_row(tmp_path, block, monkeypatch):
    monkeypatch.setattr(nearest, "BLOCK", block)
    vectors = load_vectors(make_folder(tmp_path / "out", prune=4))
    rows = make_rows()
    unit = rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
    expected = numpy.argmax(unit @ unit[:4].T, axis=1)
    assert_array_equal(vectors.find(keys=WORDS), expected)
    assert_array_equal(vectors.get_batch(WORDS), rows[expected])
    assert vectors.shape == (4, 12)
    assert vectors.find(row=2) == vectors.strings["sat"]


def test_forms_of_pruned_words_go_where_these_go(tmp_path):
    vectors = load_vectors(make_folder(tmp_path / "out", prune=4, forms=True))
    for word in WORDS[4:8]:
        assert vectors.find(key=word.upper()) == vectors.find(key=word)


def test_normalised_rows_have_length_one(tmp_path):
    rows = make_rows()
    rows[3] = 0
    folder = make_folder(tmp_path / "out", make_source(rows), normalise=True)
    norms = numpy.linalg.norm(load_vectors(folder).get_batch(WORDS), axis=1)
    assert_allclose(norms, [1, 1, 1, 0, 1, 1, 1, 1, 1], atol=1e-6)


def test_forms_share_the_row_unless_they_have_one(tmp_path):
    source = make_source(make_rows(3), ["cat", "Cat", "mat"])
    vectors = load_vectors(make_folder(tmp_path / "out", source, forms=True))
    asked = ["cat", "Cat", "CAT", "Mat", "MAT", "mAT"]
    assert vectors.find(keys=asked).tolist() == [0, 1, 0, 2, 2, -1]
    assert vectors.n_keys == 6


@pytest.mark.parametrize("places", [[4], [4, 8], [5, 6]])
def test_a_repeated_word(tmp_path, places):
    words = list(WORDS)
    for place in places:
        words[place] = "cat"
    rows = make_rows()
    with pytest.raises(InputError, match=rf"line {places[0] + 1}: .*'cat'.*\(row 2\)"):
        make_folder(tmp_path / "out", make_source(words=words))
    first = load_vectors(
        make_folder(tmp_path / "out", make_source(words=words), duplicates="first")
    )
    kept = [word for i, word in enumerate(words) if i not in places]
    assert_array_equal(first.get_batch(kept), numpy.delete(rows, places, axis=0))
    mean = load_vectors(
        make_folder(tmp_path / "out", make_source(words=words), duplicates="mean")
    )
    assert_allclose(mean["cat"], rows[[1, *places]].mean(axis=0), atol=1e-6)
    assert_allclose(mean.table.mean, mean.data.mean(axis=0), atol=1e-6)


def test_a_word_repeated_in_one_batch(tmp_path):
    # Rows 5 to 8 come in one batch.
    words = [*WORDS[:4], "zed", "zed", "zed", "yes", "no"]
    source = make_source(words=words)
    folder = make_folder(tmp_path / "out", source, duplicates="first")
    vectors = load_vectors(folder)
    kept = [0, 1, 2, 3, 4, 7, 8]
    asked = [words[i] for i in kept]
    assert_array_equal(vectors.get_batch(asked), make_rows()[kept])
    assert (len(vectors), vectors.n_keys) == (7, 7)


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf])
def test_rows_that_are_not_finite(tmp_path, bad):
    rows = make_rows()
    rows[5, 3] = bad
    with pytest.raises(InputError, match=r"line 6: holds NaN or infinity.*--skip-bad"):
        make_folder(tmp_path / "out", make_source(rows))
    assert not (tmp_path / "out").exists()
    report = convert(
        make_source(rows), tmp_path / "out", "en", ConvertSettings(skip_bad=True)
    )
    assert report.shape == (8, 12)
    assert report.notes == ["1 rows with NaN or infinity left out"]
    assert "Straße" not in load_vectors(tmp_path / "out")


@pytest.mark.parametrize("word", ["", "a\0b"])
def test_words_that_cannot_be_looked_up(tmp_path, word):
    words = [*WORDS[:6], word, *WORDS[7:]]
    with pytest.raises(InputError, match="line 7: the word is empty or holds a NUL"):
        make_folder(tmp_path / "out", make_source(words=words))
    folder = make_folder(tmp_path / "out", make_source(words=words), skip_bad=True)
    assert load_vectors(folder).n_keys == 8


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no usable rows"):
        make_folder(tmp_path / "out", make_source(make_rows(0)))


IMPOSSIBLE = {
    "truncate": (make_source, {"truncate": 0}, "--truncate is 0"),
    "prune": (make_source, {"prune": -1}, "--prune is -1"),
    "attr": (make_source, {"attr": "WORD"}, "'WORD'; give a token attribute"),
    "subwords": (make_source, {"unseen": "subwords"}, "--subwords with a fastText"),
    "n-grams": (make_ngram_source, {"prune": 3}, "table of n-grams"),
}


@pytest.mark.parametrize("name", sorted(IMPOSSIBLE))
def test_settings_that_are_not_possible(tmp_path, name):
    make, settings, message = IMPOSSIBLE[name]
    with pytest.raises(InputError, match=message):
        make_folder(tmp_path / "out", make(), **settings)
    assert not list(tmp_path.iterdir())


def test_float16_says_when_numbers_are_too_large(tmp_path):
    with pytest.raises(InputError, match=r"65504.*int8"):
        make_folder(tmp_path / "out", make_source(make_rows() * 1e6), dtype="float16")


def test_subwords_have_to_fit(tmp_path):
    source = make_source()
    source.subwords = make_ngram_source(width=5)
    with pytest.raises(InputError, match=r"5 wide, but table\.txt has rows 12"):
        make_folder(tmp_path / "out", source)
    source = make_source()
    source.subwords = make_source()
    with pytest.raises(InputError, match="n-grams are needed"):
        make_folder(tmp_path / "out", source)


def test_an_earlier_folder_is_replaced_and_others_are_not(tmp_path):
    make_folder(tmp_path / "out")
    make_folder(tmp_path / "out", make_source(make_rows(seed=9)))
    assert_array_equal(load_vectors(tmp_path / "out").data, make_rows(seed=9))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name, message in (
        ("mine", "holds other files"),
        ("file", "is a file"),
        ("link", "symbolic link"),
    ):
        with pytest.raises(InputError, match=message):
            make_folder(tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_a_failure_leaves_the_earlier_folder(tmp_path):
    make_folder(tmp_path / "out")
    rows = make_rows(seed=9)
    rows[8, 0] = numpy.nan
    with pytest.raises(InputError):
        make_folder(tmp_path / "out", make_source(rows))
    assert_array_equal(load_vectors(tmp_path / "out").data, make_rows())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="only where folders can be made read-only, and not for root",
)
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="could not write"):
        make_folder(tmp_path / "out")


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(self, array):
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr(NpyWriter, "append", full)
    with pytest.raises(InputError, match=r"could not write .*No space left.*run again"):
        make_folder(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_run_leaves_the_folder_and_can_be_repeated(tmp_path):
    source = tmp_path / "slow.txt"
    lines = [f"word{i} " + " ".join(["0.5"] * 50) for i in range(20_000)]
    source.write_text("\n".join(lines) + "\n")
    make_folder(tmp_path / "out")
    command = [sys.executable, "-m", "spacy", "embedkit", "vectors", "convert"]
    command += [str(source), str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not [*tmp_path.glob(".out.*.partial")]:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert load_vectors(tmp_path / "out").n_keys in (9, 20_000)
    convert(open_source(str(source)), tmp_path / "out")
    assert load_vectors(tmp_path / "out").n_keys == 20_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "slow.txt"]


@pytest.mark.parametrize("dtype", sorted(STORES))
def test_a_table_can_be_converted_again(tmp_path, dtype):
    source = make_source()
    source.subwords = make_ngram_source()
    make_folder(tmp_path / "one", source, dtype=dtype, forms=True, attr="LOWER")
    one = load_vectors(tmp_path / "one")
    again = open_source(str(tmp_path / "one"))
    two = load_vectors(make_folder(tmp_path / "two", again))
    assert_array_equal(two.get_batch(WORDS), one.get_batch(WORDS))
    assert dict(two.key2row) == dict(one.key2row)
    assert (two.attr, two.name) == (one.attr, one.name)
    assert two.table.subwords.ngrams == one.table.subwords.ngrams


def test_float16_gives_the_nearest_number_of_each():
    bits = numpy.arange(2**16, dtype="u2").view("float16")
    rows = bits[numpy.isfinite(bits)].reshape(-1, 16)
    found = STORES["float16"]({"rows": rows}).take(numpy.arange(len(rows)))
    assert_array_equal(found.view("u4"), rows.astype("f").view("u4"))


def test_int8_is_within_half_a_step():
    rows = make_rows(50) * numpy.logspace(-30, 30, 50, dtype="f")[:, None]
    rows[7] = 0
    store = STORES["int8"](to_int8(rows))
    error = numpy.abs(store.take(numpy.arange(50)) - rows).max(axis=1)
    assert (error <= numpy.abs(rows).max(axis=1) / 127 * 0.501).all()
    assert not store.take(numpy.array([7, -1])).any()


def test_codes_name_the_nearest_centroids():
    rows = make_rows(2000, 10)
    centroids = learn_centroids(rows, 3)
    codes = to_codes(rows, centroids, 3)["rows"]
    starts = part_starts(10, 3)
    for p, (begin, end) in enumerate(pairwise(starts)):
        gaps = rows[:, None, begin:end] - centroids[None, :, begin:end]
        distances = (gaps**2).sum(axis=2)
        chosen = numpy.take_along_axis(distances, codes[:, [p]].astype(int), axis=1)
        assert_allclose(chosen[:, 0], distances.min(axis=1), atol=1e-5)
    store = STORES["pq"]({"rows": codes, "centroids": centroids})
    decoded = store.take(numpy.arange(2000))
    assert ((decoded - rows) ** 2).mean() < 0.3 * (rows**2).mean()


def test_few_rows_are_quantised_without_loss(tmp_path):
    vectors = load_vectors(make_folder(tmp_path / "out", dtype="pq"))
    assert_allclose(vectors.get_batch(WORDS), make_rows(), atol=1e-6)
