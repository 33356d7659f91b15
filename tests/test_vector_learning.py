"""Raw text in, vectors learned from it out, and errors by their words."""

import gzip
import io
import json
import sys

import numpy
import pytest
import spacy

from spacy_embedkit.checks import InputError
from spacy_embedkit.text.read import read_texts
from spacy_embedkit.text.tokens import iter_tokens, write_tokens
from spacy_embedkit.vectors.build import learn as learning
from spacy_embedkit.vectors.build.learn import learn

TINY = {"lang": "pt", "width": 8, "buckets": 300, "min_count": 2, "epochs": 2}
TEXTS = ["A maré é alta.", "Um barco"]
PLAIN = "\n\n A maré é alta. \r\n   \nUm barco".encode()
JSONL = "\n".join(json.dumps({"text": text, "id": 1}) for text in TEXTS).encode()


@pytest.fixture
def write(tmp_path):
    """Write bytes to a file, and return its path as a user would give it."""

    def write(content, name="raw"):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


@pytest.fixture
def sample(root):
    return [str(root / "assets" / "sample.txt")]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("content", [PLAIN, JSONL, b"\xef\xbb\xbf" + JSONL])
def test_texts_are_read_by_content(write, content, pack):
    assert list(read_texts([write(pack(content))])) == TEXTS


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_texts_are_read_from_standard_input_between_files(write, monkeypatch, pack):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(pack(PLAIN))))
    monkeypatch.setattr(sys, "stdin", stdin)
    path = write(JSONL)
    assert list(read_texts([path, "-", path])) == TEXTS * 3


def test_texts_are_read_one_by_one(write):
    texts = read_texts([write(b"one\ntwo\n\xff")])
    assert [next(texts), next(texts)] == ["one", "two"]
    with pytest.raises(InputError, match="line 3: byte 1 is 0xff, which is not UTF-8"):
        next(texts)


def test_half_characters_are_replaced(write):
    assert list(read_texts([write(rb'{"text": "a\ud800b"}')])) == ["a\ufffdb"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'\n{"text": "a"}\n{"text": ', "raw, line 3: not JSON"),
        (b'{"text": "a"}\n{"txt": "b"}', r"line 2: .* has no string under \"text\""),
        (b'{"text": 1}', r"line 1: .* has no string under \"text\""),
        (b'{"text": "a"}\nplain', "line 2: not JSON"),
        (gzip.compress(b"text\n" * 50, mtime=0)[:-9], "raw: broken gzip data"),
        (b"\x1f\x8b123", "raw: .*"),
    ],
)
def test_broken_raw_text_is_named(write, content, words):
    with pytest.raises(InputError, match=words):
        list(read_texts([write(content)]))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing: No such file"):
        list(read_texts([str(tmp_path / "nothing")]))


def test_tokens_are_the_tokenizers_own_without_whitespace():
    tokens = list(iter_tokens("en", ["don't  stop\n\nnow", "", "  "]))
    assert tokens == [["do", "n't", "stop", "now"], [], []]


def test_tokens_of_a_saved_pipeline_follow_its_rules(tmp_path):
    nlp = spacy.blank("en")
    nlp.tokenizer.add_special_case("foobar", [{"ORTH": "foo"}, {"ORTH": "bar"}])
    nlp.to_disk(tmp_path / "nlp")
    assert list(iter_tokens(str(tmp_path / "nlp"), ["foobar"])) == [["foo", "bar"]]


@pytest.mark.parametrize("name", ["qqq", "no/such/folder"])
def test_unknown_language_is_named(name):
    with pytest.raises(InputError, match=f"{name}: no tokenizer .*name a language"):
        iter_tokens(name, [])


def test_written_tokens_are_apart_by_single_spaces(write, tmp_path, monkeypatch):
    tokens = [["a", "New York", "x\0y"], [], ["b"]]
    monkeypatch.setattr(
        "spacy_embedkit.text.tokens.iter_tokens", lambda lang, texts: tokens
    )
    assert write_tokens("en", [], tmp_path / "tokens") == 4
    assert (tmp_path / "tokens").read_bytes() == b"a New_York x_y\n\nb\n"


@pytest.fixture
def learned(sample, tmp_path_factory):
    """Learn into a new folder; return the file, the only one there."""

    def learned(**settings):
        folder = tmp_path_factory.mktemp("learned")
        path = learn(sample, folder, **{**TINY, **settings})
        assert list(folder.iterdir()) == [path]
        return path

    return learned


@pytest.mark.parametrize("model", ["cbow", "skipgram"])
@pytest.mark.parametrize("algorithm", ["floret", "fasttext", "word2vec"])
def test_learning_twice_with_one_thread_gives_the_same_file(learned, algorithm, model):
    pytest.importorskip("gensim", reason="needs the extra vectors")
    settings = {"algorithm": algorithm, "model": model}
    first = learned(**settings, seed=3).read_bytes()
    assert learned(**settings, seed=3).read_bytes() == first
    assert learned(**settings, seed=4).read_bytes() != first


def test_floret_file_has_its_settings_and_all_rows(learned):
    head, *rows = learned(minn=2, maxn=4, hash_count=3).read_text().splitlines()
    assert head.split()[:5] == ["300", "8", "2", "4", "3"]
    assert [len(row.split()) for row in rows] == [9] * 300


@pytest.mark.parametrize("maxn", [0, 4])
def test_fasttext_file_is_read_by_gensim_with_the_vectors_learned(learned, maxn):
    fasttext = pytest.importorskip("gensim.models.fasttext")
    models = []
    train = learning._train_floret

    def remember(*args):
        models.append(train(*args))
        return models[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "_train_floret", remember)
        path = learned(algorithm="fasttext", minn=maxn and 3, maxn=maxn)
    table = fasttext.load_facebook_vectors(str(path))
    words = ["barco", "maré", *(["nunca-lida"] if maxn else [])]
    import floret_pybind

    for word in words:
        expected = floret_pybind.Vector(8)
        models[0].getWordVector(expected, word)
        numpy.testing.assert_allclose(
            table[word], numpy.asarray(expected), rtol=1e-4, atol=1e-6
        )


def test_word2vec_file_has_the_words_that_are_frequent_enough(learned, sample):
    gensim = pytest.importorskip("gensim")
    path = learned(algorithm="word2vec", min_count=20)
    table = gensim.models.KeyedVectors.load_word2vec_format(str(path), binary=True)
    tokens = [word for text in iter_tokens("pt", read_texts(sample)) for word in text]
    assert set(table.index_to_key) == {w for w in tokens if tokens.count(w) >= 20}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"algorithm": "glove"}, "algorithm is 'glove'; choose one of floret, fast"),
        ({"model": "bow"}, "model is 'bow'; choose one of cbow, skipgram"),
        ({"width": 0}, "width is 0, but 1 to 10000 is allowed"),
        ({"hash_count": 5}, "hash_count is 5, but 1 to 4"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"minn": 6}, "minn is 6 and maxn 5; give a smaller minn"),
        ({"min_count": 10**6}, "tokens, and no word occurs 1000000 times"),
    ],
)
def test_impossible_settings_are_named(sample, tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        learn(sample, tmp_path, **{**TINY, **settings})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("algorithm", ["floret", "fasttext", "word2vec"])
def test_text_without_tokens_is_named(write, tmp_path, algorithm):
    path = write(b" \n\n")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="has 0 tokens, and no word occurs 1 times"):
        learn([path], tmp_path / "out", lang="pt", algorithm=algorithm, min_count=1)


@pytest.mark.parametrize(
    ("algorithm", "module"),
    [
        ("floret", "floret_pybind"),
        ("fasttext", "floret_pybind"),
        ("word2vec", "gensim"),
    ],
)
def test_missing_library_names_the_extra(
    sample, tmp_path, monkeypatch, algorithm, module
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'spacy-embedkit\[vectors\]'"):
        learn(sample, tmp_path, **TINY, algorithm=algorithm)


def test_floret_file_that_is_cut_off_is_noticed(learned):
    path = learned()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match="299 of 300 rows were written"):
        learning._check_rows(path, learning.LearnSettings(**TINY))


def test_fasttext_file_that_is_cut_off_is_noticed(learned):
    fasttext = pytest.importorskip("gensim.models.fasttext")
    path = learned(algorithm="fasttext")
    words = fasttext.load_facebook_vectors(str(path)).index_to_key
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match=r"of .* bytes were written"):
        learning._check_size(path, words, learning.LearnSettings(**TINY))
