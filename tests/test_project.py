"""The spaCy project: its scripts, project.yml, assets, and the smoke workflow."""

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import srsly
from spacy.util import load_config
from weasel.util.config import load_project_config

from spacy_embedkit.experiments.plan import read_grid

from .helpers.checkout import ROOT
from .helpers.project_scripts import assert_one_line_error, load_script, run_script

common = load_script("common")
train_runs = load_script("train_runs")


def test_wrong_hash_stops_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(b"other")
    result = run_script("fetch.py", "a==1", "0" * 64, path)
    assert_one_line_error(result, "sha256 is d9298a10", "expected")


def test_missing_file_stops_in_one_line(tmp_path: Path) -> None:
    bank = f"a={tmp_path}/a.conllu"
    result = run_script(
        "make_corpus.py", tmp_path / "o", "--lang", "pt", "--treebank", bank
    )
    assert_one_line_error(result, "a.conllu: no such file")
    assert not list(tmp_path.iterdir())


def test_refusal_of_the_system_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^error: /no/such: No such file") as caught:
        common.run_main(lambda: print(*Path("/no/such").iterdir()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("old", [None, "old"])
def test_failure_leaves_the_target_as_it_was(tmp_path: Path, old: str | None) -> None:
    target = tmp_path / "out"
    if old:
        target.mkdir()
        (target / old).touch()
    with contextlib.suppress(ZeroDivisionError), common.whole_output(target) as partial:
        partial.mkdir()
        (partial / "new").write_text(str(1 / 0))
    assert [path.name for path in tmp_path.rglob("*")] == (["out", old] if old else [])


def test_success_replaces_a_whole_folder(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with common.whole_output(tmp_path / "out") as partial:
            partial.mkdir()
            (partial / name).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_full_disk_stops_in_one_line(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limit = {
        "preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    }
    code = "import signal, sys; open(sys.argv[1], 'wb').write(b'x' * 9999)"
    command = ["--", "python", "-c", code, "OUT"]
    result = run_script("keep_whole.py", tmp_path / "out", *command, **limit)
    assert_one_line_error(result, "File too large")
    assert not list(tmp_path.iterdir())


def test_finished_run_is_known_again_until_an_input_changes(tmp_path: Path) -> None:
    config = tmp_path / "a.cfg"
    config.write_text("[a]")
    done = tmp_path / "runs" / "a-0"
    done.mkdir(parents=True)
    for text, expected in (("[a]", True), ("[b]", False)):
        config.write_text(text)
        run = train_runs.Run("a-0", "a", 0, [str(config)], tmp_path / "runs")
        run.inputs = train_runs.hash_inputs(run.arguments)
        if expected:
            (done / "run.json").write_text(json.dumps(run.facts()))
        assert train_runs.is_finished(run) is expected


def test_recipes_differ_in_embedding_and_backend_alone() -> None:
    # The encoders are one network, by two names.
    stock, ours = (
        load_config(ROOT / "configs" / f"{x}.cfg") for x in ("stock", "ours")
    )
    assert stock["components"]["tok2vec"]["model"].pop("embed")
    assert ours["components"]["tok2vec"]["model"].pop("embed")
    assert stock["nlp"].pop("before_creation") is None
    assert ours["nlp"].pop("before_creation")
    # Only ours has vectors, and they may be in either kind of table.
    assert stock["nlp"].pop("vectors") == {"@vectors": "spacy.Vectors.v1"}
    assert ours["nlp"].pop("vectors") == {"@vectors": "spacy-embedkit.Vectors.v1"}
    encoders = [x["components"]["tok2vec"]["model"]["encode"] for x in (stock, ours)]
    assert [encoder.pop("@architectures") for encoder in encoders] == [
        "spacy.MaxoutWindowEncoder.v2",
        "spacy-embedkit.MaxoutWindowEncoder.v1",
    ]
    # Only ours is pretrained; without its block spaCy would not load the weights.
    assert stock.pop("pretraining") == {}
    assert ours.pop("pretraining")["component"] == "tok2vec"
    assert ours["corpora"].pop("pretrain")
    assert ours["paths"].pop("raw_text", "missing") is None
    assert stock["initialize"].pop("before_init") is None
    assert ours["initialize"].pop("before_init")
    assert stock == ours


def test_grid_compares_stock_pretraining_with_ours_on_one_network() -> None:
    stock, ours = (
        load_config(ROOT / "configs" / f"{x}.cfg")
        for x in ("efficiency_stock", "efficiency")
    )
    models = [x["components"]["tok2vec"]["model"] for x in (stock, ours)]
    assert models[1]["embed"].pop("cache_rows")
    for model in models:
        for layer in model.values():
            if isinstance(layer, dict):
                layer.pop("@architectures")
    assert stock["components"] == ours["components"]
    assert stock["training"] == ours["training"]


@pytest.mark.parametrize("name", ["grid", "tuning", "tuning_stock"])
def test_grids_take_what_the_workflows_make(name: str) -> None:
    grid = read_grid(ROOT / "configs" / f"{name}.toml")
    assert (ROOT / grid.config).is_file()
    commands = load_project_config(ROOT)["commands"]
    made = {path for command in commands for path in command["outputs"]}
    cells = list(grid.cells())
    found = {cell.weights.file(cell.seed, cell.amount.docs) for cell in cells}
    paths = {grid.train, grid.dev, grid.test, *found} - {None}
    assert [x for x in paths if made.isdisjoint(map(str, x.parents))] == []
    assert any(cell.weights.name == grid.baseline for cell in cells)


def test_every_command_is_complete() -> None:
    project = load_project_config(ROOT)
    for command in project["commands"]:
        assert all(command[key] for key in ("help", "deps", "outputs")), command
        # Two variables side by side in a list come out as one string.
        assert not [
            path for path in command["deps"] + command["outputs"] if "," in path
        ]
        words = re.findall(r"(?:scripts|configs)/[\w.]+", " ".join(command["script"]))
        assert words == [word for word in words if (ROOT / word).exists()]
    names = {command["name"] for command in project["commands"]}
    workflows = {"all", "smoke", "english", "grid", "transformer"}
    assert set(project["workflows"]) == workflows
    assert set().union(*project["workflows"].values()) == names


def test_assets_are_the_ones_described() -> None:
    text = (ROOT / "assets" / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (sample\.\w+) \|.*\| ([0-9a-f]{64}) \|$", text, re.M))
    files = {path.name for path in (ROOT / "assets").glob("sample.*")}
    assert set(rows) == files
    for name, digest in rows.items():
        assert (
            hashlib.sha256((ROOT / "assets" / name).read_bytes()).hexdigest() == digest
        )


@pytest.mark.slow
def test_smoke_workflow_from_start_to_package(tmp_path: Path) -> None:
    for name in ("configs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "assets").mkdir()
    for path in [ROOT / "project.yml", *(ROOT / "assets").glob("sample.*")]:
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    command = [sys.executable, "-m", "spacy", "project", "run", "smoke", str(tmp_path)]
    first, second = (
        subprocess.run(command, capture_output=True, text=True) for _ in range(2)
    )
    assert first.returncode == 0, first.stderr[-2000:]
    assert {path.name for path in (tmp_path / "training/smoke/report").iterdir()} == {
        "metrics.json",
        "report.md",
        "report.png",
    }
    # spaCy says nothing where it leaves pretrained weights alone.
    runs = tmp_path / "training/smoke/runs"
    curves = [
        [row["losses"] for row in srsly.read_jsonl(path)]
        for path in (runs / f"{x}-0/log.jsonl" for x in ("ours", "unpretrained"))
    ]
    assert curves[0] != curves[1]
    facts = srsly.read_json(tmp_path / "training/smoke/report/metrics.json")
    assert len(facts["ingredients"]) == 3 * len(facts["comparison"])
    [_wheel] = (tmp_path / "packages/smoke").rglob("dist/*.whl")
    [meta] = (tmp_path / "packages/smoke").glob("*/meta.json")
    assert any("spacy-embedkit" in x for x in srsly.read_json(meta)["requirements"])
    steps = load_project_config(ROOT)["workflows"]["smoke"]
    assert [step for step in steps if f"Skipping '{step}'" not in second.stdout] == []
