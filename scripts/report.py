"""Compares the recipes: metrics.json, report.md, report.png and a table here."""

import json
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import EXTRA, ProjectError, parser_for, run_main, whole_output
from plot import draw
from tables import (
    TITLES,
    Row,
    as_markdown,
    as_text,
    cost_table,
    ingredient_table,
    make_rows,
    metric_table,
)

WORDS = {
    "better": "is better in every seed than any seed of",
    "worse": "is worse in every seed than any seed of",
    "within seed spread": "differs no more than seeds do from",
    "one seed each": "had one seed, too few to judge, against",
}


@dataclass(frozen=True)
class Ingredient:
    """Something that one recipe has and another, else the same, has not."""

    name: str
    new: str
    base: str


def read_ingredient(text: str) -> Ingredient:
    """Read an --ingredient option."""
    words = shlex.split(text)
    if len(words) != 3:
        raise ProjectError(
            f"--ingredient {text!r}: {len(words)} words, but 3 are needed; "
            "give NAME WITH WITHOUT, a name and two recipes"
        )
    return Ingredient(*words)


def order_recipes(
    runs: list[dict[str, Any]], base: str, new: str, ingredients: Sequence[Ingredient]
) -> list[str]:
    """List the recipes from base to new; refuse one that has no run."""
    steps = [name for item in ingredients for name in (item.base, item.new)]
    known = dict.fromkeys(run["recipe"] for run in runs)
    for name in (base, new, *steps):
        if name not in known:
            raise ProjectError(
                f"recipe {name!r} has no run, only {', '.join(known)} have; "
                "name one of them, or run the train and evaluate steps"
            )
    order = dict.fromkeys([base, *steps, *known])
    return [name for name in order if name != new] + [new]


def say_verdicts(rows: list[Row], base: str, new: str) -> list[str]:
    """Say of each verdict on test which scores have it, from the numbers alone."""
    said = []
    for verdict, words in WORDS.items():
        found = [
            f"{row.treebank} {TITLES[row.metric]} {row.difference:+.2f}"
            for row in rows
            if row.split == "test" and row.verdict == verdict
        ]
        if found:
            said.append(f"{new} {words} {base}: {', '.join(found)}")
    return said


def conclude(rows: list[Row], data: dict[str, Any], base: str, new: str) -> list[str]:
    """Say in sentences what the test scores and the speeds show."""
    lines = [
        f"On test, {said} (difference of the means in points)."
        for said in say_verdicts(rows, base, new)
    ]
    speeds = data["speed"]
    ratio = speeds[new]["median"] / speeds[base]["median"]
    lines.append(f"{new} handles {ratio:.2f} times the words per second of {base}.")
    test = [row for row in rows if row.split == "test"]
    with_heads = {row.treebank for row in test if row.metric == "dep_las"}
    without = sorted({row.treebank for row in test} - with_heads)
    if without:
        lines.append(
            f"UAS and LAS are not given for {', '.join(without)}: the file holds tags "
            "and features but no heads, so no parse of it can be scored. The parser "
            f"learns from, and is scored on, {', '.join(sorted(with_heads))} alone."
        )
    return lines


def write_report(data: dict[str, Any], curves: dict[str, Any], args: Namespace) -> str:
    """Write the report's files and return it as text."""
    base, new = args.base, args.new
    ingredients = [read_ingredient(text) for text in args.ingredient]
    names = order_recipes(data["runs"], base, new, ingredients)
    rows = make_rows(data["runs"], base, new)
    brought = {x.name: make_rows(data["runs"], x.base, x.new) for x in ingredients}
    lines = conclude(rows, data, base, new)
    for item in ingredients:
        said = "; ".join(say_verdicts(brought[item.name], item.base, item.new))
        lines.append(f"What {item.name} brought, on test: {said}.")
    tables = {
        "Test": metric_table(rows, "test", base, new),
        "What each ingredient brought": ingredient_table(brought),
        "Dev (chooses the checkpoint)": metric_table(rows, "dev", base, new),
        "Cost": cost_table(data, names),
    }
    if not ingredients:
        del tables["What each ingredient brought"]
    found = [
        {"ingredient": item.name, "with": item.new, "without": item.base}
        | as_facts(row)
        for item in ingredients
        for row in brought[item.name]
    ]
    results = {"comparison": [as_facts(row) for row in rows], "ingredients": found}
    with whole_output(args.folder / "report") as target:
        target.mkdir()
        draw(data, curves, names, args.metric, target / "report.png")
        text = as_page(tables, lines, args, data["runs"])
        (target / "report.md").write_text(text, encoding="utf-8")
        text = json.dumps(data | results | {"conclusion": lines}, indent=1)
        (target / "metrics.json").write_text(text + "\n", encoding="utf-8")
    shown = [f"{name}\n{as_text(table)}" for name, table in tables.items()]
    return "\n\n".join([*shown, *lines])


def as_facts(row: Row) -> dict[str, Any]:
    """Turn a row into what metrics.json holds of it."""
    return asdict(row) | {"difference": row.difference, "verdict": row.verdict}


def as_page(
    tables: dict[str, list[list[str]]],
    lines: list[str],
    args: Namespace,
    runs: list[dict[str, Any]],
) -> str:
    """Write the report in Markdown: conclusions, picture, tables, data."""
    steps = {run["steps"] for run in runs}
    said = "Equal steps for all." if len(steps) == 1 else "Steps are under Cost."
    parts = [
        f"# {args.folder.name}: {args.base} and {args.new}",
        "\n\n".join(lines),
        f"Percent; mean of the seeds, in brackets each seed. {said}",
        "![scores](report.png)",
    ]
    parts += [f"## {name}\n\n{as_markdown(table)}" for name, table in tables.items()]
    summary = (args.corpus / "summary.txt").read_text(encoding="utf-8")
    return "\n\n".join([*parts, f"## Data\n\n```\n{summary}```"]) + "\n"


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read step and dev score from the log of each run."""
    curves = {}
    for path in sorted((folder / "runs").glob("*/log.jsonl")):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        curves[path.parent.name] = [(row["step"], 100 * row["score"]) for row in rows]
    return curves


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="folder of runs/ and scores.json, and of report/")
    add("corpus", type=Path, help="folder of summary.txt")
    add("--base", default="stock", help="recipe to compare with")
    add("--new", default="ours", help="recipe to judge")
    add(
        "--ingredient",
        action="append",
        default=[],
        help="NAME WITH WITHOUT: what the recipe WITH it scores above WITHOUT",
    )
    add("--metric", default="tag_acc", help="metric of the left plot")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    try:
        import matplotlib  # noqa: F401
    except ImportError as err:
        raise ProjectError(f"the matplotlib package is missing; {EXTRA}") from err
    data = json.loads((args.folder / "scores.json").read_text(encoding="utf-8"))
    print(write_report(data, read_curves(args.folder), args))
    print(f"\n{args.folder}/report: report.md, report.png, metrics.json")


if __name__ == "__main__":
    run_main(main)
