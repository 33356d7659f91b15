"""Compares the recipes: metrics.json, report.md, report.png and a table here."""

import json
import statistics
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import EXTRA, ProjectError, parser_for, run_main, whole_output
from plot import draw

TITLES = {
    "tag_acc": "tags",
    "pos_acc": "parts of speech",
    "morph_acc": "morphology",
    "sents_f": "sentences F",
    "dep_uas": "UAS",
    "dep_las": "LAS",
}
WORDS = {
    "better": "is better in every seed than any seed of",
    "worse": "is worse in every seed than any seed of",
    "within seed spread": "differs no more than seeds do from",
    "one seed each": "had one seed, too few to judge, against",
}


@dataclass
class Row:
    """One metric on one file: the values of both recipes, seed by seed."""

    split: str
    treebank: str
    metric: str
    base: list[float]
    new: list[float]

    @property
    def difference(self) -> float:
        """Mean of the new recipe minus mean of the base."""
        return statistics.mean(self.new) - statistics.mean(self.base)

    @property
    def seeds_won(self) -> int:
        """Seeds with which the new recipe beats the base trained with the same."""
        return sum(new > base for base, new in zip(self.base, self.new, strict=False))

    @property
    def verdict(self) -> str:
        """Which is better, if its worst seed beats the other's best one."""
        if len(self.new + self.base) < 3:
            return "one seed each"
        if min(self.new) > max(self.base):
            return "better"
        return "worse" if max(self.new) < min(self.base) else "within seed spread"


def make_rows(runs: list[dict[str, Any]], base: str, new: str) -> list[Row]:
    """Line up the scores of the runs by file and metric, seeds in order."""
    runs = sorted(runs, key=lambda run: int(run["seed"]))
    rows = []
    for split, treebanks in runs[0]["scores"].items():
        for treebank, metrics in treebanks.items():
            for metric in metrics:
                values: dict[str, list[float]] = {base: [], new: []}
                for run in runs:
                    value = run["scores"][split][treebank][metric]
                    values[run["recipe"]].append(value)
                rows.append(Row(split, treebank, metric, values[base], values[new]))
    return rows


def spread(values: list[float]) -> str:
    """Write a mean and, behind it, each seed's value."""
    seeds = " ".join(f"{value:.2f}" for value in values)
    return f"{statistics.mean(values):.2f} ({seeds})"


def metric_table(rows: list[Row], split: str, base: str, new: str) -> list[list[str]]:
    """Make the table of one split, with a heading row."""
    table = [["treebank", "metric", base, new, "difference", "seeds won", f"{new} is"]]
    for row in rows:
        if row.split == split:
            cells = [row.treebank, TITLES[row.metric], spread(row.base)]
            won = f"{row.seeds_won} of {len(row.new)}"
            cells += [spread(row.new), f"{row.difference:+.2f}", won, row.verdict]
            table.append(cells)
    return table


def cost_table(data: dict[str, Any], names: list[str]) -> list[list[str]]:
    """Make the table of words per second and of training seconds."""
    table = [["recipe", "words/s, median", "lowest to highest", "training seconds"]]
    for name in names:
        speed = data["speed"][name]
        runs = [run for run in data["runs"] if run["recipe"] == name]
        table.append(
            [
                name,
                f"{speed['median']:.0f}",
                f"{speed['lowest']:.0f} to {speed['highest']:.0f}",
                " ".join(f"{run['seconds']:.0f}" for run in runs),
            ]
        )
    return table


def conclude(rows: list[Row], data: dict[str, Any], base: str, new: str) -> list[str]:
    """Say in sentences what the test scores show, from the numbers alone."""
    test = [row for row in rows if row.split == "test"]
    lines = []
    for verdict in WORDS:
        found = [
            f"{row.treebank} {TITLES[row.metric]} {row.difference:+.2f}"
            for row in test
            if row.verdict == verdict
        ]
        if found:
            said = f"{new} {WORDS[verdict]} {base}: {', '.join(found)}"
            lines.append(f"On test, {said} (difference of the means in points).")
    speeds = data["speed"]
    ratio = speeds[new]["median"] / speeds[base]["median"]
    lines.append(f"{new} handles {ratio:.2f} times the words per second of {base}.")
    with_heads = {row.treebank for row in test if row.metric == "dep_las"}
    without = sorted({row.treebank for row in test} - with_heads)
    if without:
        lines.append(
            f"UAS and LAS are not given for {', '.join(without)}: the file holds tags "
            "and features but no heads, so no parse of it can be scored. The parser "
            f"learns from, and is scored on, {', '.join(sorted(with_heads))} alone."
        )
    return lines


def as_markdown(table: list[list[str]]) -> str:
    """Write a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])


def as_text(table: list[list[str]]) -> str:
    """Write a table for the terminal, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )


def write_report(data: dict[str, Any], curves: dict[str, Any], args: Namespace) -> str:
    """Write the report's files and return it as text."""
    base, new = args.base, args.new
    rows = make_rows(data["runs"], base, new)
    tables = {
        "Test": metric_table(rows, "test", base, new),
        "Dev (chooses the checkpoint)": metric_table(rows, "dev", base, new),
        "Cost": cost_table(data, [base, new]),
    }
    lines = conclude(rows, data, base, new)
    seeds = len(rows[0].base)
    note = (
        f"Percent; mean of {seeds} seeds, in brackets each seed. Equal steps for all."
    )
    parts = [
        f"# {args.folder.name}: {base} and {new}",
        "\n\n".join(lines),
        note,
        "![scores](report.png)",
    ]
    parts += [f"## {name}\n\n{as_markdown(table)}" for name, table in tables.items()]
    summary = (args.corpus / "summary.txt").read_text(encoding="utf-8")
    parts += [f"## Data\n\n```\n{summary}```"]
    with whole_output(args.folder / "report") as target:
        target.mkdir()
        draw(data, curves, args.metric, target / "report.png")
        (target / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        metrics = [asdict(row) | {"difference": row.difference} for row in rows]
        text = json.dumps(data | {"comparison": metrics, "conclusion": lines}, indent=1)
        (target / "metrics.json").write_text(text + "\n", encoding="utf-8")
    shown = [f"{name}\n{as_text(table)}" for name, table in tables.items()]
    return "\n\n".join([*shown, *lines])


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
