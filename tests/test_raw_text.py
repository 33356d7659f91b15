"""Raw text as a corpus: files in by content, errors by their words."""

import gzip
import json
import logging
import sys
import textwrap

import pytest
import spacy
from spacy.tokens import Doc

from spacy_embedkit.checks import InputError
from spacy_embedkit.readers import build_raw_text_v1
from spacy_embedkit.text import read
from spacy_embedkit.text.read import read_pieces, read_texts

TEXTS = ["A maré é alta\ne cheia.", "Um barco\0 velho 🙂", "東京。x\u200b\u0301"]
ALONE = {"min_length": 0, "shuffle": 0}


def to_jsonl(texts, key="text"):
    return "\n".join(json.dumps({key: text, "id": 1}) for text in texts).encode()


def to_parquet(texts, key="text", **settings):
    arrow = pytest.importorskip("pyarrow", reason="needs the extra vectors")
    parquet = pytest.importorskip("pyarrow.parquet")
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.table({"id": [1] * len(texts), key: texts}), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def write(tmp_path):
    """Write bytes to a file, and return its path as a user would give it."""

    def write(content, name="raw"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture(scope="module")
def blank():
    return spacy.blank("en")


def texts_of(corpus, nlp):
    return [doc.text for doc in corpus(nlp)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "content",
    [
        to_jsonl(TEXTS),
        b"\xef\xbb\xbf \n" + to_jsonl(TEXTS),
        to_jsonl(TEXTS).replace(b"\n", b"\r\n\r\n"),
    ],
)
def test_docs_have_the_texts_with_their_line_breaks(write, blank, content, pack):
    corpus = build_raw_text_v1(write(pack(content)), **ALONE)
    assert texts_of(corpus, blank) == TEXTS
    assert all(isinstance(doc, Doc) for doc in corpus(blank))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_text_is_a_text_per_line(write, blank, pack):
    path = write(pack("\ufeffone\r\n\n  two words \n\x0c\n three".encode()))
    corpus = build_raw_text_v1(path, **ALONE)
    assert texts_of(corpus, blank) == ["one", "two words", "three"]
    assert corpus.counts.as_dict() == {
        "texts": 3,
        "docs": 3,
        "tokens": 4,
        "split": 0,
        "joined": 0,
        "blank": 2,
    }


def test_parquet_has_a_column_of_texts(write, blank):
    path = write(to_parquet([*TEXTS, None, " "] * 200, key="body"), "x.txt")
    corpus = build_raw_text_v1(path, text_key="body", **ALONE)
    assert texts_of(corpus, blank) == TEXTS * 200
    assert corpus.counts.blank == 400


def test_parquet_serves_the_other_commands_too(write):
    assert list(read_texts([write(to_parquet(TEXTS)), write(b"z", "z")])) == [
        *TEXTS,
        "z",
    ]


def test_text_key_names_the_key_of_jsonl(write, blank):
    corpus = build_raw_text_v1(write(to_jsonl(TEXTS, "body")), text_key="body", **ALONE)
    assert texts_of(corpus, blank) == TEXTS


def test_folders_and_patterns_stand_for_sorted_files(write, tmp_path, blank):
    for name in ["b/2.jsonl.gz", "b/1.txt", "a/x.txt", "b/.hidden", ".git/y", "c"]:
        write(gzip.compress(name.encode()), name)
    folder = str(tmp_path)
    everything = ["a/x.txt", "b/1.txt", "b/2.jsonl.gz", "c"]
    for path, expected in [
        (folder, everything),
        (tmp_path / "b", everything[1:3]),
        (f"{folder}/*/*.txt", everything[:2]),
        (f"{folder}/**", everything),
        ([f"{folder}/c", tmp_path / "a"], ["c", "a/x.txt"]),
    ]:
        assert texts_of(build_raw_text_v1(path, **ALONE), blank) == expected


def test_file_with_the_name_of_a_pattern_is_a_file(write, blank):
    write(b"other", "raw1")
    path = write(b"own", "raw[1]")
    assert texts_of(build_raw_text_v1(path, **ALONE), blank) == ["own"]


@pytest.mark.parametrize("path", [None, "", []])
def test_path_may_be_null_until_it_is_read(blank, path):
    corpus = build_raw_text_v1(path)
    with pytest.raises(InputError, match=r"^RawText.v1: path is null; set it"):
        corpus(blank)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("-", "standard input can be read only once"),
        ("{}/nothing", "nothing: No such file"),
        ("{}/empty", "empty: has no files"),
        ("{}/raw-*.gz", r"raw-\*.gz: matches no file"),
        ("{}/blank", r"blank: no text in 1 files, but 3 blank ones"),
        ("{}/zero", r"zero: no text in 1 files, but 0 blank ones"),
    ],
)
def test_missing_or_empty_corpus_is_named(write, tmp_path, blank, path, words):
    (tmp_path / "empty").mkdir()
    write(b" \n\n\t\n", "blank")
    write(b"", "zero")
    corpus = build_raw_text_v1(path.format(tmp_path))
    with pytest.raises(InputError, match=words) as caught:
        list(corpus(blank))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"text": "a"}\n{"text": ', "raw, line 2: not JSON"),
        (b'{"txt": "a"}', 'line 1: .* has no string under "text"'),
        (b"a\n\xff", "raw, line 2: byte 1 is 0xff, which is not UTF-8"),
        (gzip.compress(b"text\n" * 50, mtime=0)[:-9], "raw: broken gzip data"),
        (to_parquet(TEXTS)[:-30], "raw: broken Parquet"),
        (to_parquet(TEXTS, "body"), "raw: has no column 'text', but id, body"),
        (to_parquet([1, 2]), "raw: column 'text' is int64, not text"),
        (to_parquet([["a"]]), "raw: column 'text' is list.*, not text"),
    ],
)
@pytest.mark.parametrize("is_kept", [False, True])
def test_broken_file_is_named(write, tmp_path, blank, content, words, is_kept):
    folder = tmp_path / "cache" if is_kept else None
    corpus = build_raw_text_v1(write(content), cache_dir=folder)
    with pytest.raises(InputError, match=words) as caught:
        list(corpus(blank))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("cache/*")) == []


def test_missing_pyarrow_names_the_extra(write, monkeypatch):
    path = write(to_parquet(TEXTS))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'spacy-embedkit\[vectors\]'"):
        list(read_texts([path]))


def test_half_characters_are_replaced(write, blank):
    corpus = build_raw_text_v1(write(rb'{"text": "a \ud800 b"}'), **ALONE)
    assert texts_of(corpus, blank) == ["a \ufffd b"]


@pytest.mark.parametrize("is_kept", [False, True])
def test_shard_that_vanishes_between_epochs_is_named(write, tmp_path, blank, is_kept):
    paths = [write(b"one two", f"raw-{i}.txt") for i in range(3)]
    folder = tmp_path / "cache" if is_kept else None
    corpus = build_raw_text_v1(f"{tmp_path}/raw-*.txt", cache_dir=folder)
    assert len(list(corpus(blank))) == 3
    (tmp_path / "raw-1.txt").unlink()
    with pytest.raises(InputError, match=f"{paths[1]}: No such file"):
        corpus(blank)


@pytest.mark.parametrize("unit", ["word ", "x", "é🙂", "One. Two! ", " " * 9 + "a"])
def test_giant_line_is_read_in_pieces(write, monkeypatch, unit):
    monkeypatch.setattr(read, "PIECE_BYTES", 1000)
    line = unit * 1000
    path = write(f"first\n{line}\nlast".encode())
    pieces = list(read_pieces(path))
    assert [piece.starts for piece in pieces].count(True) == 3
    assert max(len(piece.text.encode()) for piece in pieces) <= 2000
    whole = "".join(piece.text for piece in pieces[1:-1])
    assert whole.strip() == line.strip()


def test_giant_line_of_json_is_one_text(write, monkeypatch):
    monkeypatch.setattr(read, "PIECE_BYTES", 10)
    assert list(read_texts([write(to_jsonl(TEXTS) + b"\n\n")])) == TEXTS


def test_line_of_json_without_end_is_not_held_in_memory(write, monkeypatch):
    monkeypatch.setattr(read, "PIECE_BYTES", 10)
    monkeypatch.setattr(read, "MAX_JSON_BYTES", 100)
    path = write(gzip.compress(b'{"text": "a"}\n{"text": "' + b"a" * 10**6))
    with pytest.raises(InputError, match="raw, line 2: is longer than 100 bytes; cut"):
        list(read_texts([path]))


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b", "*\0"])
def test_what_can_not_be_a_path_is_named(path):
    with pytest.raises(InputError, match=r"is not a path, .*; fix it") as caught:
        list(read_texts([path]))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("place", [3, -6])
def test_broken_gzip_is_named(write, place):
    data = bytearray(gzip.compress(b"one two\n" * 99))
    data[place] ^= 0xFF
    with pytest.raises(InputError, match=r"raw: .*gzip data .*; copy it again"):
        list(read_texts([write(bytes(data))]))


WRAPPED = (
    "It was the best of times,\nit was the worst of times.\n\n\n  It was the age \n"
    "of wisdom.\n \t\nIt was\n"
)
PARAGRAPHS = [
    "It was the best of times, it was the worst of times.",
    "It was the age of wisdom.",
    "It was",
]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_a_paragraph_are_joined(write, blank, pack, end):
    path = write(pack(("\n" + WRAPPED).replace("\n", end).encode()))
    corpus = build_raw_text_v1(path, **ALONE, unit="paragraph")
    assert texts_of(corpus, blank) == PARAGRAPHS
    assert corpus.counts.texts == 3


def test_long_paragraph_comes_in_parts(write, monkeypatch):
    monkeypatch.setattr(read, "PIECE_BYTES", 20)
    path = write(b"one two three\nfour five six\nseven\n\nlast")
    pieces = list(read_pieces(path, unit="paragraph"))
    assert [tuple(piece) for piece in pieces] == [
        ("one two three four five six", True),
        ("seven", False),
        ("last", True),
    ]


def test_texts_of_json_are_no_paragraphs(write):
    path = write(to_jsonl(TEXTS))
    assert [text for text, _ in read_pieces(path, unit="paragraph")] == TEXTS


def wrap(text, width=60):
    return "\n".join(textwrap.wrap(text, width))


PROSE = (
    "The ship left the harbour early, and nobody saw it go. Its captain, an old man of "
    "few words, stood at the helm until the coast had sunk below the horizon. "
) * 9


@pytest.mark.parametrize(
    ("content", "is_warned"),
    [
        ("\n\n".join([wrap(PROSE)] * 3), True),
        (wrap(PROSE * 3), True),
        (wrap(PROSE[:300]), False),
        (PROSE.replace(". ", ".\n") * 3, False),
        ("\n".join(f"word{i} " * (i % 9) for i in range(99)), False),
        ("\n".join([PROSE] * 30), False),
        (json.dumps({"text": wrap(PROSE * 3)}), False),
    ],
    ids=[
        "paragraphs",
        "no blank lines",
        "short",
        "sentences",
        "uneven",
        "texts",
        "json",
    ],
)
def test_wrapped_lines_are_named_once(
    write, blank, caplog, monkeypatch, content, is_warned
):
    monkeypatch.setattr(logging.getLogger("spacy"), "propagate", True)
    corpus = build_raw_text_v1(write(content.encode()), shuffle=0)
    for _ in range(2):
        list(corpus(blank))
    warned = [x for x in caplog.messages if 'set unit = "paragraph"' in x]
    assert len(warned) == is_warned
    paragraphs = build_raw_text_v1(write(content.encode()), unit="paragraph")
    caplog.clear()
    list(paragraphs(blank))
    assert not caplog.messages


def test_broken_byte_of_a_giant_line_has_its_place(write, monkeypatch):
    monkeypatch.setattr(read, "PIECE_BYTES", 100)
    path = write("ab é ".encode() * 100 + b"\xff")
    with pytest.raises(InputError, match="line 1: byte 601 is 0xff"):
        list(read_texts([path]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_length": 0}, "max_length is 0, but 1 to 10000 is allowed"),
        ({"max_length": 10_001}, "max_length is 10001, but"),
        ({"min_length": -1}, "min_length is -1, but 0 to max_length, 500"),
        ({"min_length": 6, "max_length": 5}, "min_length is 6, but 0 to max_length, 5"),
        ({"shuffle": -1}, "shuffle is -1, but 0 or more"),
        ({"limit": -1}, "limit is -1, but 0 or more"),
        ({"max_cache_gb": float("nan")}, "max_cache_gb is nan, but 0 or more"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=f"^RawText.v1: {words}"):
        build_raw_text_v1("raw", **settings)
