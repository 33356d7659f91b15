"""The spaCy project: its scripts, plans and configs, project.yml and assets."""

import hashlib
import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import srsly
from spacy.util import dict_to_dot, load_config, load_model_from_config
from weasel.util.config import load_project_config

from spacy_embedkit.experiments.plan_file import read_plan

from .helpers.checkout import ROOT
from .helpers.project_scripts import (
    assert_one_line_error,
    load_script,
    run_script,
    run_step,
)

common = load_script("common")


def read_project_plan(name: str) -> Any:
    """Read a plan of the project."""
    return read_plan(ROOT / "configs" / f"{name}.toml")


def filled(name: str) -> dict[str, Any]:
    """Settings of a config of the project, with what spaCy fills when it trains."""
    config = load_config(ROOT / "configs" / f"{name}.cfg", interpolate=False)
    nlp = load_model_from_config(config, auto_fill=True)
    return dict_to_dot(nlp.config.interpolate())


def differing(first: str, second: str) -> set[str]:
    """Names of the settings in which two configs of the project differ."""
    one, two = filled(first), filled(second)
    return {key for key in {**one, **two} if one.get(key, "") != two.get(key, "")}


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


def test_stock_and_ours_differ_in_embedding_backend_and_pretraining_alone() -> None:
    allowed = (
        r"components\.tok2vec\.model\.embed\..*"
        # The encoders are one network, by two names.
        r"|components\.tok2vec\.model\.encode\.@architectures"
        r"|nlp\.before_creation.*"
        # Only ours has vectors, and they may be in either kind of table.
        r"|nlp\.vectors\..*"
        # Only ours is pretrained; without its block spaCy would not load the weights.
        r"|pretraining\..*|corpora\.pretrain\..*|paths\.raw_text"
        r"|initialize\.before_init.*"
    )
    found = differing("stock", "ours")
    assert found
    assert [key for key in found if not re.fullmatch(allowed, key)] == []
    stock, ours = filled("stock"), filled("ours")
    embed = "components.tok2vec.model.embed"
    assert stock[f"{embed}.attrs"] == ours[f"{embed}.attrs"]
    assert stock[f"{embed}.rows"] == ours[f"{embed}.attr_rows"]


def test_stock_pretraining_of_the_grid_has_the_network_of_ours() -> None:
    stock, ours = filled("efficiency_stock"), filled("efficiency")
    prefix = "components.tok2vec.model."
    names = {name for name in stock if name.startswith(prefix)}
    kinds = {name for name in names if name.endswith("@architectures")}
    assert len(kinds) == 3
    for name in names - kinds:
        assert stock[name] == ours[name]


def test_transformer_and_cpu_pipeline_differ_in_the_network_alone() -> None:
    reason = "needs pip install 'spacy-embedkit[transformers]'"
    pytest.importorskip("spacy_transformers", reason=reason)
    # The plan sets it for both.
    allowed = {"components.parser.min_action_freq"}
    found = {
        key
        for key in differing("transformer", "efficiency")
        if re.match(r"components\.(tagger|parser)\.|training\.score_weights", key)
        and ".model.tok2vec." not in key
    }
    assert found == allowed


def test_variants_differ_by_the_ingredient_that_the_report_names() -> None:
    plan = read_project_plan("ingredients")
    assert [(x.name, x.base, x.variant) for x in plan.contributions] == [
        (name, base.name, variant.name)
        for name, (base, variant) in zip(
            ("n-grams", "vectors", "pretraining"), pairwise(plan.variants), strict=True
        )
    ]
    stock, ngrams, unpretrained, ours = plan.variants
    assert [plan.baseline, plan.best] == ["stock", "ours"]
    assert (stock.config, stock.overrides) == (Path("configs/stock.cfg"), {})
    no_vectors = {"components.tok2vec.model.embed.include_static_vectors": False}
    assert dict_to_dot(ngrams.overrides) == no_vectors
    vectors = {"paths.vectors": "vectors/portuguese/model"}
    assert dict_to_dot(unpretrained.overrides) == vectors
    assert dict_to_dot(ours.overrides) == vectors
    assert [bool(variant.init_tok2vec) for variant in plan.variants] == [0, 0, 0, 1]


def test_teacher_and_students_see_the_same_annotation() -> None:
    commands = {x["name"]: x for x in load_project_config(ROOT)["commands"]}
    *_, tune = commands["tune-transformer"]["script"]
    [distil] = commands["distil-transformer"]["script"]
    assert "--corpora.train.limit 200" in tune
    assert "--docs 200" in distil
    [annotated] = set(re.findall(r"\S*train\.spacy", f"{tune} {distil}"))
    assert annotated == "corpus/ewt/en_ewt-ud-train.spacy"


@pytest.mark.parametrize("name", ["grid", "ingredients", "tuning", "tuning_stock"])
def test_plans_take_what_the_workflows_make(name: str) -> None:
    plan = read_project_plan(name)
    commands = load_project_config(ROOT)["commands"]
    made = {path for command in commands for path in command.get("outputs", [])}
    paths = {plan.train, plan.dev, plan.test, plan.notes}
    for variant, amount, seed in plan.trials():
        assert (ROOT / (variant.config or plan.config)).is_file()
        paths |= {variant.train, variant.weights(seed, amount.docs)}
    files = [path for path in paths if path]
    assert [x for x in files if made.isdisjoint(map(str, [x, *x.parents]))] == []


def test_every_command_is_complete() -> None:
    project = load_project_config(ROOT)
    workflows, commands = project["workflows"], project["commands"]
    for command in commands:
        assert command["help"]
        # Those that run a workflow leave it to its steps what is done again.
        runs = re.findall(r"project run (\w+)", " ".join(command["script"]))
        assert set(runs) <= set(workflows)
        assert runs or (command["deps"] and command["outputs"])
        paths = [*command.get("deps", []), *command.get("outputs", [])]
        # Two variables side by side in a list come out as one string.
        assert not [path for path in paths if "," in path]
        words = re.findall(r"(?:scripts|configs)/[\w.]+", " ".join(command["script"]))
        assert words == [word for word in words if (ROOT / word).exists()]
    names = [command["name"] for command in commands]
    assert len(set(names)) == len(names)
    assert {"all", "smoke", "english", "grid", "transformer"} < set(workflows)
    assert set().union(*workflows.values()) == set(names)


@pytest.mark.parametrize("dataset", ["portuguese", "smoke", "english"])
def test_commands_of_a_dataset_have_names_of_their_own(dataset: str) -> None:
    # project.lock has one entry for each name.
    project = load_project_config(ROOT, overrides={"vars.dataset": dataset})
    names = [command["name"] for command in project["commands"]]
    assert len(set(names)) == len(names)
    assert project["workflows"]["compared"] == [
        f"compare-{dataset}",
        f"package-{dataset}",
    ]


def test_assets_are_the_ones_described() -> None:
    text = (ROOT / "assets" / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (sample\.\w+) \|.*\| ([0-9a-f]{64}) \|$", text, re.M))
    files = {path.name for path in (ROOT / "assets").glob("sample.*")}
    assert set(rows) == files
    for name, digest in rows.items():
        assert (
            hashlib.sha256((ROOT / "assets" / name).read_bytes()).hexdigest() == digest
        )
    packages = set(re.findall(r"\| ([\w-]+ [\d.]+) \(PyPI\)", text))
    pinned = [
        line.split()
        for path in (ROOT / "assets").glob("*.txt")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "==" in line
    ]
    assert {name.replace("==", " ") for name, _ in pinned} == packages
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", x) for _, x in pinned)


@pytest.mark.slow
def test_smoke_workflow_from_start_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fewer training steps; .ci/run runs the workflow as it is, with its package."""
    for name in ("configs", "assets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    commands = {x["name"]: x for x in load_project_config(ROOT)["commands"]}
    words = shlex.split(commands["sample"]["script"][0])
    options = dict(zip(words[7::2], words[8::2], strict=True))
    overrides = {name.removeprefix("--"): value for name, value in options.items()}
    overrides |= {"vars.run.seeds": 1, "vars.run.steps": 4, "vars.run.eval": 2}
    for step in ("corpus", "learn", "teach", "compare"):
        run_step(f"{step}-smoke", overrides)
    folder = tmp_path / "training/smoke"
    # spaCy says nothing where it leaves pretrained weights alone.
    ours, unpretrained = (
        (folder / f"models/{name}-all-0/tok2vec/model").read_bytes()
        for name in ("ours", "unpretrained")
    )
    assert ours != unpretrained
    report = srsly.read_json(folder / "report.json")
    assert {row["name"] for row in report["contributions"]} == {
        "n-grams",
        "vectors",
        "pretraining",
    }
    names = {"stock", "ngrams", "unpretrained", "ours"}
    assert set(report["words_per_second"]) == names
    assert "raw text, documents: " in (folder / "report.html").read_text()
    assert (folder / "best/meta.json").is_file()
