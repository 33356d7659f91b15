"""Runs that were interrupted end like those that were not."""

import shutil

import pytest
from spacy.util import registry

from spacy_embedkit.pretraining.run.run_folder import RunFolder
from spacy_embedkit.readers import build_raw_text_v1

from .helpers.pretraining_runs import (
    OUR_TOK2VEC,
    STOCK_CHARACTERS,
    STOCK_CORPUS,
    change,
    log_of,
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
    "our reader and tok2vec, schedules": {
        "components__tok2vec__model": OUR_TOK2VEC,
        "corpora__pretrain": RAW_TEXT,
        "pretraining__batcher__size": GROWING,
        "pretraining__optimizer__learn_rate": WARMUP,
    },
    "stock objective, reader that draws": {
        "pretraining__objective": STOCK_CHARACTERS,
        "corpora__pretrain": {**STOCK_CORPUS, "augmenter": LOWER},
    },
    "radam, accumulated gradient": {
        "pretraining__optimizer": {"@optimizers": "RAdam.v1", "learn_rate": 0.01},
        **own(accumulate_gradient=3),
    },
}


class StoppedError(Exception):
    """Stands for whatever ends a run."""


def count_saves(monkeypatch, stop_at=None):
    """Count checkpoints, and let a run end with an exception right after one."""
    save, n_saves = RunFolder.save_checkpoint, [0]

    def counted(self, state):
        save(self, state)
        n_saves[0] += 1
        if n_saves[0] == stop_at:
            raise StoppedError

    monkeypatch.setattr(RunFolder, "save_checkpoint", counted)
    return n_saves


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_resume_gives_the_weights_of_an_uninterrupted_run(tmp_path, monkeypatch, name):
    # By a name of its own: the package may not be installed.
    registry.readers.register("test.RawText.v1", func=build_raw_text_v1)
    write, suffix = write_jsonl, "jsonl"
    if "draws" in name:
        write, suffix = write_docbin, "spacy"
    corpus = write(tmp_path / f"raw.{suffix}", sample_texts())
    config = make_config(corpus, **VARIANTS[name])
    with monkeypatch.context() as patch:
        n_saves = count_saves(patch)
        run(config, tmp_path / "uncut")
    # The second cut counts from the first one.
    for share, epoch in ((0.3, 0), (0.5, 1)):
        with monkeypatch.context() as patch:
            count_saves(patch, stop_at=int(share * n_saves[0]))
            with pytest.raises(StoppedError):
                run(config, tmp_path / "cut", resume=True)
        checkpoint = RunFolder(tmp_path / "cut", print).load_checkpoint()
        assert checkpoint["progress"]["epoch"] == epoch
    run(config, tmp_path / "cut", resume=True)
    assert result_of(tmp_path / "cut") == result_of(tmp_path / "uncut")


def test_a_resume_that_ends_at_once_changes_no_weights(
    tmp_path, pretrained, monkeypatch
):
    config, done = pretrained
    with monkeypatch.context() as patch:
        count_saves(patch, stop_at=7)
        with pytest.raises(StoppedError):
            run(config, tmp_path / "cut")
    for settings in (own(max_minutes=1e-9), own(max_minutes=1e-9), {}):
        run(change(config, **settings), tmp_path / "cut", resume=True)
    last, best, rows = result_of(tmp_path / "cut")
    expected_rows = result_of(done)[2]
    assert (last, best) == result_of(done)[:2]
    # It evaluated once more, where it had ended.
    assert len(rows) == len(expected_rows) + 1
    assert [row for row in rows if row in expected_rows] == expected_rows


def test_the_evaluation_at_the_end_of_a_part_stays(tmp_path, pretrained):
    config, done = pretrained
    n_words = log_of(done)[-1]["words"]
    # One evaluation, at the end of each part.
    config = change(config, **own(eval_every=10 * n_words))
    for n_epochs in (1, 1, 2):
        config = change(config, pretraining__max_epochs=n_epochs)
        run(config, tmp_path / "parts", resume=True)
    run(config, tmp_path / "uncut")
    rows = log_of(tmp_path / "parts")
    assert [row["words"] for row in rows] == [n_words // 2, n_words]
    # Its losses are those since the last evaluation of the run without it.
    assert rows[1:] == log_of(tmp_path / "uncut")
    last = "model-last.bin"
    uncut = (tmp_path / "uncut" / last).read_bytes()
    assert (tmp_path / "parts" / last).read_bytes() == uncut


def test_what_the_weights_do_not_depend_on_may_change(tmp_path, pretrained):
    config, done = pretrained
    shutil.copytree(done, tmp_path / "out")
    config = change(config, pretraining__max_epochs=4)
    free = own(patience=9, max_minutes=60.0, report=True)
    free["pretraining__n_save_epoch"] = 1
    run(change(config, **free), tmp_path / "out", resume=True)
    run(config, tmp_path / "long")
    assert result_of(tmp_path / "out")[0] == result_of(tmp_path / "long")[0]
    assert (tmp_path / "out" / "model3.bin").exists()
