"""Readers of word2vec, fastText, floret and gensim against these libraries."""

import itertools

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.ngrams import ngram_rows
from spacy_embedkit.vectors.sources.fasttext import open_fasttext
from spacy_embedkit.vectors.sources.gensim_files import open_gensim
from spacy_embedkit.vectors.sources.word2vec import open_word2vec_binary

from .helpers.vector_files import (
    NO_LIBRARY,
    WORDS,
    corpus,
    input_of,
    read,
    table,
    train,
    write_word2vec,
)


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_word2vec_binary_gives_words_and_rows(tmp_path, newline):
    path = write_word2vec(tmp_path / "a.bin", newline)
    source = open_word2vec_binary(input_of(path))
    words, rows = read(source)
    assert (words, source.n_rows, source.width) == (WORDS, len(WORDS), 3)
    assert_array_equal(rows, table())


def test_word2vec_binary_equals_gensim(tmp_path):
    models = pytest.importorskip("gensim.models", reason=NO_LIBRARY)
    vectors = models.KeyedVectors(3)
    vectors.add_vectors(WORDS, table())
    vectors.save_word2vec_format(str(tmp_path / "a.bin"), binary=True)
    words, rows = read(open_word2vec_binary(input_of(tmp_path / "a.bin")))
    assert words == WORDS
    assert_array_equal(rows, table())


def test_word2vec_binary_spans_chunks(tmp_path):
    rows = numpy.random.default_rng(0).normal(size=(9001, 101)).astype("f")
    names = [f"w{i}" for i in range(len(rows))]
    path = write_word2vec(tmp_path / "a.bin", b"\n", names, rows)
    batches = list(open_word2vec_binary(input_of(path)).batches)
    assert len(batches) > 1
    assert [word for batch in batches for word in batch.words] == names
    assert_array_equal(numpy.concatenate([batch.rows for batch in batches]), rows)
    assert batches[1].where(0) == f"row {len(batches[0].words) + 1}"


def test_word2vec_binary_names_a_word_that_is_not_utf8(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"2 1\na \0\0\0\0b\xff \0\0\0\0")
    with pytest.raises(InputError, match=r"row 2: .* is not UTF-8 at its byte 2"):
        read(open_word2vec_binary(input_of(path)))


def test_word2vec_binary_refuses_more_rows_than_it_counts(tmp_path):
    path = write_word2vec(tmp_path / "a.bin")
    path.write_bytes(b"2 3\n" + path.read_bytes()[4:])
    with pytest.raises(InputError, match="data after the last of 2 rows"):
        read(open_word2vec_binary(input_of(path)))


@pytest.mark.parametrize("n_grams", [(2, 4), (0, 0), (1, 3)])
@pytest.mark.parametrize("library", ["fasttext", "floret"])
def test_fasttext_words_equal_the_library(tmp_path, library, n_grams):
    model, path = train(tmp_path, library, *n_grams)
    words, rows = read(open_fasttext(input_of(path), False))
    assert words == model.get_words()
    assert "</s>" in words
    expected = [model.get_word_vector(word) for word in words]
    assert_allclose(rows, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("version", [11, 12])
def test_fasttext_classifier_leaves_out_labels(tmp_path, version):
    fasttext = pytest.importorskip("fasttext", reason=NO_LIBRARY)
    path = tmp_path / "a.bin"
    corpus(tmp_path / "c.txt", "__label__x ")
    options = {"dim": 4, "bucket": 50, "minn": 2, "maxn": 3, "verbose": 0}
    model = fasttext.train_supervised(str(tmp_path / "c.txt"), thread=1, **options)
    model.save_model(str(path))
    # A classifier of version 11 is read without its n-grams, whatever it says.
    path.write_bytes(path.read_bytes()[:4] + bytes([version]) + path.read_bytes()[5:])
    model = fasttext.load_model(str(path))
    words, rows = read(open_fasttext(input_of(path), False))
    assert words == model.get_words()
    expected = [model.get_word_vector(word) for word in words]
    assert_allclose(rows, expected, rtol=1e-5, atol=1e-7)


def test_fasttext_subwords_give_unknown_words(tmp_path):
    model, path = train(tmp_path, "fasttext", 2, 3)
    source = open_fasttext(input_of(path), True)
    words, rows = read(source.subwords)
    unknown = ["katzen", "東京都"]
    picks, starts = ngram_rows(source.subwords.ngrams, unknown, len(rows))
    means = [rows[picks[a:b]].mean(0) for a, b in itertools.pairwise(starts)]
    assert words == []
    expected = [model.get_word_vector(word) for word in unknown]
    assert_allclose(means, expected, rtol=1e-5, atol=1e-7)


def test_fasttext_word_that_is_not_utf8_is_left_out(tmp_path):
    model, path = train(tmp_path, "fasttext", 2, 3)
    path.write_bytes(path.read_bytes().replace(b"cats\0", b"cat\xff\0", 1))
    source = open_fasttext(input_of(path), False)
    words, rows = read(source)
    assert words == [word for word in model.get_words() if word != "cats"]
    assert "1 words are not UTF-8, and were left out" in source.notes[0]
    expected = [model.get_word_vector(word) for word in words]
    assert_allclose(rows, expected, rtol=1e-5, atol=1e-7)


def test_fasttext_without_ngrams_has_no_subwords(tmp_path):
    _, path = train(tmp_path, "fasttext", 0, 0)
    source = open_fasttext(input_of(path), True)
    assert source.subwords is None
    assert "without n-grams" in source.notes[0]


@pytest.mark.parametrize("hash_count", [1, 2, 3, 4])
def test_floret_binary_equals_the_library(tmp_path, hash_count):
    options = {"mode": "floret", "hashCount": hash_count}
    model, path = train(tmp_path, "floret", 2, 3, **options)
    source = open_fasttext(input_of(path), False)
    words, rows = read(source)
    assert (words, source.ngrams.hash_count, len(rows)) == ([], hash_count, 50)
    unknown = ["katzen", "cats", "東京都"]
    picks, starts = ngram_rows(source.ngrams, unknown, len(rows))
    means = [rows[picks[a:b]].mean(0) for a, b in itertools.pairwise(starts)]
    expected = [model.get_word_vector(word) for word in unknown]
    assert_allclose(means, expected, rtol=1e-5, atol=1e-7)


def test_quantised_fasttext_is_named(tmp_path):
    fasttext = pytest.importorskip("fasttext", reason=NO_LIBRARY)
    corpus(tmp_path / "c.txt", "__label__x ")
    options = {"dim": 4, "bucket": 400, "minn": 2, "maxn": 3, "verbose": 0}
    model = fasttext.train_supervised(str(tmp_path / "c.txt"), thread=1, **options)
    model.quantize()
    model.save_model(str(tmp_path / "a.ftz"))
    with pytest.raises(InputError, match=r"is quantised .* name the .bin"):
        open_fasttext(input_of(tmp_path / "a.ftz"), False)


@pytest.mark.parametrize("kind", ["KeyedVectors", "Word2Vec", "FastText", "Doc2Vec"])
def test_gensim_file_is_opened_if_trusted(tmp_path, kind):
    models = pytest.importorskip("gensim.models", reason=NO_LIBRARY)
    texts = [WORDS, WORDS[::-1]]
    options = {"vector_size": 3, "min_count": 1, "workers": 1, "epochs": 1}
    if kind == "KeyedVectors":
        model = vectors = models.KeyedVectors(3)
        model.add_vectors(WORDS, table())
    elif kind == "Doc2Vec":
        tagged = [models.doc2vec.TaggedDocument(text, [0]) for text in texts]
        model = models.Doc2Vec(tagged, **options)
    else:
        options |= {"bucket": 20} if kind == "FastText" else {}
        model = getattr(models, kind)(texts, **options)
    vectors = getattr(model, "wv", model)
    # Large arrays are put into files of their own.
    model.save(str(tmp_path / "a.model"), sep_limit=0)
    with pytest.raises(InputError, match="was not opened; give --trust-pickle if"):
        open_gensim(input_of(tmp_path / "a.model"), False)
    words, rows = read(open_gensim(input_of(tmp_path / "a.model"), True))
    assert words == vectors.index_to_key
    assert_array_equal(rows, vectors.vectors)


def test_gensim_names_missing_side_files(tmp_path):
    models = pytest.importorskip("gensim.models", reason=NO_LIBRARY)
    vectors = models.KeyedVectors(3)
    vectors.add_vectors(WORDS, table())
    vectors.save(str(tmp_path / "a.kv"), sep_limit=0)
    (tmp_path / "a.kv.vectors.npy").unlink()
    with pytest.raises(InputError, match=r"a\.kv\.vectors\.npy"):
        open_gensim(input_of(tmp_path / "a.kv"), True)
