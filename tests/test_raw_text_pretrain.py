"""The corpus of raw text under stock `spacy pretrain`."""

import subprocess
import sys

import pytest
import spacy
from thinc.api import Config

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
def pretrain(tmp_path):
    """Run `spacy pretrain` in a folder with two files of raw text."""
    for i in range(2):
        lines = [f"This is line {k} of file {i} ." * (k % 9) for k in range(40)]
        (tmp_path / f"raw-{i}.txt").write_text("\n".join(lines))

    def pretrain(text, *options):
        defaults = Config(spacy.blank("en").config)
        config = defaults.merge(Config().from_str(text, interpolate=False))
        config.to_disk(tmp_path / "config.cfg")
        command = [sys.executable, "-m", "spacy", "pretrain", "config.cfg", "out"]
        return subprocess.run(
            [*command, *options], cwd=tmp_path, capture_output=True, text=True
        )

    return pretrain


@pytest.mark.parametrize("objective", ["spacy", "spacy-embedkit"])
def test_stock_pretraining_reads_the_corpus(tmp_path, pretrain, objective):
    config = CONFIG.replace('"spacy.PretrainC', f'"{objective}.PretrainC')
    options = ["--paths.raw_text", "raw-*.txt", "--corpora.pretrain.cache_dir", "kept"]
    run = pretrain(config, *options)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "out" / "model-last.bin").exists()
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_stock_pretraining_names_the_missing_path(pretrain):
    run = pretrain(CONFIG)
    assert run.returncode != 0
    assert "RawText.v1: path is null" in run.stderr
