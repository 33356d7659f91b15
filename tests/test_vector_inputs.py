"""Formats are told by their content; packed files give their rows or an error."""

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.sources import find_format, inputs, open_source, unpacking
from spacy_embedkit.vectors.sources.inputs import open_input

TEXT = "".join(f"wört{i} {i} {i / 7:.5f}\n" for i in range(300)).encode()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(compression="", **members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PACKED = {
    "plain": TEXT,
    "gz": gzip.compress(TEXT),
    "gz-twice": gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]),
    "bz2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zip": zipped(vectors=TEXT),
    "zip-gz": zipped(vectors=gzip.compress(TEXT)),
    "zip-macos": zipped(**{"vectors": TEXT, "__MACOSX/._vectors": b"x", "empty/": b""}),
    "tar": tarred(vectors=TEXT),
    "tar-gz": tarred("gz", vectors=TEXT),
    "tar-bz2": tarred("bz2", vectors=TEXT),
    "tar-xz": tarred("xz", vectors=TEXT),
    "tar-gz-gz": tarred("gz", vectors=gzip.compress(TEXT)),
}


def save(tmp_path, data, name="packed"):
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)


def read_words(source):
    return [word for batch in source.batches for word in batch.words]


def pipe(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


@pytest.mark.parametrize("kind", PACKED)
def test_packed_files_are_unpacked_by_content(tmp_path, kind):
    path = save(tmp_path, PACKED[kind])
    input = open_input(path)
    assert input.head == TEXT
    with input.open() as stream:
        assert stream.read() == TEXT
    assert input.local().read_bytes() == TEXT
    assert input.local() == input.local()
    assert read_words(open_source(path)) == [f"wört{i}" for i in range(300)]


@pytest.mark.parametrize("kind", PACKED)
def test_standard_input_may_be_packed(monkeypatch, kind):
    pipe(monkeypatch, PACKED[kind])
    assert len(read_words(open_source("-"))) == 300
    pipe(monkeypatch, PACKED[kind])
    input = open_input("-")
    assert input.local().read_bytes() == TEXT
    with input.open() as stream:
        assert stream.read() == TEXT
    assert input.label.startswith("standard input")


def test_standard_input_is_longer_than_its_head(monkeypatch):
    monkeypatch.setattr(inputs, "HEAD_BYTES", 1000)
    pipe(monkeypatch, TEXT)
    input = open_input("-")
    assert input.head == TEXT[:1000]
    for _ in range(2):
        with input.open() as stream:
            assert stream.read() == TEXT


def test_empty_standard_input_is_named(monkeypatch):
    pipe(monkeypatch, b"")
    with pytest.raises(InputError, match="standard input: is empty"):
        open_input("-")


def test_plain_files_are_not_copied(tmp_path):
    path = save(tmp_path, TEXT)
    assert str(open_input(path).local()) == path


def test_npz_is_left_to_its_reader(tmp_path):
    numpy.savez(tmp_path / "a.npz", one=numpy.ones(3), two=numpy.ones(3))
    input = open_input(str(tmp_path / "a.npz"))
    assert input.local() == tmp_path / "a.npz"
    assert find_format(input.head) == "npz"


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_is_chosen(tmp_path, pack):
    path = save(tmp_path, pack(a=b"a 1\n", b=b"b 1\n", c=gzip.compress(b"c 1\n")))
    input = open_input(path, "b")
    assert input.label == f"{path}!b"
    assert input.open().read() == b"b 1\n"
    assert open_input(path, "c").open().read() == b"c 1\n"
    with pytest.raises(InputError, match=r"holds 3 files; choose .* one of: a, b, c$"):
        open_input(path)
    with pytest.raises(InputError, match=r"has no file 'd'; .* one of: a, b, c$"):
        open_input(path, "d")


def test_only_some_members_are_listed(tmp_path):
    path = save(tmp_path, zipped(**{f"m{i}": b"a 1\n" for i in range(12)}))
    with pytest.raises(InputError, match=r"holds 12 files; .* m9, \.\.\.$"):
        open_input(path)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_without_files_is_named(tmp_path, pack):
    with pytest.raises(
        InputError, match=r"holds no files|unlike any known format|holds no arrays"
    ):
        open_source(save(tmp_path, pack()))


def test_a_member_needs_an_archive(tmp_path):
    with pytest.raises(InputError, match="is not an archive, so it has no member 'a'"):
        open_input(save(tmp_path, TEXT), "a")


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a\\..\\x"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_members_are_never_written_under_their_names(tmp_path, pack, name):
    (tmp_path / "in").mkdir()
    before = sorted(tmp_path.rglob("*"))
    path = save(tmp_path / "in", pack(**{name: TEXT}))
    local = open_input(path).local()
    assert local.read_bytes() == TEXT
    assert local.parent == Path(tempfile.gettempdir())
    assert sorted(tmp_path.rglob("*")) == [*before, Path(path)]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_tar_are_not_read(tmp_path, kind):
    info = tarfile.TarInfo("bad")
    info.type, info.linkname = kind, "good"
    with tarfile.open(tmp_path / "tar", "w") as archive:
        archive.addfile(info)
    for member in (None, "bad"):
        with pytest.raises(InputError, match="holds no files"):
            open_input(str(tmp_path / "tar"), member)


def test_links_in_zip_are_not_followed(tmp_path):
    info = zipfile.ZipInfo("bad")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert open_input(str(tmp_path / "zip")).head == b"/etc/passwd"


def test_encrypted_zip_is_refused(tmp_path):
    data = bytearray(zipped(secret=TEXT))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match=r"broken or cut off.*secret.*encrypted"):
        open_input(save(tmp_path, data))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_bombs_are_stopped(tmp_path, monkeypatch, compress):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 2_000_000)
    path = save(tmp_path, compress(b"a 1\n" * 2_000_000))
    input = open_input(path)
    for unpack in (input.local, lambda: input.open().read()):
        with pytest.raises(InputError, match="unpacks to more than 200 times the"):
            unpack()


@pytest.mark.parametrize("pack", [zipped, lambda **files: tarred("xz", **files)])
def test_bombs_in_archives_are_stopped(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 2_000_000)
    with pytest.raises(InputError, match="unpacks to more than 200 times the"):
        open_input(save(tmp_path, pack(vectors=b"a 1\n" * 2_000_000))).local()


def test_files_packed_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match="is compressed more than once; unpack it"):
        open_input(save(tmp_path, gzip.compress(gzip.compress(TEXT))))
    with pytest.raises(InputError, match="holds no arrays"):
        open_source(save(tmp_path, gzip.compress(zipped(vectors=TEXT))))


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(stream, out, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inputs.shutil, "copyfileobj", full)
    path = save(tmp_path, zipped(vectors=TEXT))
    with pytest.raises(
        InputError, match=r"could not be saved to .*No space left.*make"
    ):
        open_input(path).local()


def test_temporary_files_of_failed_unpacking_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "HEAD_BYTES", 100)
    monkeypatch.setattr(unpacking, "BUFFER", 100)
    monkeypatch.setattr(inputs.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    input = open_input(save(tmp_path, PACKED["gz"][:-10]))
    with pytest.raises(InputError, match=r"broken or cut off, about [\d,]+ bytes into"):
        input.local()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("kind", sorted(set(PACKED) - {"plain", "gz-twice"}))
def test_cut_files_give_all_rows_or_an_input_error(tmp_path, kind):
    data = PACKED[kind]
    for cut in sorted({*range(0, len(data), max(1, len(data) // 20)), len(data) - 1}):
        path = save(tmp_path, data[:cut])
        try:
            words = read_words(open_source(path))
        except InputError as err:
            assert path in str(err)  # noqa: PT017
        else:
            assert len(words) == 300


@pytest.mark.parametrize("kind", sorted(set(PACKED) - {"plain"}))
def test_changed_bytes_never_raise_anything_else(tmp_path, kind):
    rng = numpy.random.default_rng(3)
    for _ in range(25):
        data = bytearray(PACKED[kind])
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            read_words(open_source(save(tmp_path, data)))
        except InputError:
            continue


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(InputError, match="missing: No such file or directory; check"):
        open_source(str(tmp_path / "missing"))
    with pytest.raises(InputError, match="is a folder; name"):
        open_input(str(tmp_path))
    with pytest.raises(InputError, match="is empty; check"):
        open_input(save(tmp_path, b""))
    with pytest.raises(InputError, match="is empty; check"):
        open_input(save(tmp_path, gzip.compress(b"")))
    with pytest.raises(InputError, match="check the name"):
        open_input("a\0b")
    with pytest.raises(InputError, match="File name too long"):
        open_source("a" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe or a device, not a file"):
        open_input(str(tmp_path / "pipe"))


def test_files_without_permission_are_named(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    path = save(tmp_path, TEXT)
    monkeypatch.setattr(inputs.Path, "open", refuse)
    with pytest.raises(InputError, match="packed: Permission denied; check the name"):
        open_input(path)


@pytest.mark.parametrize(
    ("head", "format"),
    [
        (b"\x93NUMPY\x01\x00", "npy"),
        (b"PAR1\x15\x04", "parquet"),
        (struct.pack("<i", 793712314), "fasttext"),
        (b"\x80\x04\x95", "gensim"),
        (b"\x80\x01\x95", None),
        (struct.pack("<Q", 40) + b'{"a":', "safetensors"),
        (struct.pack("<Q", 10**9) + b'{"a":', None),
        (b"\x00\x01\x02\x03 \xff 2", None),
        (b"5 3\n\xff\xfe 1 2 3\n", "text"),
        (b"\xffw\xf6rd 0.1 0.2\n", "text"),
        (b"2 3\na 1 2 x\n", "text"),
        (b"2 3\na 1 2\0 3\n", "text"),
        (b"5 3\n", "text"),
    ],
)
def test_formats_are_told_by_their_first_bytes(head, format):
    assert find_format(head) == format


def is_printable(data):
    try:
        return data.decode().replace("\n", "").isprintable()
    except UnicodeDecodeError:
        return False


words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
values = st.floats(-10, 10, width=32)


@given(
    word=words,
    rows=st.integers(2, 12).flatmap(
        lambda width: st.lists(
            st.lists(values, min_size=width, max_size=width), min_size=2, max_size=4
        )
    ),
    newline=st.sampled_from([b"\n", b""]),
)
def test_text_and_binary_are_told_apart(word, rows, newline):
    head = b"%d %d\n" % (len(rows), len(rows[0]))
    start = word.encode() + b" "
    text = b"".join(start + " ".join(map(str, row)).encode() + b"\n" for row in rows)
    assert find_format(head + text) == "text"
    assert find_format(text) == "text"
    binary = b"".join(
        start + numpy.asarray(row, dtype="<f4").tobytes() + newline for row in rows
    )
    # Floats of a narrow table may happen to be printable, and nothing tells them then.
    assume(not is_printable(binary))
    assert find_format(head + binary) == "word2vec"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"<!DOCTYPE html>\n<title>404</title>", "is a web page and not the file"),
        (b"\n <html lang='en'><body>", "is a web page and not the file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        ("a 1 2\n".encode("utf-16"), "is text in UTF-16, not UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", "unlike any known format; known are word2vec"),
    ],
)
def test_other_files_are_refused(tmp_path, head, message):
    with pytest.raises(InputError, match=message):
        open_source(save(tmp_path, head))
    with pytest.raises(InputError, match=message.split(";")[0]):
        open_source(save(tmp_path, gzip.compress(head)))


def test_html_as_a_word_is_text(tmp_path):
    path = save(tmp_path, b"<html 1 2\n<html> 3 4\n")
    assert read_words(open_source(path)) == ["<html", "<html>"]


def test_settings_that_do_not_fit_are_refused(tmp_path):
    path = save(tmp_path, TEXT)
    with pytest.raises(InputError, match="has its own words; leave out the list"):
        open_source(path, words="words.txt")
    with pytest.raises(InputError, match="has no n-grams of fastText"):
        open_source(path, subwords=True)
