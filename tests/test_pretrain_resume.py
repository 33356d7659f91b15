"""Runs that were interrupted end like those that were not."""

import pytest
from spacy.util import registry

from spacy_embedkit.pretraining.run.checkpoint import Checkpoints
from spacy_embedkit.readers import build_raw_text_v1

from .helpers.pretraining_runs import (
    OUR_TOK2VEC,
    STOCK_CHARACTERS,
    STOCK_CORPUS,
    make_config,
    own,
    result_of,
    run,
    sample_texts,
    write_docbin,
    write_jsonl,
)

LOWER = {"@augmenters": "spacy.lower_case.v1", "level": 0.5}
GROWING = {"@schedules": "compounding.v1", "start": 50.0, "stop": 300.0}
GROWING.update(compound=1.2, t=0.0)
WARMUP = {"@schedules": "warmup_linear.v1", "initial_rate": 0.01}
WARMUP.update(warmup_steps=5, total_steps=30)

RAW_TEXT = {"@readers": "test.RawText.v1", "path": "${paths.raw_text}"}
RAW_TEXT.update(max_length=30, shuffle=10)

VARIANTS = {
    "plain": {},
    "our tok2vec": {"components__tok2vec__model": OUR_TOK2VEC},
    "stock objective": {"pretraining__objective": STOCK_CHARACTERS},
    "schedules": {
        "pretraining__batcher__size": GROWING,
        "pretraining__optimizer__learn_rate": WARMUP,
    },
    "accumulated": own(accumulate_gradient=3),
    "radam": {
        "pretraining__optimizer": {"@optimizers": "RAdam.v1", "learn_rate": 0.01}
    },
    "our reader": {"corpora__pretrain": RAW_TEXT},
    "drawing reader": {"corpora__pretrain": {**STOCK_CORPUS, "augmenter": LOWER}},
}


class StoppedError(Exception):
    """Stands for whatever ends a run."""


@pytest.fixture(autouse=True)
def our_reader():
    # By a name of its own: an installed package may be another one.
    registry.readers.register("test.RawText.v1", func=build_raw_text_v1)


@pytest.fixture
def corpus(tmp_path):
    return write_jsonl(tmp_path / "raw.jsonl", sample_texts())


def count_saves(monkeypatch, stop_at=None):
    """Count checkpoints, and let a run end with an exception right after one."""
    save, n_saves = Checkpoints.save, [0]

    def counted(self, state):
        save(self, state)
        n_saves[0] += 1
        if n_saves[0] == stop_at:
            raise StoppedError

    monkeypatch.setattr(Checkpoints, "save", counted)
    return n_saves


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_resume_gives_the_weights_of_an_uninterrupted_run(
    tmp_path, corpus, monkeypatch, name
):
    if name == "drawing reader":
        corpus = write_docbin(tmp_path / "raw.spacy", sample_texts())
    config = make_config(corpus, **VARIANTS[name])
    with monkeypatch.context() as patch:
        n_saves = count_saves(patch)
        run(config, tmp_path / "whole")
    # In the first epoch, and in the last.
    for share in (0.3, 0.8):
        folder = tmp_path / f"cut{share}"
        with monkeypatch.context() as patch:
            count_saves(patch, stop_at=int(share * n_saves[0]))
            with pytest.raises(StoppedError):
                run(config, folder)
        run(config, folder, resume=True)
        assert result_of(folder) == result_of(tmp_path / "whole")


def test_a_resume_that_ends_at_once_changes_nothing(tmp_path, corpus, monkeypatch):
    run(make_config(corpus), tmp_path / "whole")
    with monkeypatch.context() as patch:
        count_saves(patch, stop_at=7)
        with pytest.raises(StoppedError):
            run(make_config(corpus), tmp_path / "cut")
    for settings in (own(max_minutes=1e-9), {}):
        run(make_config(corpus, **settings), tmp_path / "cut", resume=True)
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "whole")
