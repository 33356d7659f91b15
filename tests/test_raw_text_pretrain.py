"""The corpus of raw text in stock `spacy pretrain`."""

import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from spacy.cli import app
from thinc.api import Config
from typer.testing import CliRunner

CONFIG = """
[paths]
raw_text = null
[nlp]
lang = "en"
pipeline = ["tok2vec"]
[components]
[components.tok2vec]
factory = "tok2vec"
[components.tok2vec.model]
@architectures = "spacy.HashEmbedCNN.v2"
width = 8
depth = 1
embed_size = 50
window_size = 1
maxout_pieces = 2
subword_features = false
pretrained_vectors = null
[corpora]
[corpora.pretrain]
@readers = "spacy-embedkit.RawText.v1"
path = ${paths.raw_text}
max_length = 20
shuffle = 20
[training]
seed = 1
[pretraining]
max_epochs = 2
dropout = 0.1
n_save_every = null
n_save_epoch = null
component = "tok2vec"
layer = ""
corpus = "corpora.pretrain"
[pretraining.batcher]
@batchers = "spacy.batch_by_words.v1"
size = 100
discard_oversize = false
tolerance = 0.2
[pretraining.objective]
@architectures = "spacy.PretrainCharacters.v1"
maxout_pieces = 2
hidden_size = 8
n_characters = 2
[pretraining.optimizer]
@optimizers = "Adam.v1"
"""


@pytest.fixture
def pretrain(tmp_path, monkeypatch):
    """Run `spacy pretrain` in a folder with two files of raw text."""
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        lines = [f"This is line {k} of file {i} ." * (k % 9) for k in range(40)]
        Path(f"raw-{i}.txt").write_text("\n".join(lines))

    def pretrain(text, *options):
        defaults = Config(spacy.blank("en").config)
        config = defaults.merge(Config().from_str(text, interpolate=False))
        config.to_disk("config.cfg")
        return CliRunner().invoke(app, ["pretrain", "config.cfg", "out", *options])

    return pretrain


@pytest.mark.parametrize("objective", ["spacy", "spacy-embedkit"])
def test_stock_pretraining_reads_the_corpus(pretrain, objective):
    config = CONFIG.replace('"spacy.PretrainC', f'"{objective}.PretrainC')
    run = pretrain(config, "--paths.raw_text", "raw-*.txt")
    assert run.exit_code == 0, run.output
    assert Path("out/model-last.bin").exists()


def test_stock_pretraining_names_the_missing_path(pretrain):
    run = pretrain(CONFIG)
    assert run.exit_code != 0
    assert "RawText.v1: path is null" in str(run.exception)


@pytest.mark.slow
def test_another_process_finds_the_cached_docs(pretrain):
    options = ["--paths.raw_text", "raw-*.txt", "--corpora.pretrain.cache_dir", "kept"]
    run = pretrain(CONFIG, *options)
    assert run.exit_code == 0, run.output
    files = sorted(Path("kept").iterdir())
    assert len(files) == 2
    code = (
        "import spacy\n"
        "from spacy_embedkit.readers import build_raw_text_v1 as build\n"
        "corpus = build('raw-*.txt', max_length=20, cache_dir='kept')\n"
        "list(corpus(spacy.blank('en')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert sorted(Path("kept").iterdir()) == files
