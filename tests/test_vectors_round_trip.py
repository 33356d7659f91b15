"""Every format, from the library that writes it to the pipeline that reads it."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.vectors import Vectors

from .helpers.vector_files import NO_LIBRARY, WORDS, table, train, write_model2vec
from .helpers.vectors_command import run


def gensim_vectors():
    models = pytest.importorskip("gensim.models", reason=NO_LIBRARY)
    vectors = models.KeyedVectors(3)
    vectors.add_vectors(WORDS, table())
    return vectors


def write_gensim(folder, **kwargs):
    vectors = gensim_vectors()
    vectors.save_word2vec_format(str(folder / "file"), **kwargs)
    return "file", [], {word: vectors[word] for word in WORDS}


def write_text(folder):
    return write_gensim(folder, binary=False)


def write_glove(folder):
    return write_gensim(folder, binary=False, write_header=False)


def write_binary(folder):
    return write_gensim(folder, binary=True)


def write_native(folder):
    vectors = gensim_vectors()
    vectors.save(str(folder / "file.kv"), sep_limit=0)
    found = {word: vectors[word] for word in WORDS}
    return "file.kv", ["--trust-pickle"], found


def write_fasttext(folder):
    model, path = train(folder, "fasttext", 2, 4)
    asked = [*WORDS, "unheard", "ß"]
    found = {word: model.get_word_vector(word) for word in asked}
    return path.name, ["--subwords"], found


def write_fasttext_text(folder):
    model, _ = train(folder, "fasttext", 2, 4)
    found = {word: model.get_word_vector(word) for word in WORDS}
    lines = [f"{word} {' '.join(map(str, row))} " for word, row in found.items()]
    (folder / "a.vec").write_text("\n".join([f"{len(found)} 4", *lines, ""]), "utf8")
    return "a.vec", [], found


def write_floret(folder, suffix=".bin"):
    model, path = train(folder, "floret", 2, 4, mode="floret", hashCount=2)
    if suffix == ".floret":
        path = folder / "a.floret"
        model.save_floret_vectors(str(path))
    # The library takes n-grams that are the whole word twice for words it knows.
    asked = ["unheard-of", "häuserzeilen", "東京東京東京"]
    return path.name, ["--mode", "floret"], {w: model.get_word_vector(w) for w in asked}


def write_floret_text(folder):
    return write_floret(folder, ".floret")


def write_npy(folder):
    numpy.save(folder / "a.npy", table())
    (folder / "words.json").write_text(json.dumps(WORDS))
    found = dict(zip(WORDS, table(), strict=True))
    return "a.npy", ["--words", str(folder / "words.json")], found


def write_npz(folder):
    numpy.savez(folder / "a.npz", vectors=table(), words=numpy.array(WORDS))
    return "a.npz", [], dict(zip(WORDS, table(), strict=True))


def write_parquet(folder):
    arrow = pytest.importorskip("pyarrow", reason=NO_LIBRARY)
    parquet = pytest.importorskip("pyarrow.parquet", reason=NO_LIBRARY)
    columns = {"word": WORDS, "vector": table().tolist()}
    parquet.write_table(arrow.table(columns), folder / "a.parquet")
    return "a.parquet", [], dict(zip(WORDS, table(), strict=True))


def write_safetensors(folder):
    numpy_files = pytest.importorskip("safetensors.numpy", reason=NO_LIBRARY)
    numpy_files.save_file({"embeddings": table()}, folder / "a.safetensors")
    (folder / "words.txt").write_text("\n".join(WORDS), "utf8")
    found = dict(zip(WORDS, table(), strict=True))
    return "a.safetensors", ["--words", str(folder / "words.txt")], found


def write_static_model(folder):
    model = write_model2vec(folder / "model", "mapping")
    return "model", [], {word: model.encode(word) for word in WORDS[:3]}


def write_spacy(folder):
    nlp = spacy.blank("en")
    strings = nlp.vocab.strings
    nlp.vocab.vectors = Vectors(
        strings=strings, data=table(), keys=WORDS, attr="ORTH", name="theirs"
    )
    nlp.vocab.vectors.add("kitten", row=0)
    nlp.to_disk(folder / "pipeline")
    found = {word: nlp.vocab[word].vector for word in [*WORDS, "kitten"]}
    return "pipeline", [], found


def write_spacy_floret(folder):
    settings = {"minn": 2, "maxn": 3, "hash_count": 2, "hash_seed": 7}
    nlp = spacy.blank("en")
    nlp.vocab.vectors = Vectors(
        strings=nlp.vocab.strings, data=table(), mode="floret", **settings
    )
    nlp.to_disk(folder / "pipeline")
    return "pipeline", [], {word: nlp.vocab[word].vector for word in WORDS}


WRITERS = [
    write_text,
    write_glove,
    write_binary,
    write_native,
    write_fasttext,
    write_fasttext_text,
    write_floret,
    write_floret_text,
    write_npy,
    write_npz,
    write_parquet,
    write_safetensors,
    write_static_model,
    write_spacy,
    write_spacy_floret,
]


def check(folder, expected):
    vectors = spacy.load(folder).vocab.vectors
    for word in expected:
        vectors.strings.add(word)
    assert_allclose(
        vectors.get_batch(list(expected)), list(expected.values()), atol=1e-6
    )


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__[6:])
def test_a_format_gives_what_its_library_gives(write, tmp_path):
    name, options, expected = write(tmp_path)
    run("convert", tmp_path / name, tmp_path / "out", "--lang", "en", *options)
    check(tmp_path / "out", expected)


def zipped(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("file", data)
    return buffer.getvalue()


def tarred(data):
    buffer = io.BytesIO()
    info = tarfile.TarInfo("file")
    info.size = len(data)
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
    "tar.gz": tarred,
}


@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize("write", [write_text, write_binary, write_fasttext, write_npz])
def test_a_packed_file_gives_the_same(write, packer, tmp_path):
    name, options, expected = write(tmp_path)
    packed = tmp_path / "packed"
    packed.write_bytes(PACKERS[packer]((tmp_path / name).read_bytes()))
    run("convert", packed, tmp_path / "out", "--lang", "en", *options)
    check(tmp_path / "out", expected)
