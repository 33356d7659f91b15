"""The report's tables: rows that compare two recipes, and how they are written."""

import statistics
from dataclasses import dataclass
from typing import Any

TITLES = {
    "tag_acc": "tags",
    "pos_acc": "parts of speech",
    "morph_acc": "morphology",
    "sents_f": "sentences F",
    "dep_uas": "UAS",
    "dep_las": "LAS",
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
    """Line up the scores of two recipes by file and metric, seeds in order."""
    runs = sorted(runs, key=lambda run: int(run["seed"]))
    rows = []
    for split, treebanks in runs[0]["scores"].items():
        for treebank, metrics in treebanks.items():
            for metric in metrics:
                values: dict[str, list[float]] = {base: [], new: []}
                for run in runs:
                    if run["recipe"] in values:
                        value = run["scores"][split][treebank][metric]
                        values[run["recipe"]].append(value)
                rows.append(Row(split, treebank, metric, values[base], values[new]))
    return rows


def spread(values: list[float]) -> str:
    """Write a mean and, behind it, each seed's value."""
    seeds = " ".join(f"{value:.2f}" for value in values)
    return f"{statistics.mean(values):.2f} ({seeds})"


def row_cells(rows: list[Row], split: str) -> list[list[str]]:
    """Write the rows of one split: both means with their seeds, and the verdict."""
    table = []
    for row in rows:
        if row.split == split:
            cells = [row.treebank, TITLES[row.metric], spread(row.base)]
            won = f"{row.seeds_won} of {len(row.new)}"
            cells += [spread(row.new), f"{row.difference:+.2f}", won, row.verdict]
            table.append(cells)
    return table


def metric_table(rows: list[Row], split: str, base: str, new: str) -> list[list[str]]:
    """Make the table of one split, with a heading row."""
    heading = ["treebank", "metric", base, new, "difference", "seeds won", f"{new} is"]
    return [heading, *row_cells(rows, split)]


def ingredient_table(found: dict[str, list[Row]]) -> list[list[str]]:
    """Make the table of what each ingredient brought on test, with a heading row."""
    heading = ["ingredient", "treebank", "metric", "without", "with", "difference"]
    table = [[*heading, "seeds won", "with it is"]]
    for name, rows in found.items():
        table += [[name, *cells] for cells in row_cells(rows, "test")]
    return table


def cost_table(data: dict[str, Any], names: list[str]) -> list[list[str]]:
    """Make the table of words per second, size, training steps and seconds."""
    heading = ["recipe", "words/s, median", "lowest to highest", "MB on disk"]
    table = [[*heading, "steps", "training seconds"]]
    for name in names:
        speed = data["speed"][name]
        runs = [run for run in data["runs"] if run["recipe"] == name]
        table.append(
            [
                name,
                f"{speed['median']:.0f}",
                f"{speed['lowest']:.0f} to {speed['highest']:.0f}",
                f"{statistics.mean(run['bytes'] for run in runs) / 1e6:.1f}",
                f"{runs[0]['steps']}",
                " ".join(f"{run['seconds']:.0f}" for run in runs),
            ]
        )
    return table


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
