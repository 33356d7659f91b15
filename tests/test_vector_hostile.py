"""Files of vectors from strangers: one line of InputError, in little memory."""

import contextlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy
import pytest
import spacy
import srsly

from spacy_embedkit.checks import InputError, printable
from spacy_embedkit.vectors.inspection import neighbours, open_vectors
from spacy_embedkit.vectors.sources import inputs, open_source, unpacking

from .helpers.processes import exit_code, start_process
from .helpers.vector_files import NO_LIBRARY, read, table, write_word2vec
from .helpers.vector_tables import WORDS, make_folder, make_source
from .helpers.vectors_command import run

HALF = "a\ud800"


def fails(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        read(open_source(str(path), **options))
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_an_error_is_one_line_whatever_is_in_it():
    assert str(InputError("a\nb\x1b[2J\ud800 ö 東")) == r"a\nb\x1b[2J\ud800 ö 東"
    assert printable("plain") == "plain"


def test_the_name_of_a_member_may_hold_anything(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a\n\x1b[31m", "x 1 2\ny 1\n")
    assert r"a\n\x1b[31m" in fails(tmp_path / "a.zip", "line 2")


def write_safetensors(path, header, data=bytes(24)):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def tensor(**changes):
    return {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"data_offsets": ["a\nb", 60]},
        {"shape": ["a\nb", 3]},
        {"dtype": ["F\n32"]},
        {"shape": {"a\n": 1}},
    ],
)
def test_a_hostile_tensor_is_one_line(tmp_path, changes):
    path = write_safetensors(tmp_path / "a.safetensors", {"v": tensor(**changes)})
    fails(path, "safetensors: ")


# Words with half of a surrogate pair.


def half_list(tmp_path):
    numpy.save(tmp_path / "a.npy", table()[:2])
    (tmp_path / "a.json").write_text(json.dumps([HALF, "b"]))
    return tmp_path / "a.npy"


def half_metadata(tmp_path):
    header = {"v": tensor(), "__metadata__": {"words": json.dumps([HALF, "b"])}}
    return write_safetensors(tmp_path / "a.safetensors", header)


def half_npz(tmp_path):
    numpy.savez(tmp_path / "a.npz", words=numpy.array([HALF, "b"]), v=table()[:2])
    return tmp_path / "a.npz"


def half_model2vec(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"embeddings": tensor()})
    vocab = {"type": "WordPiece", "vocab": {HALF: 0, "b": 1}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": vocab}))
    return tmp_path


@pytest.mark.parametrize("write", [half_list, half_metadata, half_npz, half_model2vec])
def test_half_of_a_pair_is_not_a_word(write, tmp_path):
    source = write(tmp_path)
    out = tmp_path / "out"
    output = run("convert", source, out, status=1)
    assert "half of a surrogate pair" in output
    assert len(output.splitlines()) == 1
    output = run("convert", source, out, "--skip-bad")
    assert "1 rows without a word left out" in output
    assert spacy.load(out).vocab.vectors.n_keys == 1


@pytest.fixture
def stock(tmp_path):
    """The vocab of a pipeline with spaCy's own vectors."""
    nlp = spacy.blank("en")
    for i, word in enumerate(["cat", "dog", "bird"]):
        nlp.vocab.set_vector(word, numpy.arange(3, dtype="f") + i)
    nlp.to_disk(tmp_path / "stock")
    return tmp_path / "stock" / "vocab"


def test_half_of_a_pair_in_the_strings_of_spacy(stock):
    strings = [*srsly.read_json(stock / "strings.json"), HALF]
    (stock / "strings.json").write_text(json.dumps(strings))
    fails(stock, "holds half of a surrogate pair")


@pytest.mark.parametrize(
    "entries", [{1.0: 0}, {1: 0.5}, {1: True}, {"1": 0}, {-1: 0}, {2**63: None}, [1]]
)
def test_keys_of_spacy_are_integers(stock, entries):
    (stock / "key2row").write_bytes(srsly.msgpack_dumps(entries))
    fails(stock, "is not a map of keys to rows")


def test_text_beyond_unicode_is_an_input_error(tmp_path):
    # Units of 0x11ffff.
    words = numpy.frombuffer(b"\xff\xff\x11\x00" * 6 * 5, "<U6")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, array in (("words", words), ("v", table())):
            data = io.BytesIO()
            header = {"descr": array.dtype.str, "fortran_order": False}
            numpy.lib.format.write_array_header_1_0(
                data, {**header, "shape": array.shape}
            )
            archive.writestr(f"{name}.npy", data.getvalue() + array.tobytes())
    fails(tmp_path / "a.npz", "a word is not valid text")


# Bombs: little data that becomes much.


def test_the_sizes_that_an_archive_states_are_not_believed(tmp_path, monkeypatch):
    numpy.savez_compressed(
        tmp_path / "a.npz", words=numpy.array(["a", "b"]), v=numpy.zeros((2, 100_000))
    )
    path = tmp_path / "a.npz"
    # As if each member had been packed to 1 GB.
    data = bytearray(path.read_bytes())
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 20 : at + 24] = (10**9).to_bytes(4, "little")
    path.write_bytes(data)
    from spacy_embedkit.vectors.sources import arrays

    monkeypatch.setattr(arrays, "MAX_BYTES", 10_000)
    fails(path, "as no vectors do")


def write_tar(path, n_members, size=0):
    with tarfile.open(path, "w:gz") as archive:
        for i in range(n_members):
            info = tarfile.TarInfo(f"member{i}")
            info.size = size
            archive.addfile(info, io.BytesIO(bytes(size)))
    return path


def test_a_tar_of_many_members_is_refused(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar.gz", 30)
    fails(path, "holds 30 files")
    monkeypatch.setattr(unpacking, "MAX_MEMBERS", 20)
    fails(path, "more than 20 files", member="member25")


def test_a_tar_that_unpacks_to_too_much_is_not_listed(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar.gz", 3, 10_000_000)
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    fails(path, "unpacks to more than 200 times")


@pytest.mark.parametrize("columns", [["word", "v"], ["v"]])
def test_a_parquet_file_of_equal_numbers_is_refused(tmp_path, monkeypatch, columns):
    arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
    parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
    n = 100_000
    parts = {"word": arrow.array(["a"] * n), "v": arrow.array([1.0] * n)}
    made = arrow.table({name: parts[name] for name in columns})
    parquet.write_table(made, tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text("a\n" * n)
    from spacy_embedkit.vectors.sources import word_lists

    monkeypatch.setattr(word_lists, "MAX_BYTES", 1000)
    fails(tmp_path / "a.parquet", "as no vectors do")


def read_damaged_footers(path, damaged):
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little") + 8
    for at in range(len(data) - size, len(data)):
        for value in (0, 0x15, 0x19, 0x3C):
            damaged.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
            with contextlib.suppress(InputError):
                list(open_source(str(damaged)).batches)


def test_a_damaged_footer_does_not_end_the_process(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
    parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
    columns = {"word": ["a", "b"], "vector": [[0.5, 1.0], [1.5, 2.0]]}
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table(columns), path, store_schema=False)
    process = start_process(read_damaged_footers, path, tmp_path / "b.parquet")
    assert exit_code(process) == 0


def test_batches_of_wide_rows_are_small(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
    parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
    rows = numpy.random.default_rng(0).normal(size=(60, 20_000)).astype("f")
    values = arrow.FixedSizeListArray.from_arrays(rows.reshape(-1), 20_000)
    words = [str(i) for i in range(60)]
    parquet.write_table(arrow.table({"w": words, "v": values}), tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"))
    assert [len(batch.rows) for batch in source.batches] == [52, 8]


@pytest.mark.parametrize("kind", ["F32", "F64"])
def test_a_mapping_of_floats_is_refused(tmp_path, kind):
    dtype = {"F32": "<f4", "F64": "<f8"}[kind]
    mapping = numpy.array([numpy.nan, 0], dtype).tobytes()
    more = {"dtype": kind, "shape": [2], "data_offsets": [24, 24 + len(mapping)]}
    header = {"embeddings": tensor(), "mapping": more}
    write_safetensors(tmp_path / "model.safetensors", header, bytes(24) + mapping)
    vocab = {"type": "WordPiece", "vocab": {"a": 0, "b": 1}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": vocab}))
    fails(tmp_path, "mapping is")


# What is unpacked for reading.


def test_what_a_killed_process_unpacked_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    left = tmp_path / "tmp" / f"{inputs.PREFIX}left"
    left.touch()
    (tmp_path / "tmp" / "others").touch()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(write_word2vec(tmp_path / "a.bin"))
    first = inputs.open_input(str(tmp_path / "a.zip")).local()
    second = inputs.open_input(str(tmp_path / "a.zip")).local()
    assert not left.exists()
    assert {first, second} < {*(tmp_path / "tmp").iterdir()}
    assert first.read_bytes() == second.read_bytes()
    assert len([*Path(tmp_path / "tmp").iterdir()]) == 3


# Asking about a table.


def test_info_splits_as_the_language_of_the_folder_does(tmp_path):
    words = ["I", "do", "n't", "know", "dɔn"]
    rows = numpy.eye(5, dtype="f")
    folder = make_folder(tmp_path / "out", make_source(rows, words), lang="en")
    (tmp_path / "raw.txt").write_text("I don't know\n")
    asked = [folder, "--text", tmp_path / "raw.txt"]
    output = run("info", *asked)
    assert "100.0%" in output
    assert "none" in output
    assert "don't" in run("info", *asked, "--lang", "xx")
    vocab = folder / "vocab" / "embedkit_vectors"
    output = run("info", vocab, "--text", tmp_path / "raw.txt")
    assert "don't" in output
    assert "xx" in output
    output = run("info", vocab, "--text", tmp_path / "raw.txt", "--lang", folder)
    assert "100.0%" in output


@pytest.mark.parametrize("attr", ["LOWER", "NORM", "PREFIX"])
def test_info_looks_up_the_attribute_of_the_table(tmp_path, attr):
    words = {"LOWER": ["no", "way"], "NORM": ["no", "way"], "PREFIX": ["N", "w"]}[attr]
    source = make_source(numpy.eye(2, dtype="f"), words)
    folder = make_folder(tmp_path / "out", source, attr=attr)
    (tmp_path / "raw.txt").write_text("No way\n")
    assert "100.0%" in run("info", folder, "--text", tmp_path / "raw.txt")


def test_the_language_of_a_hostile_folder_is_not_a_path(tmp_path):
    folder = make_folder(tmp_path / "out")
    meta = srsly.read_json(folder / "meta.json")
    srsly.write_json(folder / "meta.json", {**meta, "lang": str(tmp_path / "out")})
    (tmp_path / "raw.txt").write_text("the cat\n")
    assert "xx" in run("info", folder, "--text", tmp_path / "raw.txt")


def test_neighbours_where_rows_have_no_key_or_no_word(stock):
    keys = srsly.msgpack_loads((stock / "key2row").read_bytes())
    first = next(iter(keys))
    dropped = {key: row for key, row in keys.items() if key != first}
    (stock / "key2row").write_bytes(srsly.msgpack_dumps(dropped))
    strings = srsly.read_json(stock / "strings.json")
    (stock / "strings.json").write_text(json.dumps([*strings, *WORDS]))
    words = [word for word in ("cat", "dog", "bird") if word in strings]
    vectors = open_vectors(str(stock))
    known = [word for word in words if word in vectors]
    (stock / "strings.json").write_text(json.dumps(known[:1]))
    vectors = open_vectors(str(stock))
    [(name, _)] = neighbours(vectors, known[0], 5)
    assert name.isdigit()


def test_a_language_that_can_not_be_loaded_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("a 1 2\n")
    folder = make_folder(tmp_path / "lang")
    (folder / "vocab" / "embedkit_vectors" / "table.json").write_text("{}")
    output = run(
        "convert", tmp_path / "a.txt", tmp_path / "out", "--lang", folder, status=1
    )
    assert "--lang is" in output
    assert len(output.splitlines()) == 1
