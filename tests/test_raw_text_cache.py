"""The cache of tokenized docs: the same docs, within bounds, complete or not at all."""

import errno
import logging
import os
import time
import zlib

import pytest
import spacy
import srsly
from spacy.tokens import Doc

from spacy_embedkit.readers import build_raw_text_v1
from spacy_embedkit.text import docs_cache, docs_file, split

NLP = spacy.blank("en")
LINES = [
    "I don't know , he said . She can't either , the cats' mat !",
    "Oh .",
    "naïve café — 東京 🙂🙂 the  zebra A\u0301 \u200b x nsubj NORM",
    "",
    *(f"This is line {i} , and word{i} is new . " * (i % 4) for i in range(60)),
]


@pytest.fixture
def corpus(tmp_path):
    """Make a reader of two files, by default with a folder for docs."""
    for i in range(2):
        path = tmp_path / f"raw-{i}.txt"
        path.write_text("\n".join(LINES[i:]), encoding="utf-8")
        os.utime(path, ns=(1, 1))

    def corpus(**settings):
        settings = {"cache_dir": tmp_path / "cache", "max_length": 20, **settings}
        return build_raw_text_v1(f"{tmp_path}/raw-*", shuffle=0, **settings)

    return corpus


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("spacy"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="spacy")
    return caplog


@pytest.fixture
def made(monkeypatch):
    """Count the texts that are tokenized."""
    calls = []
    make = split.make_docs

    def count(nlp, *args):
        calls.append(1)
        return make(nlp, *args)

    monkeypatch.setattr("spacy_embedkit.text.corpus.make_docs", count)
    return calls


def facts(corpus, nlp=NLP):
    docs = corpus(nlp)
    return [[(t.text, t.whitespace_, t.norm_, t.idx) for t in doc] for doc in docs]


def files_in(tmp_path):
    return sorted((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("block_tokens", [1, 50, 1 << 15])
def test_cached_docs_are_those_that_were_made(
    corpus, tmp_path, made, monkeypatch, block_tokens
):
    monkeypatch.setattr(docs_cache, "BLOCK_TOKENS", block_tokens)
    without = corpus(cache_dir=None)
    expected = facts(without)
    made.clear()
    first = corpus()
    assert facts(first) == expected
    assert len(made) == len(files_in(tmp_path)) == 2
    again = corpus()
    # A vocab that knows none of the words.
    assert facts(first) == facts(again, spacy.blank("en")) == expected
    assert len(made) == 2
    assert first.counts == again.counts == without.counts
    assert min(without.counts.as_dict().values()) > 0


def test_cached_docs_have_norms_of_the_tokenizer(corpus):
    list(corpus()(NLP))
    norms = {text: norm for doc in facts(corpus()) for text, _, norm, _ in doc}
    assert (norms["n't"], norms["ca"], norms["cats"]) == ("not", "can", "cats")


def test_folder_is_only_used_if_it_is_given(corpus, tmp_path):
    list(corpus(cache_dir=None)(NLP))
    assert {path.name for path in tmp_path.iterdir()} == {"raw-0.txt", "raw-1.txt"}


def add_rule(nlp):
    nlp.tokenizer.add_special_case("he", [{"ORTH": "h"}, {"ORTH": "e"}])


@pytest.mark.parametrize(
    ("settings", "lang", "change"),
    [
        ({"max_length": 19}, "en", None),
        ({"min_length": 4}, "en", None),
        ({"join_short": False}, "en", None),
        ({"text_key": "body"}, "en", None),
        ({}, "de", None),
        ({}, "en", add_rule),
    ],
)
def test_other_settings_or_rules_make_other_docs(
    corpus, tmp_path, made, settings, lang, change
):
    facts(corpus())
    nlp = spacy.blank(lang)
    if change:
        change(nlp)
    made.clear()
    assert facts(corpus(**settings), nlp) == facts(
        corpus(**{**settings, "cache_dir": None}), nlp
    )
    assert (len(made), len(files_in(tmp_path))) == (4, 4)


@pytest.mark.parametrize("content", ["other words here", "one more time"])
def test_changed_file_is_read_anew(corpus, tmp_path, content):
    facts(corpus())
    (tmp_path / "raw-0.txt").write_text(content)
    assert [word for word, *_ in facts(corpus())[0]] == content.split()


def cut(data, place):
    return data[:place]


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("place", [0, 3, 50, -1])
def test_damaged_file_is_made_anew(corpus, tmp_path, log, monkeypatch, damage, place):
    monkeypatch.setattr(docs_cache, "BLOCK_TOKENS", 30)
    reader = corpus()
    expected = facts(reader)
    counts = reader.counts
    path = files_in(tmp_path)[0]
    path.write_bytes(damage(path.read_bytes(), place))
    assert facts(corpus()) == expected
    assert len(log.messages) == 1
    assert f"{path.name} is damaged, or of an older version" in log.messages[0]
    again = corpus()
    assert facts(again) == expected
    assert (again.counts, len(log.messages)) == (counts, 1)


def change_block(**changes):
    """Change values of the first block of a file of docs."""

    def change(data):
        size = int.from_bytes(data[:4], "little")
        block = srsly.msgpack_loads(zlib.decompress(data[4 : 4 + size]))
        new = zlib.compress(srsly.msgpack_dumps({**block, **changes}))
        return len(new).to_bytes(4, "little") + new + data[4 + size :]

    return change


def as_block(data):
    return len(data).to_bytes(4, "little") + data


HOSTILE = {
    "huge size": lambda data: b"\xff\xff\xff\xff" + data[4:],
    "bomb": lambda data: as_block(zlib.compress(bytes(1 << 21))),
    "not msgpack": lambda data: as_block(zlib.compress(b"\xc1")),
    "deep": lambda data: as_block(zlib.compress(b"\x91" * 9999)),
    "a list": lambda data: as_block(zlib.compress(b"\x91\x01")),
    "attrs": change_block(attrs=[65, 67, 78]),
    "no attrs": change_block(attrs=[]),
    "heads": change_block(attrs=[65, 77]),
    "strings": change_block(strings=[1, 2]),
    "unknown words": change_block(strings=["x"]),
    "no strings": change_block(strings=None),
    "odd bytes": change_block(tokens=b"12345"),
    "empty words": change_block(tokens=bytes(16), spaces=b"\0", lengths=b"\1\0\0\0"),
    "no tokens": change_block(tokens=[]),
    "negative length": change_block(lengths=b"\xff\xff\xff\xff"),
    "long length": change_block(lengths=b"\xff\xff\xff\x7f"),
    "spaces": change_block(spaces=b""),
    "flags": change_block(flags=[]),
    "counts": lambda data: bytes(4) + zlib.compress(b'{"texts": "x"}'),
    "infinite counts": lambda data: bytes(4) + zlib.compress(b'{"texts": 1e999}'),
    "list of counts": lambda data: bytes(4) + zlib.compress(b"[1]"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_file_is_made_anew(corpus, tmp_path, log, monkeypatch, name):
    monkeypatch.setattr(docs_file, "MAX_BLOCK_BYTES", 1 << 20)
    expected = facts(corpus())
    path = files_in(tmp_path)[0]
    good = path.read_bytes()
    path.write_bytes(HOSTILE[name](good))
    assert facts(corpus(), spacy.blank("en")) == expected
    assert len(log.messages) == 1
    assert f"{path.name} is damaged, or of an older version" in log.messages[0]
    assert path.read_bytes() == good


def test_blocks_of_long_tokens_are_small(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(docs_cache, "BLOCK_TOKENS", 10)
    monkeypatch.setattr(docs_cache, "TOKEN_CHARS", 10)
    (tmp_path / "raw-0.txt").write_text(("x" * 100 + "\n") * 4)
    expected = facts(corpus(cache_dir=None, min_length=0))
    blocks = []
    write = docs_cache.DocsWriter._write_block
    monkeypatch.setattr(
        docs_cache.DocsWriter,
        "_write_block",
        lambda writer: blocks.append(len(writer.block)) or write(writer),
    )
    assert facts(corpus(min_length=0)) == expected
    assert blocks[:4] == [1, 1, 1, 1]


def test_reader_that_stops_leaves_nothing(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(docs_cache, "BLOCK_TOKENS", 1)
    stream = corpus()(NLP)
    next(stream)
    assert len(files_in(tmp_path)) == 1
    stream.close()
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("size", [0, 500, 4000])
def test_limit_of_the_folder_is_kept(corpus, tmp_path, log, monkeypatch, size):
    monkeypatch.setattr(docs_cache, "BLOCK_TOKENS", 30)
    expected = facts(corpus(cache_dir=None))
    reader = corpus(max_cache_gb=size / (1 << 30))
    for _ in range(2):
        assert facts(reader) == expected
        assert sum(path.stat().st_size for path in files_in(tmp_path)) <= size
    assert len(log.messages) == 1
    assert "max_cache_gb is reached; texts that are not cached" in log.messages[0]


def test_files_of_earlier_runs_count_and_old_parts_go(corpus, tmp_path, log):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "other.docs").write_bytes(b"x" * 10_000)
    old = tmp_path / "cache" / ".old.partial"
    new = tmp_path / "cache" / ".new.partial"
    for path, age in ((old, 3), (new, 0)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age * 86_400,) * 2)
    facts(corpus(max_cache_gb=10_001 / (1 << 30)))
    assert [path.name for path in files_in(tmp_path)] == [
        ".new.partial",
        "other.docs",
    ]
    assert len(log.messages) == 1


def test_full_disk_leaves_nothing(corpus, tmp_path, log, monkeypatch):
    monkeypatch.setattr(docs_cache, "BLOCK_TOKENS", 30)
    expected = facts(corpus(cache_dir=None))
    write = docs_cache.DocsWriter._write

    def write_first_block(writer, data):
        if writer.file is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(writer, data)

    monkeypatch.setattr(docs_cache.DocsWriter, "_write", write_first_block)
    reader = corpus()
    for _ in range(2):
        assert facts(reader) == expected
    assert files_in(tmp_path) == []
    assert len(log.messages) == 1
    assert "cache: No space left on device; " in log.messages[0]


def test_folder_that_can_not_be_made_is_reported(corpus, tmp_path, log):
    (tmp_path / "cache").write_text("a file")
    expected = facts(corpus(cache_dir=None))
    reader = corpus()
    for _ in range(2):
        assert facts(reader) == expected
    assert len(log.messages) == 1


def test_tokenizer_that_can_not_be_saved_caches_nothing(corpus, tmp_path, log):
    nlp = spacy.blank("en")
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.split())
    reader = corpus()
    for _ in range(2):
        assert len(facts(reader, nlp)) > 10
    assert not (tmp_path / "cache").exists()
    assert len(log.messages) == 1
    assert "the tokenizer can't be saved" in log.messages[0]
