"""The mapped table, against spaCy's own in everything that spaCy asks of one."""

import json
import pickle
import shutil

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from spacy.attrs import LOWER
from spacy.strings import get_string_id
from spacy.tokens import Doc
from spacy.vectors import Vectors
from thinc.api import NumpyOps

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors import nearest
from spacy_embedkit.vectors.keys import KeyRows, Words
from spacy_embedkit.vectors.mapped import MappedVectors
from spacy_embedkit.vectors.ngrams import embed_words
from spacy_embedkit.vectors.rows import STORES

from .helpers.vector_tables import (
    NGRAMS,
    WIDTH,
    WORDS,
    make_folder,
    make_ngram_source,
    make_rows,
    make_source,
)

TOLERANCE = {"float32": 0, "float16": 2e-3, "int8": 2e-2, "pq": 0.05}
NOWHERE = ["zzz", "The", ""]


def load(folder):
    nlp = spacy.load(folder)
    assert isinstance(nlp.vocab.vectors, MappedVectors)
    return nlp


def stock(nlp, **kwargs):
    kwargs = {"data": make_rows(), "keys": WORDS, **kwargs}
    return Vectors(strings=nlp.vocab.strings, **kwargs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("vectors") / "table")


@pytest.fixture(scope="module", params=sorted(STORES))
def stored(request, tmp_path_factory):
    """A pipeline for each store of rows, with the name of the store."""
    path = tmp_path_factory.mktemp(request.param) / "table"
    return load(make_folder(path, dtype=request.param)), request.param


@given(st.sets(st.integers(0, 2**64 - 1), max_size=300), st.data())
def test_keys_are_found_like_in_a_dictionary(keys, data):
    keys = sorted(keys, key=hash)
    rows = [i // 2 for i in range(len(keys))]
    found = KeyRows.build(numpy.array(keys, dtype="u8"), numpy.array(rows), len(keys))
    asked = data.draw(st.lists(st.integers(0, 2**64 - 1), max_size=20)) + keys
    expected = dict(zip(keys, rows, strict=True))
    ids = numpy.array(asked, dtype="u8")
    assert found.find(ids).tolist() == [expected.get(key, -1) for key in asked]
    assert [found.get(key, -5) for key in asked] == [expected.get(k, -5) for k in asked]
    assert dict(found) == expected


@given(st.lists(st.text(), max_size=20))
def test_words_come_back(words):
    stored = Words.build(words)
    expected = [word.encode("utf8", "replace").decode() for word in words]
    assert stored[:] == expected
    assert [stored[i] for i in range(-len(words), 0)] == expected


def test_a_batch_is_what_spacy_gives(stored):
    nlp, dtype = stored
    keys = [*WORDS, "cat", *WORDS[::-1]]
    Y = nlp.vocab.vectors.get_batch(keys)
    assert Y.dtype == "float32"
    assert Y.flags.c_contiguous
    expected = stock(nlp).get_batch(keys)
    assert_allclose(Y, expected, atol=TOLERANCE[dtype] * numpy.abs(expected).max())
    assert_array_equal(nlp.vocab.vectors.get_batch(NOWHERE), numpy.zeros((3, WIDTH)))
    assert nlp.vocab.vectors.get_batch([]).shape == (0, WIDTH)


def test_keys_may_be_numbers_or_texts_or_arrays(folder):
    vectors = load(folder).vocab.vectors
    ids = [get_string_id(word) for word in WORDS]
    expected = vectors.get_batch(WORDS)
    for keys in (ids, numpy.array(ids, dtype="u8"), tuple(WORDS), iter(ids)):
        assert_array_equal(vectors.get_batch(keys), expected)


def test_the_contract_is_that_of_spacys_table(folder):
    nlp = load(folder)
    ours, theirs = nlp.vocab.vectors, stock(nlp, name="en.vectors")
    for name in ("shape", "size", "n_keys", "attr", "mode", "name"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert len(ours) == len(theirs)
    assert ours.is_full == theirs.is_full
    assert set(ours.keys()) == set(ours) == set(theirs.keys())
    assert len(ours.keys()) == len(WORDS)
    assert dict(ours.key2row) == theirs.key2row
    assert_array_equal(ours.data, theirs.data)
    assert {k: v.tolist() for k, v in ours.items()} == {
        k: v.tolist() for k, v in theirs.items()
    }
    for key in ["cat", get_string_id("cat")]:
        assert key in ours
        assert_array_equal(ours[key], theirs[key])
        assert ours.find(key=key) == theirs.find(key=key)
    assert "zzz" not in ours
    with pytest.raises(KeyError, match="'zzz' has no row"):
        ours["zzz"]
    assert ours.find(row=1) == theirs.find(row=1)
    assert_array_equal(ours.find(rows=[2, 0]), theirs.find(rows=[2, 0]))
    assert_array_equal(
        ours.find(keys=[*WORDS, "zzz"]), theirs.find(keys=[*WORDS, "zzz"])
    )
    with pytest.raises(ValueError, match="exactly one"):
        ours.find(key=1, row=1)


def test_data_of_a_quantised_table_decodes_what_is_asked_for(stored):
    nlp, _ = stored
    vectors = nlp.vocab.vectors
    whole = vectors.get_batch(WORDS)
    rows = vectors.find(keys=WORDS)
    assert isinstance(vectors.data, numpy.ndarray)
    assert vectors.data.shape == vectors.shape
    assert vectors.data.dtype == "float32"
    assert_array_equal(vectors.data[rows], whole)
    assert_array_equal(vectors.data[rows[1]], whole[1])
    assert_array_equal(vectors.data[1:3], vectors.data[[1, 2]])
    assert_array_equal(vectors.data[numpy.arange(9) > 6], vectors.data[7:])
    # spaCy's ID for no row is the largest number, and stands for the last row.
    nothing = numpy.array([2**64 - 1], dtype="u8")
    assert_array_equal(vectors.data[nothing], vectors.data[-1:])
    assert_allclose(numpy.mean(vectors.data, axis=0), whole.mean(0), atol=1e-6)
    assert_allclose(vectors.data * 2, 2 * vectors.data[:], atol=0)
    with pytest.raises(IndexError):
        vectors.data[[99]]


def test_vectors_and_similarity_of_words_docs_and_spans(stored):
    nlp, dtype = stored
    text = "the cat sat on zzz"
    theirs = spacy.blank("en")
    theirs.vocab.vectors = stock(theirs)
    ours, expected = nlp(text), theirs(text)
    tolerance = max(1e-6, 4 * TOLERANCE[dtype])
    assert_allclose(ours.vector, expected.vector, atol=tolerance)
    assert_allclose(ours[1:3].vector, expected[1:3].vector, atol=tolerance)
    assert [t.has_vector for t in ours] == [t.has_vector for t in expected]
    assert [t.is_oov for t in ours] == [t.is_oov for t in expected]
    assert ours[1].rank == expected[1].rank == 1
    assert abs(ours.similarity(nlp("cat")) - expected.similarity(theirs("cat"))) < (
        max(1e-6, 4 * TOLERANCE[dtype])
    )
    assert nlp("").vector.shape == (WIDTH,)


@pytest.mark.parametrize("block", [2, 5, 1000])
@pytest.mark.parametrize("n", [1, 3])
def test_most_similar_is_exact(folder, n, block, monkeypatch):
    monkeypatch.setattr(nearest, "BLOCK", block)
    nlp = load(folder)
    queries = make_rows(5, seed=3)
    expected = stock(nlp).most_similar(queries.copy(), n=n)
    keys, rows, scores = nlp.vocab.vectors.most_similar(queries, n=n, batch_size=2)
    assert_array_equal(keys, expected[0])
    assert_array_equal(rows, expected[1])
    assert_allclose(scores, expected[2], atol=1e-4)
    assert nlp.vocab.strings[keys[0, 0]] in WORDS


def test_most_similar_says_how_many_there_are(folder):
    with pytest.raises(ValueError, match="1 to 9"):
        load(folder).vocab.vectors.most_similar(make_rows(1), n=10)


@pytest.mark.parametrize("change", ["add", "resize", "clear", "set", "vocab"])
def test_changing_the_table_says_how_to_get_one_that_can(folder, change):
    nlp = load(folder)
    vectors = nlp.vocab.vectors
    with pytest.raises(ValueError, match="read-only"):
        vectors.data[0] = 0
    in_memory = MappedVectors().from_bytes(vectors.to_bytes())
    with pytest.raises(ValueError, match="read-only"):
        in_memory.data[0] = 0
    actions = {
        "add": lambda: vectors.add("x", vector=numpy.ones(WIDTH)),
        "resize": lambda: vectors.resize((20, WIDTH)),
        "clear": vectors.clear,
        "set": lambda: vectors.__setitem__("cat", numpy.ones(WIDTH)),
        "vocab": lambda: nlp.vocab.set_vector("new", numpy.ones(WIDTH)),
    }
    with pytest.raises(ValueError, match="to_stock"):
        actions[change]()
    nlp.vocab.vectors = vectors.to_stock()
    nlp.vocab.set_vector("new", numpy.ones(WIDTH, dtype="f"))
    assert nlp.vocab["new"].vector.sum() == WIDTH
    assert_array_equal(nlp.vocab["cat"].vector, make_rows()[1])
    assert "cat" in [nlp.vocab.strings[key] for key in nlp.vocab.vectors]


def test_a_table_keyed_by_lower_case_stays_so(tmp_path):
    nlp = load(make_folder(tmp_path / "table", attr="LOWER"))
    nlp.to_disk(tmp_path / "again")
    nlp = load(tmp_path / "again")
    assert nlp.vocab.vectors.attr == LOWER
    assert_array_equal(nlp("CAT")[0].vector, make_rows()[1])


def test_unseen_words_get_the_mean_or_their_ngrams(tmp_path):
    means = load(make_folder(tmp_path / "mean", unseen="mean"))
    assert_allclose(means("zzz")[0].vector, make_rows().mean(axis=0), atol=1e-6)
    assert means("zzz")[0].has_vector
    table = means.vocab.vectors.table
    assert MappedVectors(table=table, unseen="mean") == means.vocab.vectors
    assert MappedVectors(table=table) != means.vocab.vectors
    assert_array_equal(means("cat")[0].vector, make_rows()[1])

    source = make_source()
    source.subwords = make_ngram_source()
    backoff = load(make_folder(tmp_path / "backoff", source, unseen="subwords"))
    floret = load(make_folder(tmp_path / "floret", make_ngram_source()))
    assert_array_equal(backoff("cat")[0].vector, make_rows()[1])
    assert_array_equal(backoff("zzz")[0].vector, floret("zzz")[0].vector)
    assert backoff.vocab.vectors.get_batch([""]).sum() == 0
    assert backoff.vocab.vectors["never heard of"].any()


def test_an_impossible_policy_says_what_to_do(folder):
    config = {
        "vectors": {"@vectors": "spacy-embedkit.Vectors.v1", "unseen": "subwords"}
    }
    nlp = spacy.blank("en", config={"nlp": config})
    with pytest.raises(ValueError, match=r"convert it\s+again with --subwords"):
        nlp.vocab.from_disk(folder / "vocab")


@pytest.mark.parametrize("dtype", sorted(STORES))
def test_floret_mode_is_that_of_spacy(tmp_path, dtype):
    nlp = load(make_folder(tmp_path / "floret", make_ngram_source(), dtype=dtype))
    vectors = nlp.vocab.vectors
    settings = {**NGRAMS.to_dict(), "mode": "floret"}
    del settings["scheme"]
    theirs = stock(nlp, data=make_rows(50, seed=1), keys=None, **settings)
    words = [*WORDS, "unheard-of", "x" * 300, "naïve", "cat"]
    keys = [nlp.vocab.strings.add(word) for word in words]
    for _ in range(2):
        expected = theirs.get_batch(keys)
        assert_allclose(
            vectors.get_batch(keys), expected, atol=max(1e-5, TOLERANCE[dtype] * 3)
        )
    # Words come as texts, too, that nobody has seen.
    assert vectors.get_batch(["never heard of"]).any()
    assert vectors["nor of this"].any()
    assert vectors.n_keys == theirs.n_keys == -1
    assert vectors.mode == theirs.mode
    assert "anything" in vectors
    assert_allclose(vectors["cat"], theirs[keys[1]], atol=max(1e-6, TOLERANCE[dtype]))
    with pytest.raises(ValueError, match="no keys"):
        vectors.find(key="cat")
    assert vectors.to_stock().minn == NGRAMS.minn


@given(st.lists(st.text(max_size=20), max_size=10))
def test_ngram_vectors_are_those_of_spacy(words):
    rows = make_rows(50, seed=1)
    table = STORES["float32"]({"rows": rows})
    settings = {**NGRAMS.to_dict(), "mode": "floret"}
    del settings["scheme"]
    theirs = Vectors(data=rows, **settings)
    valid = [word.encode("utf8", "replace").decode() for word in words]
    keys = [theirs.strings.add(word) for word in valid]
    expected = theirs.get_batch(keys) if keys else numpy.zeros((0, WIDTH))
    assert_allclose(embed_words(NGRAMS, table, words), expected, atol=1e-6)


def test_saving_loading_copying(stored, tmp_path):
    nlp, _ = stored
    expected = nlp.vocab.vectors.get_batch(WORDS)
    nlp.to_disk(tmp_path / "saved")
    nlp.to_disk(tmp_path / "saved")
    copies = [
        load(tmp_path / "saved"),
        spacy.blank("en", config=nlp.config.copy()).from_bytes(nlp.to_bytes()),
        pickle.loads(pickle.dumps(nlp)),
    ]
    for copy in copies:
        assert copy.vocab.vectors == nlp.vocab.vectors
        assert copy.vocab.vectors.name == "en.vectors"
        assert_array_equal(copy.vocab.vectors.get_batch(WORDS), expected)
        assert copy.meta["vectors"] == nlp.meta["vectors"]


def test_saving_again_writes_nothing(folder, tmp_path):
    nlp = load(folder)
    nlp.to_disk(tmp_path / "saved")
    rows = tmp_path / "saved" / "vocab" / "embedkit_vectors" / "rows.npy"
    before = rows.stat()
    nlp.to_disk(tmp_path / "saved")
    load(tmp_path / "saved").to_disk(tmp_path / "saved")
    assert (rows.stat().st_ino, rows.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_a_pickle_holds_a_path_where_there_are_files(folder, tmp_path):
    nlp = load(folder)
    # A pickled pipeline holds its strings once.
    strings, vectors = nlp.vocab.strings, nlp.vocab.vectors
    both = len(pickle.dumps((strings, vectors)))
    assert both - len(pickle.dumps(strings)) < 500
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    pickled = pickle.dumps(load(moved).vocab.vectors)
    make_folder(moved, make_source(make_rows(seed=5)))
    with pytest.raises(ValueError, match="does not hold the table"):
        pickle.loads(pickled)
    in_memory = MappedVectors().from_bytes(nlp.vocab.vectors.to_bytes())
    assert_array_equal(
        pickle.loads(pickle.dumps(in_memory)).data, nlp.vocab.vectors.data
    )


def test_saving_over_the_files_that_are_mapped(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "table")
    nlp = load(tmp_path / "table")
    other = load(make_folder(tmp_path / "other", make_source(make_rows(seed=5))))
    other.to_disk(tmp_path / "table")
    assert_array_equal(nlp.vocab.vectors.get_batch(WORDS), make_rows())
    nlp.to_disk(tmp_path / "third")
    for path, seed in (("table", 5), ("third", 0)):
        vectors = load(tmp_path / path).vocab.vectors
        assert_array_equal(vectors.get_batch(WORDS), make_rows(seed=seed))


def test_a_table_of_spacys_own_is_taken_as_it_is(tmp_path):
    theirs = spacy.blank("en")
    theirs.vocab.vectors = stock(theirs, attr="LOWER")
    theirs.vocab.vectors.add("kitten", row=1)
    theirs.to_disk(tmp_path / "stock")
    config = {"vectors": {"@vectors": "spacy-embedkit.Vectors.v1"}}
    nlp = spacy.blank("en", config={"nlp": config})
    nlp.vocab.from_disk(tmp_path / "stock" / "vocab")
    assert_array_equal(nlp.vocab.vectors.get_batch(WORDS), make_rows())
    assert_array_equal(nlp.vocab["kitten"].vector, make_rows()[1])
    assert nlp.vocab.vectors.to_stock().key2row == theirs.vocab.vectors.key2row


def test_moving_to_the_cpu_leaves_the_files_mapped(folder):
    vectors = load(folder).vocab.vectors
    vectors.to_ops(NumpyOps())
    assert isinstance(vectors.data.base, numpy.memmap)
    assert not vectors.data.flags.writeable


DAMAGES = {
    "header": lambda f: (f / "table.json").write_text("{"),
    "other header": lambda f: (f / "table.json").write_text("{}"),
    "later version": lambda f: _edit(f, version=99),
    "dtype": lambda f: _edit(f, dtype="int8"),
    "shape": lambda f: _edit(f, shape=[3, 3]),
    "ngrams": lambda f: _edit(f, ngrams={"scheme": "x", "minn": 0, "maxn": 0}),
    "no rows": lambda f: (f / "rows.npy").unlink(),
    "no keys": lambda f: (f / "keys.npy").unlink(),
    "pickle": lambda f: numpy.save(f / "rows.npy", numpy.array([{}]), True),
    "other width": lambda f: numpy.save(f / "rows.npy", make_rows(9, 5)),
    "buckets": lambda f: numpy.save(f / "buckets.npy", numpy.zeros(4, dtype="i")),
    "fewer words": lambda f: numpy.save(f / "word_ends.npy", numpy.zeros(2, "i8")),
}


def _edit(folder, **changes):
    header = json.loads((folder / "table.json").read_text())
    (folder / "table.json").write_text(json.dumps({**header, **changes}))


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_damaged_files_are_named_in_one_line(folder, tmp_path, damage):
    shutil.copytree(folder, tmp_path / "table")
    files = tmp_path / "table" / "vocab" / "embedkit_vectors"
    DAMAGES[damage](files)
    with pytest.raises(InputError, match="embedkit_vectors") as caught:
        load(tmp_path / "table")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rows", "keys", "key_rows", "buckets", "mean"])
def test_a_file_that_is_cut_off_is_noticed(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "table")
    path = tmp_path / "table" / "vocab" / "embedkit_vectors" / f"{name}.npy"
    whole = path.read_bytes()
    for size in (0, 5, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            load(tmp_path / "table")


def test_docs_of_another_vocab_find_the_words(folder):
    nlp = load(folder)
    doc = Doc(nlp.vocab, words=["cat", "🙂", "zzz"])
    assert_array_equal(doc[0].vector, make_rows()[1])
    assert_array_equal(doc[1].vector, make_rows()[7])
    assert not doc[2].has_vector
