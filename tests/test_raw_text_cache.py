"""Tokenized docs on disk: the same docs, kept whole, within bounds, or not at all."""

import errno
import logging
import os
import subprocess
import sys
import time

import pytest
import spacy
from spacy.tokens import Doc

from spacy_embedkit.readers import build_raw_text_v1
from spacy_embedkit.text import docs_store as store
from spacy_embedkit.text import split

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


def facts(corpus, nlp=None):
    docs = corpus(nlp or spacy.blank("en"))
    return [[(t.text, t.whitespace_, t.norm_, t.idx) for t in doc] for doc in docs]


def kept(tmp_path):
    return sorted((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("block_tokens", [1, 50, 1 << 15])
def test_kept_docs_are_those_that_were_made(
    corpus, tmp_path, made, monkeypatch, block_tokens
):
    monkeypatch.setattr(store, "BLOCK_TOKENS", block_tokens)
    without = corpus(cache_dir=None)
    expected = facts(without)
    made.clear()
    first = corpus()
    assert facts(first) == expected
    assert len(made) == len(kept(tmp_path)) == 2
    again = corpus()
    assert facts(first) == facts(again) == expected
    assert len(made) == 2
    assert first.counts == again.counts == without.counts
    assert min(without.counts.as_dict().values()) > 0


def test_block_ends_with_its_tokens_or_characters(corpus, tmp_path, monkeypatch):
    sizes = []
    for name, value in (("TOKENS", 1 << 15), ("CHARACTERS", 100), ("TOKENS", 20)):
        monkeypatch.setattr(store, f"BLOCK_{name}", value)
        cache = tmp_path / f"cache{len(sizes)}"
        list(corpus(cache_dir=cache)(spacy.blank("en")))
        sizes.append(sum(path.stat().st_size for path in cache.iterdir()))
    assert sizes[0] < sizes[1] < sizes[2]


def test_kept_docs_have_norms_of_the_tokenizer(corpus):
    list(corpus()(spacy.blank("en")))
    norms = {text: norm for doc in facts(corpus()) for text, _, norm, _ in doc}
    assert (norms["n't"], norms["ca"], norms["cats"]) == ("not", "can", "cats")


def test_folder_is_only_used_if_it_is_given(corpus, tmp_path):
    list(corpus(cache_dir=None)(spacy.blank("en")))
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
    assert (len(made), len(kept(tmp_path))) == (4, 4)


@pytest.mark.parametrize("content", ["other words here", "one more time"])
def test_changed_file_is_read_anew(corpus, tmp_path, content):
    facts(corpus())
    (tmp_path / "raw-0.txt").write_text(content)
    assert [word for word, *_ in facts(corpus())[0]] == content.split()


def test_key_is_the_same_in_another_process(corpus, tmp_path):
    facts(corpus())
    names = kept(tmp_path)
    code = (
        "import spacy; from spacy_embedkit.readers import build_raw_text_v1 as build\n"
        f"corpus = build('{tmp_path}/raw-*', shuffle=0, max_length=20, "
        f"cache_dir='{tmp_path}/cache')\n"
        "list(corpus(spacy.blank('en')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert kept(tmp_path) == names


def cut(data):
    return data[:-1]


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda d: b"", lambda d: b"\xff" * 99])
def test_damaged_file_is_made_anew(corpus, tmp_path, log, monkeypatch, damage):
    monkeypatch.setattr(store, "BLOCK_TOKENS", 30)
    reader = corpus()
    expected = facts(reader)
    counts = reader.counts
    path = kept(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert facts(corpus()) == expected
    assert len(log.messages) == 1
    assert f"{path.name}: " in log.messages[0]
    assert path.read_bytes() == whole
    again = corpus()
    assert facts(again) == expected
    assert (again.counts, len(log.messages)) == (counts, 1)


def test_reader_that_stops_leaves_nothing(corpus, tmp_path):
    stream = corpus()(spacy.blank("en"))
    next(stream)
    assert len(kept(tmp_path)) == 1
    stream.close()
    assert kept(tmp_path) == []


@pytest.mark.parametrize("size", [0, 500, 4000])
def test_bound_is_kept_and_said_once(corpus, tmp_path, log, monkeypatch, size):
    monkeypatch.setattr(store, "BLOCK_TOKENS", 30)
    expected = facts(corpus(cache_dir=None))
    reader = corpus(max_cache_gb=size / (1 << 30))
    for _ in range(2):
        assert facts(reader) == expected
        assert sum(path.stat().st_size for path in kept(tmp_path)) <= size
    assert len(log.messages) == 1
    assert "max_cache_gb is reached; texts that are not kept" in log.messages[0]


def test_files_of_earlier_runs_count_and_old_parts_go(corpus, tmp_path, log):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "other.docs").write_bytes(b"x" * 10_000)
    old = tmp_path / "cache" / ".old.partial"
    new = tmp_path / "cache" / ".new.partial"
    for path, age in ((old, 3), (new, 0)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age * 86_400,) * 2)
    facts(corpus(max_cache_gb=10_001 / (1 << 30)))
    assert [path.name for path in kept(tmp_path)] == [".new.partial", "other.docs"]
    assert len(log.messages) == 1


class FullDisk:
    """A file that takes some bytes."""

    def __init__(self, file, free):
        self.file, self.free = file, free

    def write(self, data):
        self.free -= len(data)
        if self.free < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.file.write(data)

    def close(self):
        self.file.close()


def test_full_disk_is_said_once_and_leaves_nothing(corpus, tmp_path, log, monkeypatch):
    monkeypatch.setattr(store, "BLOCK_TOKENS", 30)
    expected = facts(corpus(cache_dir=None))
    start = store.DocsWriter.start

    def start_on_full_disk(writer):
        start(writer)
        writer.file = FullDisk(writer.file, 1000)

    monkeypatch.setattr(store.DocsWriter, "start", start_on_full_disk)
    reader = corpus()
    for _ in range(2):
        assert facts(reader) == expected
    assert kept(tmp_path) == []
    assert len(log.messages) == 1
    assert "cache: No space left on device; " in log.messages[0]


def test_folder_that_can_not_be_made_is_said_once(corpus, tmp_path, log):
    (tmp_path / "cache").write_text("a file")
    expected = facts(corpus(cache_dir=None))
    reader = corpus()
    for _ in range(2):
        assert facts(reader) == expected
    assert len(log.messages) == 1


def test_tokenizer_without_rules_keeps_nothing(corpus, tmp_path, log):
    nlp = spacy.blank("en")
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.split())
    reader = corpus()
    for _ in range(2):
        assert len(facts(reader, nlp)) > 10
    assert not (tmp_path / "cache").exists()
    assert len(log.messages) == 1
    assert "the tokenizer can't be saved" in log.messages[0]
