"""Pipelines on our tables: trained, packaged, and shared by processes."""

import json
import pickle
import subprocess
import sys

import numpy
import pytest
import spacy
from numpy.testing import assert_array_equal
from spacy.cli.package import package
from spacy.cli.train import train
from spacy.tokens import DocBin

from .helpers.vector_tables import (
    WORDS,
    make_folder,
    make_ngram_source,
    make_rows,
    make_source,
)

CONFIG = """
[nlp]
lang = "en"
pipeline = ["tagger"]

[nlp.vectors]
@vectors = "spacy-embedkit.Vectors.v1"

[components]

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy-embedkit.StaticVectors.v1"
width = 16

[corpora]

[corpora.train]
@readers = "spacy.Corpus.v1"
path = "train.spacy"

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = "train.spacy"

[training]
max_steps = 100
eval_frequency = 50
"""
TAGS = dict(zip(WORDS, "DNVPNNXXX", strict=True))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Folder of a pipeline that `spacy train` made on an int8 table."""
    monkeypatch.chdir(tmp_path)
    nlp = spacy.blank("en")
    texts = ["the cat sat on the mat", "the mat sat"] * 5
    docs = [nlp.make_doc(text) for text in texts]
    for doc in docs:
        for token in doc:
            token.tag_ = TAGS[token.text]
    DocBin(docs=docs, attrs=["TAG"]).to_disk("train.spacy")
    config = spacy.util.Config().from_str(CONFIG)
    default = spacy.blank("en").config
    for section in ("system", "training", "initialize"):
        config[section] = {**default.get(section, {}), **config.get(section, {})}
    make_folder(tmp_path / "vectors", dtype="int8")
    config["initialize"]["vectors"] = str(tmp_path / "vectors")
    auto = spacy.util.load_model_from_config(config, auto_fill=True, validate=False)
    auto.config.to_disk("config.cfg")
    train("config.cfg", tmp_path / "out")
    return tmp_path / "out" / "model-best"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_trained_pipeline_keeps_its_table(trained, tmp_path):
    nlp = spacy.load(trained)
    table = nlp.vocab.vectors
    original = spacy.load(tmp_path / "vectors").vocab.vectors
    assert table == original
    assert str(trained) in str(table.table.folder)
    doc = nlp("the cat sat on the mat")
    assert [token.tag_ for token in doc] == [TAGS[token.text] for token in doc]

    texts = ["the cat sat", "mat", "", "on zzz"] * 20
    alone = [[t.tag_ for t in doc] for doc in nlp.pipe(texts)]
    shared = [[t.tag_ for t in doc] for doc in nlp.pipe(texts, n_process=2)]
    assert shared == alone

    (tmp_path / "package").mkdir()
    package(
        trained,
        tmp_path / "package",
        name="small",
        create_sdist=False,
        create_wheel=False,
    )
    [data] = (tmp_path / "package").glob("*/en_small/en_small-*")
    assert_array_equal(
        spacy.load(data).vocab.vectors.get_batch(WORDS), table.get_batch(WORDS)
    )


# Prints the kB of anonymous memory that loading and looking up every row took, and how
# much of the mapped rows is shared with other processes.
WORKER = """
import sys, json, numpy, spacy

def anonymous():
    lines = open("/proc/self/smaps_rollup").read().split("\\n")
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

spacy.load(sys.argv[1])
before = anonymous()
nlp = spacy.load(sys.argv[1])
keys = numpy.fromiter(nlp.vocab.vectors.keys(), dtype="uint64")
for start in range(0, len(keys), 1024):
    nlp.vocab.vectors.get_batch(keys[start : start + 1024])
del keys
print("ready", flush=True)
sys.stdin.readline()
found = {"Anonymous": anonymous() - before}
name = ""
for line in open("/proc/self/smaps"):
    fields = line.split()
    if not fields[0].endswith(":"):
        name = fields[-1]
    elif name.endswith("/rows.npy") and fields[0].startswith(("Rss", "Shared_")):
        found[fields[0]] = max(int(fields[1]), found.get(fields[0], 0))
print(json.dumps(found), flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc, which Linux has"
)
def test_processes_share_one_copy(tmp_path):
    n_rows, width = 40_000, 300
    rows = make_rows(n_rows, width)
    words = [f"word{i}" for i in range(n_rows)]
    make_folder(tmp_path / "table", make_source(rows, words))
    table = rows.nbytes / 1024
    for memory in memory_of(tmp_path / "table", 2):
        assert memory["Anonymous"] < 0.1 * table
        assert memory["Rss:"] > 0.95 * table
        # Pages that were written just now are still dirty.
        shared = memory["Shared_Clean:"] + memory["Shared_Dirty:"]
        assert shared > 0.95 * table


def memory_of(folder, n):
    """Memory of n processes that each look up every row, in kB."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(n)
    ]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * n
    found = []
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
        found.append(json.loads(worker.stdout.readline()))
    for worker in workers:
        worker.communicate("\n")
    return found


@pytest.mark.gpu
def test_rows_move_to_the_gpu_and_back(tmp_path):
    cupy = pytest.importorskip("cupy", reason="needs cupy")
    from thinc.api import CupyOps, NumpyOps

    vectors = spacy.load(make_folder(tmp_path / "table", dtype="int8")).vocab.vectors
    expected = vectors.get_batch([*WORDS, "zzz"])
    vectors.to_ops(CupyOps())
    found = vectors.get_batch([*WORDS, "zzz"])
    assert isinstance(found, cupy.ndarray)
    assert_array_equal(found.get(), expected)
    vectors.to_ops(NumpyOps())
    assert isinstance(vectors.get_batch(WORDS), numpy.ndarray)


def test_new_words_have_vectors_in_a_pickled_pipeline(tmp_path):
    nlp = spacy.load(make_folder(tmp_path / "ngrams", make_ngram_source()))
    expected = nlp("unheard before")[0].vector
    copied = nlp
    for _ in range(3):
        copied = pickle.loads(pickle.dumps(copied))
        assert_array_equal(copied("unheard before")[0].vector, expected)
    other = spacy.blank("en")
    other.vocab.vectors = pickle.loads(pickle.dumps(nlp.vocab.vectors))
    other = pickle.loads(pickle.dumps(other))
    assert_array_equal(other("unheard before")[0].vector, expected)


def test_similar_words_are_in_the_strings_of_a_pickled_pipeline(tmp_path):
    nlp = spacy.load(make_folder(tmp_path / "words"))
    copied = pickle.loads(pickle.dumps(nlp))
    keys, _, _ = copied.vocab.vectors.most_similar(make_rows()[:1], n=2)
    assert copied.vocab.strings[int(keys[0, 0])] == WORDS[0]
