"""Comparisons of trainings: what is run, what is not run again, what is reported."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from typer import Typer
from typer.testing import CliRunner

from spacy_embedkit.checks import InputError
from spacy_embedkit.cli import one_line_errors
from spacy_embedkit.cli.compare import compare
from spacy_embedkit.experiments.comparison import Comparison, Comparisons
from spacy_embedkit.experiments.comparison_report import conclude, write_report
from spacy_embedkit.experiments.engine import keep_trial, run_plan
from spacy_embedkit.experiments.measure import evaluate
from spacy_embedkit.experiments.plan_file import read_plan
from spacy_embedkit.experiments.results import Outcome
from spacy_embedkit.experiments.trials import (
    make_trials,
    override,
    read_docs,
    write_subsets,
)
from spacy_embedkit.experiments.worker import stop_with_parent

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

[[variants]]
name = "none"
"""
MORE = """
[[variants]]
name = "frozen"
init_tok2vec = "{folder}/w-{{seed}}-{{docs}}.bin"
docs = [3]

[variants.overrides.training.before_update]
"@callbacks" = "spacy-embedkit.freeze_tok2vec.v1"
steps = 2

[[amounts]]
docs = "all"
overrides.training.max_steps = 6
"""
NEW = '[[variants]]\nname = "new"\n'
app = Typer()
app.command()(one_line_errors(compare))


def run(*args, status=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit | None), result.exception
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
    """A function that writes a plan."""

    def write(text=HEAD + MORE):
        path = folder / "plan.toml"
        path.write_text(text.format(folder=folder, root=root))
        return path

    return write


def make_weights(plan, folder):
    config = make_trials(plan, folder)[0].config
    nlp = load_model_from_config(config, auto_fill=True)
    model = nlp.get_pipe("tok2vec").model.initialize(X=[nlp.make_doc("The cat")])
    for seed in plan.seeds:
        (folder / f"w-{seed}-3.bin").write_bytes(model.to_bytes())


def finished(out):
    return sorted(path.stem for path in (out / "trials").glob("*.json"))


@pytest.mark.slow
def test_plan_is_run_timed_reported_and_not_run_again(write, folder):
    head = 'best = "none"\nspeed = {{words = 20, rounds = 2}}\n' + HEAD
    # A trial that fails stops no other.
    bad = '[[variants]]\nname = "bad"\ninit_tok2vec = "{folder}/bad.bin"\ndocs = [3]\n'
    missing = bad.replace("bad", "missing")
    good = (head + MORE.split("[[amounts]]")[0]).replace("seeds = 2", "seeds = [1]")
    text = good + bad + missing
    path, out = write(text), folder / "out"
    make_weights(read_plan(path), folder)
    (folder / "bad.bin").write_bytes(b"no weights")
    output = run(path, out, "--jobs", 2, status=1)
    assert finished(out) == ["frozen-3-1", "none-3-1"]
    assert "2 of 4 trials" in output
    assert "error: 2 trials failed: bad-3-1, missing-3-1; fix" in output
    assert f"{folder}/missing.bin: no such file; make it first" in output
    assert "bad.bin: is no" in output
    result = json.loads((out / "trials" / "frozen-3-1.json").read_text())
    assert [step for step, _ in result["curve"]] == [0, 2, 4]
    nlp = spacy.load(out / "models" / "frozen-3-1")
    training = nlp.config["training"]
    assert training["before_update"]["steps"] == 2
    assert training["seed"] == 1
    assert training["logger"]["@loggers"] == "spacy.ConsoleLogger.v1"
    for split in ("dev", "test"):
        docs = DocBin().from_disk(folder / f"{split}.spacy").get_docs(nlp.vocab)
        examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
        scores = nlp.evaluate(examples)
        assert result["scores"][split][split]["tag_acc"] == 100 * scores["tag_acc"]
    report = json.loads((out / "report.json").read_text())
    assert set(report["failed"]) == {"bad-3-1", "missing-3-1"}
    speeds = report["words_per_second"]
    assert [(name, len(x)) for name, x in speeds.items()] == [
        ("none", 2),
        ("frozen", 2),
    ]
    assert (out / "best" / "meta.json").exists()
    assert not (out / "running").exists()
    kept = [*(out / "trials").iterdir(), out / "speed.json"]
    times = {path: path.stat().st_mtime_ns for path in kept}
    run(write(good), out)
    assert times == {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.slow
def test_killed_comparison_goes_on(write, folder):
    path, out = write(HEAD.replace("max_steps = 4", "max_steps = 4000")), folder / "out"
    code = (
        "import sys; from pathlib import Path\n"
        "from spacy_embedkit.experiments.plan_file import read_plan\n"
        "from spacy_embedkit.experiments.engine import keep_trial, run_plan\n"
        "run_plan(read_plan(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(out)])
    log = out / "logs" / "none-3-0.txt"
    wait_for(lambda: log.exists() and "LOSS" in log.read_text(errors="replace"))
    with pytest.raises(InputError, match="another command is at work there"):
        run_plan(read_plan(path), out)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # The trial that it started looks for it once a second.
    time.sleep(3)
    size = log.stat().st_size
    assert finished(out) == []
    outcome = run_plan(read_plan(write(HEAD)), out, only="none-3-1")
    assert list(outcome.results) == ["none-3-1"]
    assert outcome.left == ["none-3-0"]
    assert log.stat().st_size == size


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_no_trial_is_started_after_the_time(write, folder):
    output = run(write(HEAD), folder / "out", "--max-minutes", 0)
    assert "0 of 2 trials" in output
    assert "Not done: none-3-0, none-3-1." in output


def fake_results(plan, out, scores):
    """Write results as if the trials had been run; scores are tag_acc, or a dict."""
    (out / "trials").mkdir(parents=True, exist_ok=True)
    for trial in make_trials(plan, out / "data"):
        if trial.name in scores:
            found = scores[trial.name]
            found = found if isinstance(found, dict) else {"tag_acc": found}
            result = {
                "variant": trial.variant.name,
                "docs": trial.docs,
                "seed": trial.seed,
                "steps": trial.steps,
                "settings": trial.settings,
                "inputs": trial.hashes(),
                "weighed": ["tag_acc"],
                "scores": {"dev": {"d": found}, "test": {"a": found}},
                "curve": [[0, 1.0], [2, 50.0]],
                "best_dev_score": 50.0,
                "bytes": 2_000_000,
                "seconds": 36,
                "seconds_of_training": 30,
                "versions": {"spacy": "3.8"},
            }
            path = out / "trials" / f"{trial.name}.json"
            path.write_text(json.dumps(result))


def test_report_compares_with_the_baseline_seed_by_seed(write, folder):
    text = HEAD.replace("seeds = 2", "seeds = [0, 1, 7, 8]")
    path, out = write(text + NEW), folder / "out"
    scores = {"none-3-0": 80, "none-3-1": 60, "new-3-0": 85, "new-3-1": 75}
    # Seeds 7 and 8 count for the means, not for the comparison.
    fake_results(read_plan(path), out, {**scores, "new-3-7": 100, "none-3-8": 70})
    output = run(path, out, "--only-report")
    base, new = json.loads((out / "report.json").read_text())["comparisons"][:2]
    assert (base["mean"], len(base["values"]), base["difference"]) == (70, 3, None)
    assert base["spread"] == pytest.approx(10)
    assert new["mean"] == pytest.approx((85 + 75 + 100) / 3)
    assert new["difference"] == pytest.approx(10)
    assert new["errors_removed"] == pytest.approx(100 * 10 / 30)
    assert (new["seeds_won"], new["seeds_compared"], len(new["values"])) == (2, 2, 3)
    row = "| tag_acc | new | 86.67 | 75.00 to 100.00 | 12.58 | +10.00 | 33.3% | 2 of 2"
    assert f"{row} | within seed spread | 3 of 4 |" in output
    assert "| 60.00 to 80.00 | 10.00 |" in output
    assert "Not done: none-3-7, new-3-8." in output
    assert (out / "report.md").read_text().startswith(output[:1000])


def test_page_needs_no_other_file(write, folder):
    path, out = write(HEAD + '[[variants]]\nname = "a.b+c"\n'), folder / "out"
    fake_results(read_plan(path), out, {"none-3-0": 80, "a.b+c-3-0": 90})
    run(path, out, "--only-report")
    page = (out / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 1
    assert "<td>a.b+c</td>" in page
    assert "src=" not in page
    assert "<link" not in page


def test_pictures_show_amounts_and_speeds(write, folder):
    plan, out = read_plan(write()), folder / "out"
    scores = {"none-3-0": 80, "none-all-0": 90, "frozen-3-0": 85}
    fake_results(plan, out, scores)
    (out / "speed.json").write_text('{"words_per_second": {"none": [9.0, 8.0]}}')
    path = write('speed = {{words = 9}}\nnotes = "{root}/LICENSE"\n' + HEAD + MORE)
    run(path, out, "--only-report")
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "MIT" in page
    assert "| none | 3 | 8 | 8 to 9 | 2.0 | 4 | 30 |" in (out / "report.md").read_text()


def test_without_matplotlib_there_are_tables(write, folder, monkeypatch):
    path, out = write(HEAD), folder / "out"
    fake_results(read_plan(path), out, {"none-3-0": 80})
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    run(path, out, "--only-report")
    page = (out / "report.html").read_text()
    assert "Install matplotlib" in page
    assert "<td>80.00</td>" in page


def make_comparison(base, new):
    values = [dict(enumerate(map(float, values))) for values in (new, base)]
    return Comparison("all", "test", "a", "m", "new", "none", *values, n_planned=2)


@pytest.mark.parametrize(
    ("base", "new", "verdict"),
    [
        ([90, 91], [92, 93], "better"),
        ([92, 93], [90, 91], "worse"),
        ([90, 92], [91], "within seed spread"),
        ([90], [91], "too few seeds"),
    ],
)
def test_verdict_is_that_of_the_worst_and_best_seeds(base, new, verdict):
    assert make_comparison(base, new).verdict == verdict


def test_perfect_baseline_leaves_no_errors_to_remove():
    row = make_comparison([100.0], [100.0])
    assert (row.errors_removed, row.won) == (None, 0)


def test_report_says_what_each_ingredient_brought(write, folder):
    contribution = '[[contributions]]\nname = "grams"\nvariant = "new"\nbase = "none"\n'
    path, out = write('best = "new"\n' + HEAD + NEW + contribution), folder / "out"
    for i, (base, new) in enumerate(((80, 90), (81, 91))):
        scores = {
            f"none-3-{i}": {"tag_acc": base, "sents_f": new, "token_acc": 99},
            f"new-3-{i}": {"tag_acc": new, "sents_f": base, "token_acc": 99},
        }
        fake_results(read_plan(path), out, scores)
    output = run(path, out, "--only-report")
    # All that got worse is told, also where the config gives it no weight.
    text = (
        "new is better in every seed than any seed of none: a tag_acc +10.00; "
        "new is worse in every seed than any seed of none: a sents_f -10.00."
    )
    assert f"What grams brought, on test: {text}" in output
    assert f"In all, on test: {text}" in output
    rows = [
        "| tag_acc | a | 3 | 80.50 | 90.50 | +10.00 | 2 of 2 | better |",
        "| sents_f | a | 3 | 90.50 | 80.50 | -10.00 | 0 of 2 | **worse** |",
        "| token_acc | a | 3 | 99.00 | 99.00 | +0.00 | 0 of 2 | within seed spread |",
    ]
    assert [row in output for row in rows] == [True] * 3
    page = (out / "report.html").read_text()
    assert page.count('<tr class="worse">') == 3
    report = json.loads((out / "report.json").read_text())
    assert [row["verdict"] for row in report["contributions"]] == [
        "better",
        "worse",
        "within seed spread",
    ]


def test_set_without_annotation_is_named(write):
    plan = read_plan(write('metrics = ["dep_las"]\n' + HEAD))
    results = {"none-3-0": {"scores": {"test": {"a": {"tag_acc": 1.0}}, "dev": {}}}}
    lines = conclude(Comparisons(plan, results), Outcome(results))
    assert lines == ["a has no annotation for dep_las."]


def test_scores_of_what_is_not_annotated_are_left_out():
    nlp = spacy.blank("en")
    nlp.add_pipe("tagger").add_label("X")
    parser = nlp.add_pipe("parser")
    parser.add_label("ROOT")
    nlp.initialize()
    # Without gold heads the scorer gives LAS 0, not None, if a token is misaligned.
    spaces = [True, False, False]
    gold = Doc(nlp.vocab, ["a", "b", "c"], tags=["X"] * 3, spaces=spaces)
    scores = evaluate(nlp, [Example(Doc(nlp.vocab, ["a", "bc"]), gold)])
    assert "tag_acc" in scores
    assert {"dep_las", "sents_f", "speed"}.isdisjoint(scores)
    assert all(isinstance(score, float) for score in scores.values())


def test_report_of_nothing_says_so(write, folder):
    assert "0 of 2 trials" in write_report(
        read_plan(write(HEAD)), Outcome({}), folder / "out"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_steps = 4", "max_steps = 5", "training.max_steps is 4 there and 5 here"),
        ("docs = 3", "docs = 3\noverrides.training.dropout = 0.5", "dropout is"),
        ("seeds = 2", "seeds = 2\nsubset_seed = 1", "subset_seed is 0 there and 1"),
        ("test.spacy", "dev.spacy", "test is "),
    ],
)
def test_result_of_other_settings_is_refused(write, folder, old, new, message):
    out = folder / "out"
    fake_results(read_plan(write(HEAD)), out, {"none-3-0": 80})
    output = run(write(HEAD.replace(old, new)), out, status=1)
    assert "none-3-0.json: was made with other settings: " in output
    assert message in output
    assert "delete the file, name another output folder, or give --force" in output


def test_force_leaves_out_results_of_other_settings(write, folder):
    out = folder / "out"
    fake_results(read_plan(write(HEAD)), out, {"none-3-0": 80})
    path = write(HEAD.replace("max_steps = 4", "max_steps = 5"))
    output = run(path, out, "--force", "--max-minutes", 0)
    assert "0 of 2 trials" in output


def test_other_weights_are_other_settings(write, folder):
    text = HEAD + NEW + 'init_tok2vec = "{folder}/w.bin"\n'
    path, out = write(text), folder / "out"
    weights = folder / "w.bin"
    weights.write_bytes(b"one")
    fake_results(read_plan(path), out, {"new-3-0": 80})
    weights.write_bytes(b"two")
    output = run(path, out, "--only-report", status=1)
    assert "init_tok2vec is " in output
    # What was learned from a file that is gone is still true.
    weights.unlink()
    run(path, out, "--only-report")


def test_places_of_files_are_not_settings(write, folder):
    out = folder / "out"
    fake_results(read_plan(write(HEAD)), out, {"none-3-0": 80})
    (folder / "moved").mkdir()
    for name in ("train.spacy", "dev.spacy"):
        (folder / name).rename(folder / "moved" / name)
    text = HEAD.replace("/train.spacy", "/moved/train.spacy")
    path = write(text.replace("/dev.spacy", "/moved/dev.spacy"))
    assert "1 of 2 trials" in run(path, out, "--only-report")


def test_damaged_result_is_named(write, folder):
    out = folder / "out"
    (out / "trials").mkdir(parents=True)
    (out / "trials" / "none-3-0.json").write_text("{")
    output = run(write(HEAD), out, status=1)
    assert "none-3-0.json: is not the result of a trial; delete it" in output


def test_results_of_the_old_command_are_refused(write, folder):
    (folder / "out" / "cells").mkdir(parents=True)
    output = run(write(HEAD), folder / "out", status=1)
    assert "holds results of `pretrain-report`, which are not read any more" in output


@pytest.mark.parametrize("option", ["--force", "--only-report"])
def test_folder_with_files_of_others_is_refused(write, folder, option):
    out = folder / "out"
    for name in ("running/notes.txt", "best/meta.json", "report.html"):
        (out / name).parent.mkdir(exist_ok=True, parents=True)
        (out / name).write_text("mine")
    output = run(write(HEAD), out, option, status=1)
    assert "out: holds other files, such as best; name a new folder" in output
    names = {"best", "meta.json", "notes.txt", "report.html", "running"}
    assert {path.name for path in out.rglob("*")} == names


def test_result_is_there_only_with_its_own_model(tmp_path):
    out, trial = tmp_path / "out", tmp_path / "trial"
    for path in (out / "models" / "a", out / "trials", trial):
        path.mkdir(parents=True)
    (out / "models" / "a" / "model").write_text("old")
    (out / "trials" / "a.json").write_text("old")
    # Ended by a kill, before the trial had its model.
    (trial / "result.json").write_text("new")
    with pytest.raises(FileNotFoundError):
        keep_trial("a", trial, out, keep_model=True)
    assert {path.name for path in out.rglob("*")} == {"trials", "models"}
    keep_trial("a", trial, out, keep_model=False)
    assert (out / "trials" / "a.json").read_text() == "new"


def test_trial_ends_whose_command_was_killed_before_it_began(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: ended.set())
    # Not the parent of this process.
    stop_with_parent(os.getpid())
    assert ended.wait(10)


def test_amounts_are_parts_of_each_other_and_of_one_shuffle(write, folder):
    text = HEAD + "[[amounts]]\ndocs = 7\n"
    plan = read_plan(write(text))
    vocab = spacy.blank("en").vocab

    def parts(plan, name):
        write_subsets(plan, make_trials(plan, folder / name), folder / name)
        return [
            [doc.to_json() for doc in read_docs(folder / name / f).get_docs(vocab)]
            for f in ("train-3.spacy", "train-7.spacy")
        ]

    small, large = parts(plan, "a")
    assert (len(small), len(large)) == (3, 7)
    assert small == large[:3]
    every = [doc.to_json() for doc in read_docs(plan.train).get_docs(vocab)]
    assert all(doc in every for doc in large)
    assert large != every[:7]
    other = read_plan(write(text.replace("seeds = 2", "seeds = 2\nsubset_seed = 5")))
    assert parts(other, "b")[1] != large


def test_weights_are_loaded_where_the_config_has_no_pretraining(write, folder):
    trials = {t.name: t for t in make_trials(read_plan(write()), folder)}
    config = trials["frozen-3-1"].config
    assert config["initialize"]["init_tok2vec"] == f"{folder}/w-1-3.bin"
    assert config["pretraining"]["component"] == "tok2vec"
    assert config["initialize"]["before_init"]["@callbacks"].endswith(
        "check_tok2vec.v1"
    )
    assert trials["none-3-1"].config["initialize"]["init_tok2vec"] is None
    assert "frozen-all-0" not in trials
    assert trials["none-all-0"].steps == 6


def test_variant_may_have_a_config_training_docs_and_seeds_of_its_own(
    write, folder, root
):
    own = f'config = "{root}/configs/ours.cfg"\ntrain = "{folder}/dev.spacy"\nseeds = 1'
    overrides = "overrides.components.tok2vec.model.embed.rows = 50\n"
    plan = read_plan(write(HEAD + NEW + own + "\n" + overrides))
    trials = {trial.name: trial for trial in make_trials(plan, folder / "data")}
    assert list(trials) == ["none-3-0", "new-3-0", "none-3-1"]
    config = trials["new-3-0"].config
    embed = config["components"]["tok2vec"]["model"]["embed"]
    assert embed["@architectures"] == "spacy-embedkit.SubwordHashEmbed.v1"
    assert embed["rows"] == 50
    assert config["corpora"]["train"]["path"] == f"{folder}/data/new-3.spacy"
    write_subsets(plan, [*trials.values()], folder / "data")
    assert len(read_docs(folder / "data" / "new-3.spacy")) == 3


def test_blocks_that_depend_on_the_language_are_not_filled(write, folder):
    text = HEAD.replace("{root}/configs/stock.cfg", "{folder}/ja.cfg")
    (folder / "ja.cfg").write_text(
        '[nlp]\nlang = "ja"\npipeline = ["tok2vec"]\n\n[components]\n\n'
        '[components.tok2vec]\nfactory = "tok2vec"\n'
    )
    head, variants = text.split("[overrides]")[0], text.split("[[amounts]]")[1]
    plan = read_plan(write(f"{head}[[amounts]]{variants}"))
    config = make_trials(plan, folder)[0].config
    assert "tokenizer" not in config["nlp"]
    assert config["corpora"]["dev"]["path"] == f"{folder}/dev.spacy"


def test_overrides_are_those_of_spacy_train(root):
    old = load_config(root / "configs" / "stock.cfg", interpolate=False)
    new = {
        "training.batcher": {"@batchers": "spacy.batch_by_sequence.v1", "size": 3},
        "components": {"tok2vec": {"model.embed.rows": [1, 2, 3, 4]}},
        "training": {"dropout": 0.4, "before_update": {"@callbacks": "x", "n": 1}},
    }
    config = override(old, new)
    training = config["training"]
    assert training["batcher"] == new["training.batcher"]
    assert (training["dropout"], training["before_update"]["n"]) == (0.4, 1)
    assert training["score_weights"] == old["training"]["score_weights"]
    embed = config["components"]["tok2vec"]["model"]["embed"]
    assert embed["@architectures"] == "spacy.MultiHashEmbed.v2"
    assert embed["rows"] == [1, 2, 3, 4]


def test_plan_is_changed_by_set_and_vars(write):
    text = HEAD.replace("test.spacy", "{{name}}.spacy") + 'init_tok2vec = "{{seed}}"\n'
    path = write(text + '[vars]\nname = "test"\n')
    changes = [
        "vars.name=dev",
        "seeds=3",
        "overrides.training.dropout=0.5",
        "best=none",
    ]
    plan = read_plan(path, changes)
    assert plan.test.name == "dev.spacy"
    assert plan.seeds == (0, 1, 2)
    assert plan.overrides["training"]["dropout"] == 0.5
    assert plan.best == "none"
    assert plan.variants[0].init_tok2vec == "{seed}"
    with pytest.raises(InputError, match="--set seeds: give KEY=VALUE"):
        read_plan(path, ["seeds"])
    with pytest.raises(InputError, match="seeds is not a table of the plan"):
        read_plan(path, ["seeds.x=1"])


BAD = [
    ("seeds = 2", "seeds = 0", "seeds is 0: give a number of 1 or more"),
    ("seeds = 2", "seeds = [1, 1]", "seeds is [1, 1]: give"),
    ("seeds = 2", "seed = 2", "seed is not a setting; choose from"),
    (
        "docs = 3",
        "docs = 0",
        "amounts[0].docs is 0: give a number of 1 or more, or all",
    ),
    ("docs = 3", "docs = 99", "has 20 docs, but an amount asks for 99"),
    ("docs = 3", "", "amounts[0].docs is missing"),
    ('[[variants]]\nname = "none"', "", "variants is missing"),
    ('[[variants]]\nname = "none"', "[[weights]]", "rename it, and give another"),
    ('name = "none"', 'name = "a/b"', "variants[0].name is 'a/b': "),
    ('name = "none"', "", "variants[0].name is missing"),
    (
        "seeds",
        'baseline = "old"\nseeds',
        "baseline is 'old', but the variants",
    ),
    ('name = "none"', 'name = "none"\ndocs = [5]', "none wants 5 docs, no amount has"),
    (
        'name = "none"',
        'name = "none"\nlr = 1',
        "variants[0].lr is not a setting",
    ),
    ('name = "none"', 'name = "none"\n' * 2, "is not a TOML file"),
    ('name = "none"\n', f'name = "none"\n{NEW * 2}', "two variants are the same"),
    ("nlp.lang", "npl.lang", "npl -> lang"),
    ("encode = ", "encoder = ", "components -> tok2vec -> model -> encoder"),
    ("/stock.cfg", "/none.cfg", "none.cfg"),
    ("seeds = 2", "seeds 2", "is not a TOML file"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_wrong_plan_is_refused_in_one_line(write, folder, old, new, message):
    output = run(write(HEAD.replace(old, new)), folder / "out", status=1)
    assert output.startswith("error: ")
    assert message in output
    assert output.count("\n") == 1


def test_training_file_that_is_not_one_is_refused(write, folder):
    (folder / "train.spacy").write_text("no docs")
    assert "train.spacy: is not a .spacy" in run(write(HEAD), folder / "o", status=1)


def test_missing_data_fails_the_trials_that_need_it(write, folder):
    path = write(HEAD.replace("/dev.spacy", "/dev2.spacy"))
    output = run(path, folder / "out", status=1)
    assert "dev2.spacy: no such file; make it first" in output


def test_finished_pipeline_is_scored_and_timed_as_it_is(write, folder):
    nlp = spacy.blank("en")
    tagger = nlp.add_pipe("tagger")
    for label in "DNVPR":
        tagger.add_label(label)
    nlp.initialize()
    nlp.to_disk(folder / "done")
    text = HEAD.replace('test = "{folder}/test.spacy"\n', "")
    done = '[[variants]]\nname = "done"\npipeline = "{folder}/done"\n'
    speed = "[speed]\nwords = 20\nrounds = 2\n"
    path, out = write(text + done + speed), folder / "out"
    output = run(path, out)
    # Once, as no seed changes it, and without docs of the test to score.
    assert finished(out) == ["done-3-0", "none-3-0", "none-3-1"]
    result = json.loads((out / "trials" / "done-3-0.json").read_text())
    assert result["scores"]["test"] == {}
    docs = DocBin().from_disk(folder / "dev.spacy").get_docs(nlp.vocab)
    scores = nlp.evaluate([Example(nlp.make_doc(doc.text), doc) for doc in docs])
    assert result["scores"]["dev"]["dev"]["tag_acc"] == 100 * scores["tag_acc"]
    assert not (out / "models" / "done-3-0").exists()
    report = json.loads((out / "report.json").read_text())
    assert set(report["words_per_second"]) == {"none", "done"}
    assert "scored on test once" not in output
    (folder / "done" / "meta.json").write_text("{}")
    with pytest.raises(InputError, match=r"done-3-0\.json: was made with other .*pipe"):
        run_plan(read_plan(path), out)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('pipeline = "a"\ninit_tok2vec = "b"', "a pipeline is not trained; leave out"),
        ('pipeline = "a"', "best is 'new', which is not trained here"),
    ],
)
def test_finished_pipeline_is_not_trained(write, text, words):
    path = write('best = "new"\n' + HEAD + NEW + text)
    with pytest.raises(InputError, match=words):
        read_plan(path)
