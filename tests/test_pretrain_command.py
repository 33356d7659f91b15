"""The pretrain command: what it writes and says, and what learns from it."""

import os
import signal
import sys

import numpy
import pytest
import spacy
import srsly
from spacy.training.pretrain import pretrain as stock_pretrain
from spacy.util import registry
from thinc.api import Config, Linear, chain, list2array
from typer.testing import CliRunner

from spacy_embedkit.cli import embedkit_cli
from spacy_embedkit.pretraining.masked_model import LossMeter
from spacy_embedkit.pretraining.run import command as module
from spacy_embedkit.pretraining.run import loop
from spacy_embedkit.pretraining.run.training_data import TrainingData
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


@pytest.fixture
def corpus(tmp_path):
    return write_jsonl(tmp_path / "raw.jsonl", sample_texts())


def command(*args, status=0):
    result = CliRunner().invoke(embedkit_cli, ["pretrain", *map(str, args)])
    assert result.exit_code == status, result.output
    return result.output


def write_config(path, config):
    config.to_disk(path)
    return path


def test_command_takes_overrides_of_both_blocks(tmp_path, corpus):
    config = make_config("nowhere.jsonl")
    del config["embedkit"]
    path = write_config(tmp_path / "c.cfg", config)
    said = command(
        *(path, tmp_path / "out", "--paths.raw_text", corpus),
        *("--pretraining.max_epochs", 1, "--embedkit.pretrain.held_out", 0.3),
    )
    assert "held out" in said
    end, following = said.splitlines()[-2:]
    assert end == "All epochs are done."
    assert f"spacy train {tmp_path / 'out' / 'config.cfg'} " in following
    assert following.endswith(f"init_tok2vec {tmp_path / 'out' / 'model-best.bin'}")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("checkpoint.bin", "checkpoint.previous.bin", "config.cfg", "log.jsonl"),
        *("loss.svg", "model-best.bin", "model-last.bin", "report.html"),
    }
    rows = srsly.read_jsonl(tmp_path / "out" / "log.jsonl")
    assert all(row["held_out_loss"]["characters"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--embedkit.pretrain.patince", "1"], "patince"),
        (["--resume", "--force"], "give one of them"),
        (["--pretraining.component", "parser"], "'parser', but the pipeline"),
    ],
)
def test_command_ends_with_one_line(tmp_path, corpus, args, words):
    path = write_config(tmp_path / "c.cfg", make_config(corpus))
    said = command(path, tmp_path / "out", *args, status=1)
    (line,) = [line for line in said.splitlines() if "error: " in line]
    assert words in line


def send_signals(monkeypatch, number, n):
    """Let the fourth update send signals to this process before it begins."""
    update, n_left = loop.update, [4]

    def interrupted(*args):
        n_left[0] -= 1
        for _ in range(0 if n_left[0] else n):
            os.kill(os.getpid(), number)
        update(*args)

    monkeypatch.setattr(loop, "update", interrupted)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_checkpoint(tmp_path, pretrained, monkeypatch, number):
    config, done = pretrained
    path = write_config(tmp_path / "c.cfg", change(config, **own(checkpoint_minutes=9)))
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        send_signals(patch, number, 1)
        said = command(path, tmp_path / "out", status=130)
    (line,) = [line for line in said.splitlines() if "Stopped" in line]
    assert line == "Stopped; what was learned is kept, and --resume continues."
    assert signal.getsignal(number) is handler
    assert (tmp_path / "out" / "model-last.bin").exists()
    said = command(path, tmp_path / "out", "--resume")
    assert "continuing after " in said
    assert "continuing after 0 " not in said
    assert result_of(tmp_path / "out") == result_of(done)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_a_second_signal_stops_at_once(tmp_path, pretrained, monkeypatch):
    config, _ = pretrained
    path = write_config(tmp_path / "c.cfg", config)
    send_signals(monkeypatch, signal.SIGINT, 2)
    said = command(path, tmp_path / "out", status=130)
    assert said.splitlines()[-1].startswith("Stopped at once; --resume continues")


def test_a_signal_in_the_first_pass_is_one_line(tmp_path, pretrained, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingData, "survey", interrupted)
    path = write_config(tmp_path / "c.cfg", pretrained[0])
    said = command(path, tmp_path / "out", status=130)
    assert said.splitlines()[-1] == (
        "Stopped at once; nothing was written, so run the same command again."
    )
    assert not (tmp_path / "out").exists()


def foreign_objective(vocab, tok2vec):
    output = chain(list2array(), Linear(nO=2, nI=8))
    model = chain(tok2vec, output)
    model.set_ref("tok2vec", tok2vec)
    model.attrs["loss"] = lambda ops, docs, Y: (float((Y**2).sum()), 2 * Y)
    return model


@pytest.mark.parametrize(
    ("reader", "objective", "tok2vec"),
    [
        ("jsonl", "ours", "ours"),
        ("docbin", "stock", "stock"),
        ("docbin", "foreign", "ours"),
        ("jsonl", "foreign", "stock"),
    ],
)
def test_readers_objectives_and_tok2vecs_work_together(
    tmp_path, reader, objective, tok2vec
):
    write = {"jsonl": write_jsonl, "docbin": write_docbin}[reader]
    suffix = {"jsonl": "jsonl", "docbin": "spacy"}[reader]
    settings = {"pretraining__max_epochs": 1}
    if reader == "docbin":
        settings["corpora__pretrain"] = STOCK_CORPUS
    if tok2vec == "ours":
        settings["components__tok2vec__model"] = OUR_TOK2VEC
    if objective == "stock":
        settings["pretraining__objective"] = STOCK_CHARACTERS
    if objective == "foreign":
        name = "test.foreign.v1"
        registry.architectures.register(name, func=lambda: foreign_objective)
        settings["pretraining__objective"] = {"@architectures": "test.foreign.v1"}
    corpus = write(tmp_path / f"raw.{suffix}", sample_texts())
    config = make_config(corpus, **settings)
    run(config, tmp_path / "out")
    head = "characters" if objective == "ours" else "loss"
    rows = log_of(tmp_path / "out")
    assert {*rows[-1]["held_out_loss"], *rows[-1]["train_loss"]} == {head}
    assert rows[0]["held_out_total"] > rows[-1]["held_out_total"]
    weights = tmp_path / "out" / "model-best.bin"
    assert isinstance(first_weights(config, weights), numpy.ndarray)


def first_weights(config, init_tok2vec):
    """The first weights of a pipeline in training, with pretrained ones or none."""
    config = Config(config).copy()
    config["initialize"]["init_tok2vec"] = init_tok2vec and str(init_tok2vec)
    nlp = spacy.util.load_model_from_config(config)
    nlp.initialize()
    (first, *_) = (
        node.get_param(name)
        for node in nlp.get_pipe("tok2vec").model.walk()
        for name in sorted(node.param_names)
    )
    return first


def test_training_starts_from_the_best_weights(pretrained):
    config, folder = pretrained
    start = first_weights(config, folder / "model-best.bin")
    assert (start != first_weights(config, None)).any()


def test_weights_are_those_of_stock_from_the_same_config(tmp_path, corpus):
    config = make_config(corpus, **own(held_out=0.0))
    (tmp_path / "stock").mkdir()
    stock_pretrain(config.interpolate(), tmp_path / "stock")
    run(config, tmp_path / "ours")
    ours, stock = (
        (tmp_path / name / "model-last.bin").read_bytes() for name in ("ours", "stock")
    )
    assert ours == stock


@pytest.mark.parametrize("objective", ["ours", "stock"])
def test_evaluations_change_nothing(tmp_path, corpus, objective):
    settings = {"pretraining__max_epochs": 1}
    if objective == "stock":
        settings["pretraining__objective"] = STOCK_CHARACTERS
    for name, every in (("often", 10), ("once", 10**6)):
        config = make_config(corpus, **settings, **own(eval_every=every))
        run(config, tmp_path / name)
    often, once = (result_of(tmp_path / name) for name in ("often", "once"))
    assert often[0] == once[0]
    assert len(often[2]) > 5
    assert len(once[2]) == 1
    last = (often[2][-1], once[2][-1])
    assert last[0]["held_out_loss"] == last[1]["held_out_loss"]


def test_best_weights_are_those_of_the_lowest_loss(tmp_path, corpus):
    config = make_config(corpus, pretraining__optimizer__learn_rate=0.1)
    run(config, tmp_path / "out")
    rows = log_of(tmp_path / "out")
    losses = [row["held_out_total"] for row in rows]
    best = [i for i, row in enumerate(rows) if row["is_best"]][-1]
    assert losses[best] == min(losses)
    assert best < len(rows) - 1
    before = result_of(tmp_path / "out")
    assert before[1] != before[0]
    # A kill may leave a file that is newer than the checkpoint.
    (tmp_path / "out" / "model-best.bin").write_bytes(b"newer")
    run(config, tmp_path / "out", resume=True)
    assert result_of(tmp_path / "out") == before


def test_patience_ends_a_run(tmp_path, corpus):
    settings = own(patience=2, eval_every=100)
    settings["pretraining__optimizer__learn_rate"] = 0.3
    run(make_config(corpus, pretraining__max_epochs=50, **settings), tmp_path / "out")
    rows = log_of(tmp_path / "out")
    assert [row["is_best"] for row in rows[-3:]] == [True, False, False]
    assert rows[-1]["epoch"] < 49


def test_time_ends_a_run_that_can_go_on(tmp_path, pretrained):
    config, done = pretrained
    said = run(change(config, **own(max_minutes=1e-9)), tmp_path / "out")
    assert any(line.startswith("Done: the time is up") for line in said)
    run(config, tmp_path / "out", resume=True)
    assert result_of(tmp_path / "out") == result_of(done)


def test_schedules_move(tmp_path, corpus):
    schedule = {"@schedules": "decaying.v1", "base_rate": 0.01, "decay": 0.5, "t": 0}
    run(
        make_config(corpus, pretraining__optimizer__learn_rate=schedule), tmp_path / "o"
    )
    for row in log_of(tmp_path / "o"):
        assert row["learn_rate"] == pytest.approx(0.01 / (1 + 0.5 * row["step"]))


def test_files_of_epochs_are_kept_when_asked_for(tmp_path, corpus):
    settings = {"pretraining__n_save_epoch": 2, "pretraining__max_epochs": 4}
    run(make_config(corpus, **settings), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("model?.bin")}
    assert names == {"model0.bin", "model2.bin", "model3.bin"}


def test_report_is_one_page_without_foreign_markup(tmp_path, corpus):
    def objective(vocab, tok2vec):
        model = foreign_objective(vocab, tok2vec)
        loss = model.attrs["loss"]

        def counted(ops, docs, Y):
            value, gradient = loss(ops, docs, Y)
            model.attrs["losses"].add("<i>", value, len(Y))
            return value, gradient

        model.attrs.update(loss=counted, losses=LossMeter())
        return model

    registry.architectures.register("test.odd.v1", func=lambda: objective)
    odd = {"pretraining__objective": {"@architectures": "test.odd.v1"}}
    config = make_config(corpus, **odd, **own(report=True))
    config["corpora"]["<script>"] = dict(config["corpora"]["pretrain"])
    run(config, tmp_path / "out<b>")
    page = (tmp_path / "out<b>" / "report.html").read_text(encoding="utf8")
    assert "<svg" in page
    assert "<script>" not in page
    assert "out<b>" not in page
    assert "<i>" not in page
    assert "&lt;i&gt;, held out" in page
    assert "--initialize.init_tok2vec" in page
    assert "src=" not in page


def test_report_does_without_matplotlib(tmp_path, corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    said = run(make_config(corpus, **own(report=True)), tmp_path / "out")
    assert any("pip install 'spacy-embedkit[project]'" in line for line in said)
    assert (tmp_path / "out" / "report.html").exists()
    assert not (tmp_path / "out" / "loss.svg").exists()


def test_objectives_prepare_before_anything_is_learned(
    tmp_path, pretrained, monkeypatch
):
    seen, build = [], module.build_parts

    def build_prepared(*args):
        parts = build(*args)
        parts.model.attrs["prepare"] = lambda docs: seen.extend(map(str, docs))
        return parts

    monkeypatch.setattr(module, "build_parts", build_prepared)
    run(change(pretrained[0], **own(max_minutes=1e-9)), tmp_path / "out")
    assert seen == sample_texts()


def test_what_is_held_out_is_never_learned_from(tmp_path, pretrained, monkeypatch):
    learned, update = set(), loop.update

    def watched(model, objective, optimizer, batches, losses):
        learned.update(str(doc) for docs in batches for doc in docs)
        update(model, objective, optimizer, batches, losses)

    monkeypatch.setattr(loop, "update", watched)
    said = run(pretrained[0], tmp_path / "out")
    (found,) = [line for line in said if "held out:" in line]
    n_held_out = int(found.split("held out: ")[1].split()[0])
    texts = set(sample_texts())
    assert learned < texts
    assert len(texts - learned) == n_held_out > 1


def test_averages_are_what_is_evaluated(tmp_path, pretrained):
    config, done = pretrained
    config = change(config, pretraining__optimizer__use_averages=False)
    run(config, tmp_path / "out")
    plain, averaged = (log_of(folder)[-1] for folder in (tmp_path / "out", done))
    assert plain["train_loss"] == averaged["train_loss"]
    assert plain["held_out_loss"] != averaged["held_out_loss"]


def test_a_config_that_is_not_utf8_is_one_line(tmp_path):
    path = tmp_path / "latin1.cfg"
    path.write_bytes(b'[nlp]\nlang = "\xff"\n')
    said = command(path, tmp_path / "out", status=1)
    assert f"error: {path}: is not UTF-8 (invalid start byte at byte 15)" in said


def test_home_is_found_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_jsonl(tmp_path / "raw.jsonl", sample_texts())
    reader = {
        "@readers": "test.HomeRawText.v1",
        "path": "~/raw*",
        "cache_dir": "~/docs",
    }
    registry.readers.register("test.HomeRawText.v1", func=build_raw_text_v1)
    config = change(
        make_config("x"), corpora__pretrain=reader, pretraining__max_epochs=1
    )
    said = command(write_config(tmp_path / "c.cfg", config), "~/out")
    assert "read from 1 files: 40 texts, " in said
    assert (tmp_path / "out" / "model-last.bin").exists()
    assert len(list((tmp_path / "docs").iterdir())) == 1
