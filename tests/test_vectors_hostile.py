"""Tables of vectors from strangers: refused in one line, or safe to read."""

import json
import shutil
import struct

import numpy
import pytest
import spacy
import srsly
from numpy.testing import assert_array_equal

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors import keys as keys_module
from spacy_embedkit.vectors import nearest, ngrams
from spacy_embedkit.vectors.inspection import find_faults
from spacy_embedkit.vectors.keys import KeyRows, Words
from spacy_embedkit.vectors.mapped import MappedVectors
from spacy_embedkit.vectors.ngrams import FASTTEXT, FLORET, Ngrams, ngram_rows
from spacy_embedkit.vectors.rows import STORES
from spacy_embedkit.vectors.sources import open_source
from spacy_embedkit.vectors.table import Table, open_table

from .helpers.vector_tables import (
    WIDTH,
    WORDS,
    make_folder,
    make_ngram_source,
    make_rows,
    make_source,
)
from .helpers.vectors_command import run

DTYPES = sorted(STORES)


@pytest.fixture(scope="module", params=DTYPES)
def whole(request, tmp_path_factory):
    source = make_source()
    source.subwords = make_ngram_source()
    path = tmp_path_factory.mktemp(request.param) / "out"
    return make_folder(path, source, dtype=request.param, unseen="subwords")


@pytest.fixture(scope="module")
def float32(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("float32") / "out")


def copy(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy", tmp_path / "copy" / "vocab" / "embedkit_vectors"


def change(files, name, function):
    """Change an array of a folder of files, or of what from_bytes reads."""
    if isinstance(files, dict):
        files["arrays"][name] = function(files["arrays"][name].copy())
    else:
        array = function(numpy.load(files / f"{name}.npy"))
        numpy.save(files / f"{name}.npy", array)


def put(at, value):
    def function(array):
        array[at] = value
        return array

    return function


def edit(files, **changes):
    if isinstance(files, dict):
        files["header"].update(changes)
    else:
        header = json.loads((files / "table.json").read_text())
        (files / "table.json").write_text(json.dumps({**header, **changes}))


def load_vectors(folder):
    return MappedVectors().from_disk(folder / "vocab")


DAMAGES = {
    "row too large": lambda f: change(f, "key_rows", put(4, 9)),
    "row far away": lambda f: change(f, "key_rows", put(4, 2**31 - 1)),
    "row below 0": lambda f: change(f, "key_rows", put(4, -2)),
    "unsorted keys": lambda f: change(f, "keys", lambda a: a[::-1].copy()),
    "repeated keys": lambda f: (
        change(f, "keys", put(1, 0)) or change(f, "keys", put(0, 0))
    ),
    "buckets too high": lambda f: change(f, "buckets", put(1, 10)),
    "buckets below 0": lambda f: change(f, "buckets", put(1, -1)),
    "buckets of other keys": lambda f: change(f, "buckets", put(slice(1, -1), 0)),
    "3 buckets": lambda f: change(f, "buckets", lambda a: a[:4]),
    "2 dimensions": lambda f: change(f, "keys", lambda a: a[:, None]),
    "no dimensions": lambda f: change(f, "key_rows", lambda a: a[0].reshape(())),
    "fewer key rows": lambda f: change(f, "key_rows", lambda a: a[:-1]),
    "swapped bytes": lambda f: change(f, "keys", lambda a: a.astype(">u8")),
    "ends beyond": lambda f: change(f, "word_ends", put(-1, 10**6)),
    "ends in between": lambda f: change(f, "word_ends", put(3, 10**6)),
    "ends not in order": lambda f: change(f, "word_ends", put(3, -5)),
    "fewer words": lambda f: change(f, "word_ends", lambda a: a[:-1]),
    "mean too long": lambda f: change(f, "mean", lambda a: numpy.append(a, a)),
    "mean of doubles": lambda f: change(f, "mean", lambda a: a.astype("f8")),
    "rows of doubles": lambda f: change(f, "rows", lambda a: a.astype("f8")),
    "rows of one dimension": lambda f: change(f, "rows", lambda a: a.reshape(-1)),
    "fewer rows": lambda f: change(f, "rows", lambda a: a[:-1]),
    "attr": lambda f: edit(f, attr="COLOUR"),
    "attr is a number": lambda f: edit(f, attr=65),
    "dtype is a list": lambda f: edit(f, dtype=["float32"]),
    "shape of floats": lambda f: edit(f, shape=[9.0, 12.0]),
    "shape of one": lambda f: edit(f, shape=[9]),
    "keys": lambda f: edit(f, keys=3),
    "keys is a text": lambda f: edit(f, keys="9"),
    "name": lambda f: edit(f, name=["x"]),
    "fingerprint": lambda f: edit(f, fingerprint=None),
    "n-grams of words": lambda f: edit(f, ngrams=[]),
}
NGRAM_DAMAGES = {
    "minn 1.5": {"minn": 1.5},
    "minn true": {"minn": True},
    "maxn too large": {"maxn": 2**31 - 1},
    "maxn below minn": {"maxn": 1},
    "hash_count": {"hash_count": 0},
    "seed": {"hash_seed": -1},
    "scheme": {"scheme": ["floret"]},
    "mark": {"bow": None},
    "long mark": {"eow": ">" * 10_000},
    "more settings": {"colour": 1},
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_damaged_folder_is_refused_in_one_line(float32, tmp_path, damage):
    folder, files = copy(float32, tmp_path)
    DAMAGES[damage](files)
    for load in (load_vectors, lambda path: open_source(str(path))):
        with pytest.raises(InputError) as caught:
            load(folder)
        assert "\n" not in str(caught.value)


DECODED = {
    "fewer scales": ("int8", "scales", lambda a: a[:-1]),
    "scales of doubles": ("int8", "scales", lambda a: a.astype("f8")),
    "fewer centroids": ("pq", "centroids", lambda a: a[:-1]),
    "centroids of another width": ("pq", "centroids", lambda a: a[:, :-1].copy()),
    "more parts than columns": ("pq", "rows", lambda a: numpy.tile(a, 20)),
    "rows of bytes": ("float16", "rows", lambda a: a.view("u2")),
}


@pytest.mark.parametrize("damage", sorted(DECODED))
def test_a_damaged_quantised_table_is_refused(tmp_path, damage):
    dtype, name, function = DECODED[damage]
    folder = make_folder(tmp_path / "out", dtype=dtype)
    change(folder / "vocab" / "embedkit_vectors", name, function)
    with pytest.raises(InputError):
        spacy.load(folder)


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_damaged_bytes_are_refused_in_one_line(float32, damage):
    parts = srsly.msgpack_loads(load_vectors(float32).to_bytes())
    DAMAGES[damage](parts)
    with pytest.raises(ValueError, match="vectors: ") as caught:
        MappedVectors().from_bytes(srsly.msgpack_dumps(parts))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", sorted(NGRAM_DAMAGES))
def test_impossible_ngrams_are_refused(tmp_path, damage):
    folder = make_folder(tmp_path / "out", make_ngram_source())
    files = folder / "vocab" / "embedkit_vectors"
    header = json.loads((files / "table.json").read_text())
    edit(files, ngrams={**header["ngrams"], **NGRAM_DAMAGES[damage]})
    with pytest.raises(InputError):
        spacy.load(folder)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x80", b"\x90", b"\xdd\xff\xff\xff\xff"]
)
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match="not those of a table"):
        MappedVectors().from_bytes(data)


def test_an_empty_table_survives_bytes():
    vectors = MappedVectors().from_bytes(MappedVectors().to_bytes())
    assert vectors.shape == (0, 0)
    assert vectors.get_batch(["a"]).shape == (1, 0)


def test_fortran_order_is_refused(float32, tmp_path):
    folder, files = copy(float32, tmp_path)
    numpy.save(files / "rows.npy", numpy.asfortranarray(make_rows()))
    with pytest.raises(InputError, match="stored by columns"):
        spacy.load(folder)


def test_rows_that_are_not_aligned_are_refused(float32, tmp_path):
    folder, files = copy(float32, tmp_path)
    data = (files / "rows.npy").read_bytes()
    head = data[10:128].rstrip() + b"  \n"
    start = data[:8] + len(head).to_bytes(2, "little") + head
    (files / "rows.npy").write_bytes(start + make_rows().tobytes())
    assert len(start) % 4
    with pytest.raises(InputError, match="not aligned"):
        spacy.load(folder)


def test_subwords_inside_of_subwords_are_not_opened(whole, tmp_path):
    _, files = copy(whole, tmp_path)
    edit(files / "subwords", subwords=True)
    (files / "subwords" / "subwords").symlink_to(files / "subwords")
    assert open_table(files).subwords.subwords is None


def test_subwords_inside_of_subwords_are_not_deserialised(whole):
    parts = srsly.msgpack_loads(spacy.load(whole).vocab.vectors.to_bytes())
    inner = srsly.msgpack_loads(parts["subwords"])
    inner["subwords"] = b"broken"
    parts["subwords"] = srsly.msgpack_dumps(inner)
    vectors = MappedVectors().from_bytes(srsly.msgpack_dumps(parts))
    assert vectors.table.subwords.subwords is None


def test_loading_does_not_read_a_large_table(monkeypatch):
    monkeypatch.setattr(keys_module, "SAMPLE", 4)
    keys = numpy.arange(100_000, dtype="u8") << numpy.uint64(47)
    read = []

    class Watched(KeyRows):
        def check(self, blocks):
            read.extend(blocks)
            super().check(blocks)

    arrays = KeyRows.build(keys, numpy.zeros(len(keys), "i"), 1).arrays
    Watched(arrays, 1)
    assert sum(block.stop - block.start for block in read) == 16
    assert (read[0].start, read[-1].stop) == (0, 100_000)


@pytest.fixture
def unchecked(float32, tmp_path, monkeypatch):
    """A table with wrong rows of keys where loading does not look."""

    def load(**changes):
        folder, files = copy(float32, tmp_path)
        for name, value in changes.items():
            change(files, name, put(4, value))
        with monkeypatch.context() as patch:
            patch.setattr(KeyRows, "check", lambda self, blocks: None)
            patch.setattr(Words, "check", lambda self, blocks: None)
            return folder, MappedVectors(table=open_table(files))

    return load


@pytest.mark.parametrize("row", [9, 2**31 - 1, -1, -2, -(2**31)])
def test_a_row_outside_is_never_read(unchecked, row):
    folder, vectors = unchecked(key_rows=row)
    with pytest.raises(ValueError, match="damaged"):
        vectors.most_similar(make_rows()[:1], n=8)
    with pytest.raises(ValueError, match="damaged"):
        vectors.get_batch(WORDS)
    with pytest.raises(InputError, match="a key has no row of 0 to 8"):
        open_source(str(folder))
    for command in ("similar", "info"):
        words = ["cat"] if command == "similar" else ["--verify"]
        assert "rror" in run(command, folder, *words, status=1)


def test_a_word_outside_is_never_read(unchecked):
    _, vectors = unchecked(word_ends=10**9)
    with pytest.raises(ValueError, match="outside of the words"):
        vectors.word(4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [9, 2**31 - 1, -2, -(2**31)])
def test_the_kernels_take_no_row_outside(dtype, row, tmp_path):
    folder = make_folder(tmp_path / "out", dtype=dtype)
    rows = open_table(folder / "vocab" / "embedkit_vectors").rows
    with pytest.raises(IndexError, match=f"row {row} is outside"):
        rows.take(numpy.array([0, -1, row, 8]))


def test_numbers_that_are_not_finite_stay_so():
    bits = numpy.arange(2**16, dtype="u2").view("float16")
    rows = STORES["float16"]({"rows": bits.reshape(-1, 16)})
    found = rows.take(numpy.arange(len(rows))).reshape(-1)
    assert_array_equal(found, bits.astype("f"))


def test_ngrams_of_a_table_without_rows_are_refused(tmp_path):
    folder = make_folder(tmp_path / "out", make_ngram_source())
    files = folder / "vocab" / "embedkit_vectors"
    change(files, "rows", lambda rows: rows[:0])
    edit(files, shape=[0, WIDTH])
    with pytest.raises(InputError):
        spacy.load(folder)
    with pytest.raises(ValueError, match="no rows"):
        ngram_rows(Ngrams(FLORET, 2, 4), ["word"], 0)


@pytest.mark.parametrize("scheme", [FLORET, FASTTEXT])
def test_long_ngrams_are_refused(scheme):
    with pytest.raises(ValueError, match="maxn <= 100"):
        Ngrams(scheme, 1, 2**31 - 1)


def test_too_many_ngrams_are_refused(monkeypatch):
    monkeypatch.setattr(ngrams, "MAX_TOTAL", 1000)
    with pytest.raises(ValueError, match="too many n-grams of 0 to 4 letters"):
        ngram_rows(Ngrams(FLORET, 0, 4), ["x" * 500], 10)


@pytest.mark.slow
def test_more_ngrams_than_an_int_holds_are_not_written():
    settings = Ngrams(FASTTEXT, 0, 4)
    # 92,680 letters have 2**32 n-grams.
    object.__setattr__(settings, "maxn", 2**31 - 1)
    with pytest.raises(ValueError, match="too many n-grams of 0 to 2147483647"):
        ngram_rows(settings, ["x" * 92_680], 10)


def test_long_words_are_looked_up_one_at_a_time(monkeypatch):
    rows = STORES["float32"]({"rows": make_rows(50)})
    words = ["a" * n for n in (10, 300, 20, 400, 30)]
    expected = ngrams.embed_words(Ngrams(FLORET, 2, 4), rows, words)
    sizes = []
    embed = ngrams._embed

    def count(settings, rows, words):
        sizes.append(len(words))
        return embed(settings, rows, words)

    monkeypatch.setattr(ngrams, "_embed", count)
    monkeypatch.setattr(ngrams, "BATCH_NGRAMS", 100)
    found = ngrams.embed_words(Ngrams(FLORET, 2, 4), rows, words)
    assert_array_equal(found, expected)
    assert sizes == [1, 1, 1, 1, 1]


def test_verify_finds_a_flipped_bit(whole, tmp_path):
    assert "as it was written" in run("info", whole, "--verify")
    folder, files = copy(whole, tmp_path)
    data = bytearray((files / "rows.npy").read_bytes())
    data[-2] ^= 1
    (files / "rows.npy").write_bytes(data)
    output = run("info", folder, "--verify", status=1)
    assert "the files differ from those that were written" in output
    assert len(output.splitlines()) == 1


def test_verify_names_all_faults():
    source = KeyRows.build(numpy.arange(9, dtype="u8"), numpy.arange(9), 9)
    rows = make_rows()
    rows[3, 2] = numpy.inf
    table = Table(STORES["float32"]({"rows": rows}), rows.mean(axis=0), source)
    table.words = Words.build(WORDS)
    assert find_faults(table) == ["row 3 holds NaN or infinity"]
    source.arrays["key_rows"].flags.writeable = True
    source.arrays["key_rows"][2] = 9
    table.words.arrays["word_ends"].flags.writeable = True
    table.words.arrays["word_ends"][2] = 900
    assert find_faults(table) == [
        "a key has no row of 0 to 8",
        "the ends of the words are not in order",
        "row 3 holds NaN or infinity",
    ]


def test_a_file_that_became_shorter_is_an_input_error(float32, tmp_path, monkeypatch):
    from spacy_embedkit.vectors.file_arrays import FileArray

    _, files = copy(float32, tmp_path)
    monkeypatch.setattr(FileArray, "check_end", lambda *args: None)
    path = files / "rows.npy"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="being changed by another program"):
        open_table(files)


def npy(descr, shape, version=1, size=None):
    """The header of an npy file, without numbers."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
    n = len(text) if size is None else size
    start = b"\x93NUMPY" + bytes([version, 0])
    return start + struct.pack("<H" if version == 1 else "<I", n) + text.encode()


HEADERS = {
    "no bytes each": npy("'<U0'", "(16000000000,)"),
    "no bytes each, void": npy("'|V0'", "(16000000000, 3)"),
    "no numbers": npy("'<f4'", "(1152921504606846976, 1152921504606846976, 0)"),
    "type of a number": npy("7", "(3,)"),
    "type of nothing": npy("None", "(3,)"),
    "type of a list": npy("[1]", "(3,)"),
    "type of a dict": npy("{}", "(3,)"),
    "unknown type": npy("'<q99'", "(3,)"),
    "too large a type": npy("'<U99999999999'", "(3,)"),
    "shape of texts": npy("'<f4'", "('a',)"),
    "shape too large": npy("'<f4'", f"({10**400},)"),
    "brackets": npy("[" * 3000, "(3,)"),
    "signs": npy("-" * 9000 + "1", "(3,)"),
    "open text": npy("'''", "(3,)"),
    "long header": npy("'<f4'", "(3,)", version=2, size=2**32 - 1),
    "version 3": npy("'<f4'", "(3,)", version=3),
    "not Latin": npy("'<f4'", "(3,)").replace(b"descr", b"des\x00r"),
}


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_hostile_npy_header_is_an_input_error(float32, tmp_path, name):
    folder, files = copy(float32, tmp_path)
    (tmp_path / "a.npy").write_bytes(HEADERS[name])
    (tmp_path / "a.txt").write_text("a\nb\nc\n")
    (files / "rows.npy").write_bytes(HEADERS[name])
    for read in (
        lambda: open_source(str(tmp_path / "a.npy")),
        lambda: spacy.load(folder),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_similar_names_of_rows_are_found_in_blocks(monkeypatch):
    # The check of row numbers does not change what is found.
    rows = make_rows(40)
    table = Table(STORES["float32"]({"rows": rows}), rows.mean(axis=0))
    table.keys = KeyRows.build(numpy.arange(40, dtype="u8"), numpy.arange(40), 40)
    monkeypatch.setattr(nearest, "BLOCK", 7)
    found, _ = nearest.most_similar(table, rows[5], 1)
    assert found.tolist() == [[5]]
