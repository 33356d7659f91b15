"""The project's report: verdicts, what each ingredient brought, and the recipes."""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from spacy.util import load_config
from weasel.util.config import load_project_config

from .helpers.checkout import ROOT
from .helpers.project_scripts import assert_one_line_error, load_script, run_script

common = load_script("common")
tables = load_script("tables")
train_runs = load_script("train_runs")


def test_report_takes_its_verdict_from_the_numbers() -> None:
    row = tables.Row("test", "bank", "tag_acc", [90.0, 91.0], [92.0, 93.0])
    assert (row.verdict, row.difference, row.seeds_won) == ("better", 2.0, 2)
    assert tables.Row("", "", "", [92.0, 93.0], [90.0, 91.0]).verdict == "worse"
    assert tables.Row("", "", "", [90.0, 92.0], [91.0]).verdict == "within seed spread"
    assert tables.Row("", "", "", [90.0], [91.0]).verdict == "one seed each"


def make_scores(**tags: list[float]) -> dict[str, Any]:
    """Make what scores.json holds of recipes, from their tag scores seed by seed."""
    costs = {"seconds": 1.0, "steps": 9, "bytes": 2_000_000}
    runs = [
        {"recipe": name, "seed": seed, "scores": scores, **costs}
        for name, values in tags.items()
        for seed, value in enumerate(values)
        for scores in [{split: {"b": {"tag_acc": value}} for split in ("dev", "test")}]
    ]
    one = {"median": 1.0, "lowest": 1.0, "highest": 1.0}
    return {"runs": runs[::-1], "speed": dict.fromkeys(tags, one)}


def run_report(folder: Path, scores: dict[str, Any], *ingredients: str) -> Any:
    """Run the report step on made-up scores."""
    (folder / "scores.json").write_text(json.dumps(scores))
    (folder / "summary.txt").write_text("data\n")
    options = [word for text in ingredients for word in ("--ingredient", text)]
    return run_script("report.py", folder, folder, *options)


def test_report_says_what_each_ingredient_brought(tmp_path: Path) -> None:
    scores = make_scores(
        stock=[80.0, 81.0], other=[1.0, 2.0], plain=[90.0, 91.0], ours=[91.5, 90.5]
    )
    result = run_report(tmp_path, scores, "grams plain stock", "warmth ours plain")
    assert result.returncode == 0, result.stderr
    said = [
        "grams brought, on test: plain is better in every seed than any seed of stock: "
        "b tags +10.00.",
        "warmth brought, on test: ours differs no more than seeds do from plain: "
        "b tags +0.50.",
    ]
    assert [line in result.stdout for line in said] == [True, True]
    text = (tmp_path / "report" / "report.md").read_text()
    section = text.split("## What each ingredient brought")[1].split("## ")[0]
    assert re.findall(r"^\| (?:grams|warmth) .*$", section, re.M) == [
        "| grams | b | tags | 80.50 (80.00 81.00) | 90.50 (90.00 91.00) | +10.00 "
        "| 2 of 2 | better |",
        "| warmth | b | tags | 90.50 (90.00 91.00) | 91.00 (91.50 90.50) | +0.50 "
        "| 1 of 2 | within seed spread |",
    ]
    costs = re.findall(r"^\| (\w+) \| 1 \|", text.split("## Cost")[1], re.M)
    assert costs == ["stock", "plain", "other", "ours"]
    assert text.count("| 1 to 1 | 2.0 | 9 | 1 1 |") == 4
    assert "Equal steps for all." in text
    facts = json.loads((tmp_path / "report" / "metrics.json").read_text())
    names = ("ingredient", "with", "without", "split", "verdict")
    rows = [[row[name] for name in names] for row in facts["ingredients"]]
    assert rows[1] == ["grams", "plain", "stock", "test", "better"]


def test_report_needs_no_ingredients(tmp_path: Path) -> None:
    result = run_report(tmp_path, make_scores(stock=[80.0], ours=[90.0]))
    assert result.returncode == 0, result.stderr
    assert "ingredient" not in (tmp_path / "report" / "report.md").read_text()


def test_report_does_not_claim_equal_steps(tmp_path: Path) -> None:
    scores = make_scores(stock=[80.0], ours=[90.0])
    scores["runs"][0]["steps"] = 10
    run_report(tmp_path, scores)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Steps are under Cost." in text
    assert "Equal steps" not in text


@pytest.mark.parametrize(
    ("ingredient", "words"),
    [("grams ours", "2 words, but 3"), ("grams ours plain", "recipe 'plain' has no")],
)
def test_report_refuses_other_ingredients(
    tmp_path: Path, ingredient: str, words: str
) -> None:
    scores = make_scores(stock=[80.0], ours=[90.0])
    assert_one_line_error(run_report(tmp_path, scores, ingredient), words)
    assert not (tmp_path / "report").exists()


def test_recipes_of_one_name_are_refused() -> None:
    with pytest.raises(common.ProjectError, match="'a' is given twice"):
        train_runs.check_names(["a", "b", "a"])


@pytest.mark.parametrize("name", ["", "-smoke", "-english"])
def test_recipes_differ_by_the_ingredient_that_the_report_names(name: str) -> None:
    commands = {x["name"]: x for x in load_project_config(ROOT)["commands"]}
    train, said = (
        shlex.split(commands[step + name]["script"][0]) for step in ("train", "report")
    )
    recipes = [shlex.split(x) for y, x in pairwise(train) if y == "--recipe"]
    found = [x.split() for y, x in pairwise(said) if y == "--ingredient"]
    names, configs, options = zip(*[(x[0], x[1], x[2:]) for x in recipes], strict=True)
    ingredients = ("n-grams", "vectors", "pretraining")
    assert found == [
        [ingredient, new, base]
        for ingredient, (base, new) in zip(ingredients, pairwise(names), strict=True)
    ]
    assert (names[0], names[-1]) == ("stock", "ours")
    assert configs == ("configs/stock.cfg", *["configs/ours.cfg"] * 3)
    no_vectors = ["--components.tok2vec.model.embed.include_static_vectors", "false"]
    assert options[:2] == ([], no_vectors)
    assert (options[2][0], len(options[2])) == ("--paths.vectors", 2)
    assert options[3][:3] == [*options[2], "--paths.init_tok2vec"]


def test_recipe_without_vectors_has_the_inputs_of_stock_and_n_grams() -> None:
    stock, ours = (
        load_config(ROOT / "configs" / f"{x}.cfg")["components"]["tok2vec"]["model"]
        for x in ("stock", "ours")
    )
    for name, other in (("attrs", "attrs"), ("rows", "attr_rows")):
        assert stock["embed"][name] == ours["embed"][other]
