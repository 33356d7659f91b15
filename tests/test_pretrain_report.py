"""A grid of training runs: what is run, what is not run again, what is reported."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from typer import Typer
from typer.testing import CliRunner

from spacy_embedkit.checks import InputError
from spacy_embedkit.cli import one_line_errors
from spacy_embedkit.cli.compare import pretrain_report
from spacy_embedkit.experiments.comparison import make_rows, write_report
from spacy_embedkit.experiments.engine import Outcome, run_grid
from spacy_embedkit.experiments.jobs import make_jobs, read_docs, write_subsets
from spacy_embedkit.experiments.nested_config import merge, nested
from spacy_embedkit.experiments.plan import read_grid

SENTENCES = [
    (["The", "cat", "sat"], ["D", "N", "V"]),
    (["A", "dog", "ran"], ["D", "N", "V"]),
    (["Cats", "sat"], ["N", "V"]),
    (["It", "ran", "off"], ["P", "V", "R"]),
]
HEAD = """
config = "{root}/configs/stock.cfg"
train = "{folder}/train.spacy"
dev = "{folder}/dev.spacy"
test = "{folder}/test.spacy"
seeds = 2

[overrides]
nlp.lang = "en"
nlp.pipeline = ["tok2vec", "tagger"]
components.tok2vec.model.encode = {{width = 16, depth = 1}}
components.tok2vec.model.embed.rows = [50, 20, 20, 20]
training = {{max_steps = 4, eval_frequency = 2}}
"training.score_weights.tag_acc" = 1.0

[[amounts]]
docs = 3

[[weights]]
name = "none"
"""
MORE = """
[[weights]]
name = "frozen"
init_tok2vec = "{folder}/w-{{seed}}-{{docs}}.bin"
docs = [3]

[weights.overrides.training.before_update]
"@callbacks" = "spacy-embedkit.freeze_tok2vec.v1"
steps = 2

[[amounts]]
docs = "all"
overrides.training.max_steps = 6
"""
app = Typer()
app.command()(one_line_errors(pretrain_report))


def run(*args, status=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def folder(tmp_path):
    nlp = spacy.blank("en")
    for name, times in (("train", 5), ("dev", 1), ("test", 2)):
        docs = [
            Example.from_dict(nlp.make_doc(" ".join(words)), {"tags": tags}).reference
            for words, tags in SENTENCES * times
        ]
        DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / f"{name}.spacy")
    return tmp_path


@pytest.fixture
def write(folder, root):
    """A function that writes a grid file."""

    def write(text=HEAD + MORE):
        path = folder / "grid.toml"
        path.write_text(text.format(folder=folder, root=root))
        return path

    return write


def make_weights(grid, folder):
    config = make_jobs(grid, folder)[0].config
    nlp = load_model_from_config(config, auto_fill=True)
    model = nlp.get_pipe("tok2vec").model.initialize(X=[nlp.make_doc("The cat")])
    for seed in grid.seeds:
        (folder / f"w-{seed}-3.bin").write_bytes(model.to_bytes())


def cells(out):
    return sorted(path.stem for path in (out / "cells").glob("*.json"))


@pytest.mark.slow
def test_a_grid_is_run_reported_and_not_run_again(write, folder):
    text = (HEAD + MORE).replace("seeds = 2", "seeds = [1]")
    path, out = write(text), folder / "out"
    make_weights(read_grid(path), folder)
    said = run(path, out, "--workers", 2, "--keep-models")
    assert cells(out) == ["frozen-3-1", "none-3-1", "none-all-1"]
    assert "3 of 3 runs" in said
    result = json.loads((out / "cells" / "frozen-3-1.json").read_text())
    assert "tag_acc" in result["metrics"]
    nlp = spacy.load(out / "models" / "frozen-3-1")
    assert nlp.config["training"]["before_update"]["steps"] == 2
    assert nlp.config["training"]["seed"] == 1
    for split in ("dev", "test"):
        docs = DocBin().from_disk(folder / f"{split}.spacy").get_docs(nlp.vocab)
        examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
        scores = nlp.evaluate(examples)
        assert result[split]["tag_acc"] == scores["tag_acc"]
    assert not (out / "running").exists()
    times = {p: p.stat().st_mtime_ns for p in (out / "cells").iterdir()}
    run(path, out)
    assert times == {p: p.stat().st_mtime_ns for p in (out / "cells").iterdir()}


@pytest.mark.slow
def test_a_cell_that_fails_stops_no_other(write, folder):
    text = '[[weights]]\nname = "bad"\ninit_tok2vec = "{folder}/bad.bin"\n' + MORE
    path, out = write((HEAD + text).replace("seeds = 2", "seeds = 1")), folder / "out"
    (folder / "bad.bin").write_bytes(b"no weights")
    said = run(path, out, "--only", "*-3-*", "--workers", 2, status=1)
    assert "error: 2 cells failed: bad-3-0, frozen-3-0; mend" in said
    assert f"{folder}/w-0-3.bin: no such file; pretrain first" in said
    assert "bad.bin: is no file of weights" in said
    assert cells(out) == ["none-3-0"]
    report = json.loads((out / "report.json").read_text())
    assert set(report["failed"]) == {"frozen-3-0", "bad-3-0"}
    assert report["not_done"] == ["none-all-0", "bad-all-0"]


@pytest.mark.slow
def test_a_killed_grid_goes_on(write, folder):
    path, out = write(HEAD.replace("max_steps = 4", "max_steps = 4000")), folder / "out"
    code = (
        "import sys; from pathlib import Path\n"
        "from spacy_embedkit.experiments.plan import read_grid\n"
        "from spacy_embedkit.experiments.engine import run_grid\n"
        "run_grid(read_grid(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(out)])
    log = out / "logs" / "none-3-0.txt"
    wait_for(lambda: log.exists() and "Pipeline" in log.read_text(errors="replace"))
    with pytest.raises(InputError, match="another command is at work there"):
        run_grid(read_grid(path), out)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # The run that it started looks for it once a second.
    time.sleep(3)
    size = log.stat().st_size
    assert cells(out) == []
    outcome = run_grid(read_grid(write(HEAD)), out, only="none-3-1")
    assert list(outcome.results) == ["none-3-1"]
    assert outcome.left == ["none-3-0"]
    assert log.stat().st_size == size


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_no_cell_is_started_after_the_time(write, folder):
    said = run(write(HEAD), folder / "out", "--max-minutes", 0)
    assert "0 of 2 runs" in said
    assert "Not done: none-3-0, none-3-1." in said


def fake_results(grid, out, scores, folder=None):
    """Write results as if the cells had been run."""
    (out / "cells").mkdir(parents=True, exist_ok=True)
    for job in make_jobs(grid, out / "data"):
        if job.cell.name in scores:
            result = {
                "settings": {**job.settings, "weights": None},
                "metrics": ["tag_acc"],
                "dev": {"tag_acc": 0.5},
                "test": {"tag_acc": scores[job.cell.name]},
                "seconds": 36,
                "versions": {"spacy": "3.8"},
            }
            path = out / "cells" / f"{job.cell.name}.json"
            path.write_text(json.dumps(result))


def test_the_report_compares_with_the_baseline_seed_by_seed(write, folder):
    text = HEAD.replace("seeds = 2", "seeds = [0, 1, 7, 8]")
    path, out = write(text + '[[weights]]\nname = "new"\n'), folder / "out"
    scores = {"none-3-0": 0.8, "none-3-1": 0.6, "new-3-0": 0.85, "new-3-1": 0.75}
    # Seeds 7 and 8 count for the means, not for the comparison.
    fake_results(read_grid(path), out, {**scores, "new-3-7": 1.0, "none-3-8": 0.7})
    said = run(path, out, "--only-report")
    base, new = json.loads((out / "report.json").read_text())["rows"]
    assert (base["test"], base["n_seeds"], base["difference"]) == (70, 3, None)
    assert base["spread"] == pytest.approx(10)
    assert new["test"] == pytest.approx((85 + 75 + 100) / 3)
    assert new["difference"] == pytest.approx(10)
    assert new["errors_removed"] == pytest.approx(100 * 10 / 30)
    assert (new["won"], new["compared"], new["n_seeds"]) == (2, 2, 3)
    row = "| new | 86.67 | 75.00 to 100.00 | 12.58 | +10.00 | 33.3% | 2 of 2 | 50.00 |"
    assert f"{row} 3 of 4 |" in said
    assert "| 60.00 to 80.00 | 10.00 |" in said
    assert "Not done: none-3-7, new-3-8." in said
    assert said.startswith((out / "report.md").read_text())


def test_the_page_needs_nothing_else(write, folder):
    path, out = write(HEAD + '[[weights]]\nname = "a.b+c"\n'), folder / "out"
    grid = read_grid(path)
    fake_results(grid, out, {"none-3-0": 0.8, "a.b+c-3-0": 0.9})
    run(path, out, "--only-report")
    page = (out / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 1
    assert "<td>a.b+c</td>" in page
    assert "src=" not in page
    assert "<link" not in page


def test_without_matplotlib_there_are_tables(write, folder, monkeypatch):
    path, out = write(HEAD), folder / "out"
    fake_results(read_grid(path), out, {"none-3-0": 0.8})
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    run(path, out, "--only-report")
    page = (out / "report.html").read_text()
    assert "Install matplotlib" in page
    assert "<td>80.00</td>" in page


def test_a_perfect_baseline_leaves_no_errors_to_remove(write, folder):
    grid = read_grid(write(HEAD + '[[weights]]\nname = "new"\n'))
    metrics = {"metrics": ["m"], "dev": {"m": 1.0}, "test": {"m": 1.0}}
    rows = make_rows(grid, {"none-3-0": metrics, "new-3-0": metrics})
    assert [row.errors_removed for row in rows] == [None, None]
    assert rows[1].won == 0


def test_a_report_of_nothing_says_so(write, folder):
    grid = read_grid(write(HEAD))
    assert "0 of 2 runs" in write_report(grid, Outcome({}), folder / "out")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_steps = 4", "max_steps = 5", "training.max_steps is 4 there and 5 here"),
        ("depth = 1", "depth = 2", "encode.depth is 1 there and 2 here"),
        (
            "docs = 3",
            "docs = 3\noverrides.training.dropout = 0.5",
            "training.dropout is",
        ),
        (
            "seeds = 2",
            "seeds = 2\nsubset_seed = 1",
            "subset_seed is 0 there and 1 here",
        ),
        ("test.spacy", "dev.spacy", "test is "),
    ],
)
def test_a_result_of_other_settings_is_refused(write, folder, old, new, said):
    out = folder / "out"
    fake_results(read_grid(write(HEAD)), out, {"none-3-0": 0.8})
    message = run(write(HEAD.replace(old, new)), out, status=1)
    assert "none-3-0.json: was made with other settings: " in message
    assert said in message
    assert "delete the file, or name another output folder" in message


def test_another_file_of_weights_is_other_settings(write, folder):
    text = HEAD + '[[weights]]\nname = "new"\ninit_tok2vec = "{folder}/w.bin"\n'
    path, out = write(text), folder / "out"
    weights = folder / "w.bin"
    weights.write_bytes(b"one")
    fake_results(read_grid(path), out, {"new-3-0": 0.8})
    message = run(path, out, "--only-report", status=1)
    assert "weights is null there and" in message
    weights.unlink()
    run(path, out, "--only-report")


def test_places_of_files_are_no_settings(write, folder):
    out = folder / "out"
    fake_results(read_grid(write(HEAD)), out, {"none-3-0": 0.8})
    (folder / "moved").mkdir()
    for name in ("train.spacy", "dev.spacy"):
        (folder / name).rename(folder / "moved" / name)
    text = HEAD.replace("/train.spacy", "/moved/train.spacy")
    path = write(text.replace("/dev.spacy", "/moved/dev.spacy"))
    assert "1 of 2 runs" in run(path, out, "--only-report")


def test_a_damaged_result_is_named(write, folder):
    out = folder / "out"
    (out / "cells").mkdir(parents=True)
    (out / "cells" / "none-3-0.json").write_text("{")
    message = run(write(HEAD), out, status=1)
    assert "none-3-0.json: is no result of a run; delete it" in message


def test_amounts_are_parts_of_each_other_and_of_one_shuffle(write, folder):
    text = HEAD + "[[amounts]]\ndocs = 7\n"
    grid = read_grid(write(text))
    vocab = spacy.blank("en").vocab

    def parts(grid, name):
        write_subsets(grid, folder / name)
        return [
            [doc.to_json() for doc in read_docs(folder / name / f).get_docs(vocab)]
            for f in ("train-3.spacy", "train-7.spacy")
        ]

    small, large = parts(grid, "a")
    assert (len(small), len(large)) == (3, 7)
    assert small == large[:3]
    whole = [doc.to_json() for doc in read_docs(grid.train).get_docs(vocab)]
    assert all(doc in whole for doc in large)
    assert large != whole[:7]
    other = read_grid(write(text.replace("seeds = 2", "seeds = 2\nsubset_seed = 5")))
    assert parts(other, "b")[1] != large


def test_weights_are_loaded_where_the_config_has_no_pretraining(write, folder):
    jobs = {job.cell.name: job for job in make_jobs(read_grid(write()), folder)}
    config = jobs["frozen-3-1"].config
    assert config["initialize"]["init_tok2vec"] == f"{folder}/w-1-3.bin"
    assert config["pretraining"]["component"] == "tok2vec"
    assert config["initialize"]["before_init"]["@callbacks"].endswith(
        "check_tok2vec.v1"
    )
    assert jobs["none-3-1"].config["initialize"]["init_tok2vec"] is None
    assert "frozen-all-0" not in jobs
    assert jobs["none-all-0"].steps == 6


def test_overrides_merge_and_functions_replace(root):
    old = dict(load_config(root / "configs" / "stock.cfg", interpolate=False))
    new = {
        "training.optimizer.learn_rate": 0.5,
        "training.batcher": {"@batchers": "spacy.batch_by_sequence.v1", "size": 3},
        "components.tok2vec.model.embed.@architectures": "mine",
        "training": {"dropout": 0.4, "before_update": {"@callbacks": "x", "n": 1}},
    }
    made = merge(old, nested(new))
    training = made["training"]
    assert (training["optimizer"]["learn_rate"], training["optimizer"]["L2"]) == (
        0.5,
        0.01,
    )
    assert training["batcher"] == new["training.batcher"]
    assert (training["dropout"], training["before_update"]["n"]) == (0.4, 1)
    embed = made["components"]["tok2vec"]["model"]["embed"]
    assert embed["@architectures"] == "mine"
    assert embed["rows"] == [5000, 1000, 2500, 2500]


BAD = [
    ("seeds = 2", "seeds = 0", "seeds is 0; give a number of 1 or more"),
    ("seeds = 2", "seeds = [1, 1]", "seeds is [1, 1]; give"),
    ("seeds = 2", "seed = 2", "seed is no setting; choose from"),
    (
        "docs = 3",
        "docs = 0",
        "amounts[0].docs is 0; give a number of 1 or more, or all",
    ),
    ("docs = 3", "docs = 99", "has 20 docs, but an amount asks for 99"),
    ("docs = 3", "", "amounts[0].docs is missing"),
    ("[[amounts]]\ndocs = 3\n", "", "amounts is missing; give one or more [[amounts]]"),
    ('name = "none"', 'name = "a/b"', "weights[0].name is 'a/b'; use letters"),
    ('name = "none"', "", "weights[0].name is None, but has to be a str"),
    ('name = "none"', 'name = "new"', "baseline is 'none', but the weights are new"),
    ('name = "none"', 'name = "none"\ndocs = [5]', "none wants 5 docs, no amount has"),
    ('name = "none"', 'name = "none"\nlr = 1', "weights[0].lr is no setting"),
    ("nlp.lang", "npl.lang", "npl: the config has no such block"),
    ("encode = ", "encoder = ", "components.tok2vec.model.encoder: the config has no"),
    ("/dev.spacy", "/dev2.spacy", "dev2.spacy: No such file or directory"),
    ("/stock.cfg", "/none.cfg", "none.cfg"),
    ("seeds = 2", "seeds 2", "is no TOML file"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD)
def test_a_wrong_grid_is_refused_in_one_line(write, folder, old, new, said):
    message = run(write(HEAD.replace(old, new)), folder / "out", status=1)
    assert message.startswith("error: ")
    assert said in message
    assert message.count("\n") == 1


def test_two_weights_of_one_name_are_refused(write, folder):
    path = write(HEAD + '[[weights]]\nname = "none"\n')
    with pytest.raises(InputError, match="two weights are the same"):
        read_grid(path)


def test_a_training_file_that_is_none_is_refused(write, folder):
    (folder / "train.spacy").write_text("no docs")
    assert "train.spacy: is no .spacy file" in run(write(HEAD), folder / "o", status=1)
