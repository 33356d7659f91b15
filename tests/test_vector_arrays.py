"""Readers of arrays with words against the libraries that wrote the files."""

import json
import zipfile

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.sources import arrays
from spacy_embedkit.vectors.sources.parquet import open_parquet
from spacy_embedkit.vectors.sources.safetensors_files import open_safetensors

from .helpers.vector_files import (
    NO_LIBRARY,
    WORDS,
    input_of,
    read,
    table,
)


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "i1", "u8", "<i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_gives_float32(tmp_path, dtype, order):
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n", "utf8")
    expected = (numpy.abs(table()) * 8).astype(dtype)
    numpy.save(tmp_path / "a.npy", numpy.asarray(expected, order=order))
    source = arrays.open_npy(input_of(tmp_path / "a.npy"), str(tmp_path / "words.txt"))
    words, rows = read(source)
    assert words == WORDS
    assert_array_equal(rows, expected.astype("f"))


def write_words(path):
    if path.suffix == ".parquet":
        arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
        parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
        parquet.write_table(arrow.table({"index": WORDS}), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(WORDS), "utf8")
    else:
        path.write_text("\r\n".join(WORDS), "utf-8-sig", newline="")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".words", ".vocab", ".json", ".parquet"])
def test_npy_finds_its_words_beside_it(tmp_path, suffix):
    numpy.save(tmp_path / "a.npy", table())
    write_words(tmp_path / f"a{suffix}")
    assert read(arrays.open_npy(input_of(tmp_path / "a.npy"), None))[0] == WORDS


def test_npy_without_words_asks_for_them(tmp_path):
    numpy.save(tmp_path / "a.npy", table())
    with pytest.raises(InputError, match=r"no words for its 5 rows.*with --words"):
        arrays.open_npy(input_of(tmp_path / "a.npy"), None)


def test_words_and_rows_have_to_agree(tmp_path):
    numpy.save(tmp_path / "a.npy", table())
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"has 5 rows, but .*a\.txt has 2 words"):
        arrays.open_npy(input_of(tmp_path / "a.npy"), None)


@pytest.mark.parametrize("array", [numpy.ones(3), numpy.ones((2, 0)), numpy.array("a")])
def test_npy_has_to_be_a_table(tmp_path, array):
    numpy.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="needed is one table of numbers"):
        arrays.open_npy(input_of(tmp_path / "a.npy"), None)


@pytest.mark.parametrize("save", [numpy.savez, numpy.savez_compressed])
@pytest.mark.parametrize("kind", ["U", "S"])
def test_npz_gives_words_and_rows(tmp_path, save, kind):
    words = numpy.array(WORDS if kind == "U" else [w.encode() for w in WORDS])
    save(tmp_path / "a.npz", anything=table(), names=words)
    words, rows = read(arrays.open_npz(input_of(tmp_path / "a.npz"), None))
    assert words == WORDS
    assert_array_equal(rows, table())


def test_npz_takes_a_list_of_words(tmp_path):
    numpy.savez(tmp_path / "a.npz", table())
    write_words(tmp_path / "a.txt")
    assert read(arrays.open_npz(input_of(tmp_path / "a.npz"), None))[0] == WORDS


def test_npz_that_fills_memory_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1 << 27))
    with pytest.raises(InputError, match="unpacks to 134217728 bytes"):
        arrays.open_npz(input_of(tmp_path / "a.npz"), None)


def columns_of(kind, arrow):
    rows = table()
    if kind == "columns":
        return {f"d{i}": rows[:, i] for i in range(3)}
    of = {
        "list": arrow.list_(arrow.float32()),
        "doubles": arrow.large_list(arrow.float64()),
        "halves": arrow.list_(arrow.float16()),
        "fixed": arrow.list_(arrow.float32(), 3),
    }[kind]
    values = rows.astype("f2") if kind == "halves" else rows
    return {"vector": arrow.array(list(values), of)}


@pytest.mark.parametrize("kind", ["list", "doubles", "halves", "fixed", "columns"])
def test_parquet_gives_words_and_rows(tmp_path, kind):
    arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
    parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
    columns = {"word": arrow.array(WORDS).dictionary_encode()} | columns_of(kind, arrow)
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet", row_group_size=2)
    source = open_parquet(input_of(tmp_path / "a.parquet"), None)
    words, rows = read(source)
    assert words == WORDS
    assert_allclose(rows, table(), rtol=1e-3)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["x"], "b": ["y"], "v": [[1.0]]}, "columns a, b, v, several of them"),
        ({"a": ["x"], "v": [[1.0]], "w": [[1.0]]}, "columns a, v, w; needed are one"),
        ({"a": ["x", "y"], "v": [[1.0], [1.0, 2.0]]}, "rows 1 to 2: a list is missing"),
        ({"a": ["x", "y"], "v": [[1.0], None]}, "rows 1 to 2: a list is missing"),
    ],
)
def test_parquet_names_what_it_cannot_tell(tmp_path, columns, message):
    arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
    parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message):
        read(open_parquet(input_of(tmp_path / "a.parquet"), None))


@pytest.mark.parametrize("form", ["\n".join, json.dumps])
def test_safetensors_gives_words_and_rows(tmp_path, form):
    numpy_api = pytest.importorskip("safetensors.numpy", reason=NO_LIBRARY)
    tensors = {"weight": table(), "other": numpy.ones((2, 2)), "n": numpy.ones(3)}
    metadata = {"words": form(WORDS)}
    numpy_api.save_file(tensors, tmp_path / "a.safetensors", metadata)
    source = open_safetensors(input_of(tmp_path / "a.safetensors"), None)
    words, rows = read(source)
    assert words == WORDS
    assert_array_equal(rows, table())


def test_safetensors_reads_bfloat16(tmp_path):
    bits = (table().view("u4") >> 16).astype("<u2")
    header = {"v": {"dtype": "BF16", "shape": [5, 3], "data_offsets": [0, 30]}}
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bits.tobytes())
    write_words(tmp_path / "a.txt")
    rows = read(open_safetensors(input_of(path), None))[1]
    assert_array_equal(rows, (bits.astype("u4") << 16).view("f"))


def test_safetensors_names_its_tensors(tmp_path):
    numpy_api = pytest.importorskip("safetensors.numpy", reason=NO_LIBRARY)
    numpy_api.save_file({"a": table(), "b": table()}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"holds a \(5 x 3 float32\), b \(5 x 3"):
        open_safetensors(input_of(tmp_path / "a.safetensors"), None)
