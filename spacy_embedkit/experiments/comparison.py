"""What a grid found: tables and pictures of each weights against the baseline."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..io import write_atomic
from .engine import Outcome
from .plan import Docs, Grid

Results = Mapping[str, Mapping[str, Any]]
JSON, MARKDOWN, HTML = "report.json", "report.md", "report.html"


@dataclass(frozen=True)
class Row:
    """A metric of one weights at one amount of annotation, in percent.

    test: Mean over the seeds; low, high: the worst and the best of them; spread: their
        standard deviation, None for one seed.
    difference: Mean over the seeds that the baseline has too, of this less baseline.
    errors_removed: Percent of the baseline's errors; below 0 if there are more.
    won: Seeds that are better than the baseline with the same seed, of `compared`.
    n_seeds, n_planned: Seeds that are there, and that the grid has.
    """

    docs: Docs
    metric: str
    weights: str
    test: float
    low: float
    high: float
    spread: Optional[float]
    dev: float
    difference: Optional[float]
    errors_removed: Optional[float]
    won: int
    compared: int
    n_seeds: int
    n_planned: int


def metrics_of(results: Results) -> List[str]:
    """Return the scores that the configs weigh and that all runs have."""
    names: Dict[str, None] = {}
    for result in results.values():
        names.update(dict.fromkeys(result["metrics"]))
    return [
        name
        for name in names
        if all(name in r["test"] and name in r["dev"] for r in results.values())
    ]


def make_rows(grid: Grid, results: Results) -> List[Row]:
    """Compare, by amount, metric and weights in the order of the grid."""
    rows = []
    for amount in grid.amounts:
        for metric in metrics_of(results):
            for weights in grid.weights:
                row = _make_row(grid, results, amount.docs, metric, weights.name)
                if row is not None:
                    rows.append(row)
    return rows


def _make_row(
    grid: Grid, results: Results, docs: Docs, metric: str, weights: str
) -> Optional[Row]:
    planned = [
        cell
        for cell in grid.cells()
        if cell.weights.name == weights and cell.amount.docs == docs
    ]
    test: Dict[int, float] = {}
    dev, base = [], {}
    for cell in planned:
        found = results.get(cell.name)
        if found is not None:
            test[cell.seed] = 100 * found["test"][metric]
            dev.append(100 * found["dev"][metric])
        other = results.get(f"{grid.baseline}-{docs}-{cell.seed}")
        if other is not None:
            base[cell.seed] = 100 * other["test"][metric]
    if not test:
        return None
    values = list(test.values())
    seeds = [] if weights == grid.baseline else [s for s in test if s in base]
    difference = errors = None
    if seeds:
        difference = statistics.mean(test[s] - base[s] for s in seeds)
        wrong = 100 - statistics.mean(base[s] for s in seeds)
        errors = 100 * difference / wrong if wrong > 0 else None
    return Row(
        docs=docs,
        metric=metric,
        weights=weights,
        test=statistics.mean(values),
        low=min(values),
        high=max(values),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        dev=statistics.mean(dev),
        difference=difference,
        errors_removed=errors,
        won=sum(test[s] > base[s] for s in seeds),
        compared=len(seeds),
        n_seeds=len(values),
        n_planned=len(planned),
    )


HEADER = (
    "weights",
    "test, mean",
    "worst to best seed",
    "spread",
    "to baseline",
    "errors removed",
    "seeds won",
    "dev, mean",
    "seeds",
)


def cells_of(row: Row) -> List[str]:
    """Return a row as texts, in the order of HEADER."""
    return [
        row.weights,
        f"{row.test:.2f}",
        f"{row.low:.2f} to {row.high:.2f}",
        "" if row.spread is None else f"{row.spread:.2f}",
        "" if row.difference is None else f"{row.difference:+.2f}",
        "" if row.errors_removed is None else f"{row.errors_removed:.1f}%",
        f"{row.won} of {row.compared}" if row.compared else "",
        f"{row.dev:.2f}",
        f"{row.n_seeds} of {row.n_planned}",
    ]


def remarks(grid: Grid, outcome: Outcome) -> List[str]:
    """Say how the figures were made, and what is missing."""
    results = outcome.results
    planned = len(list(grid.cells()))
    lines = [
        f"{len(results)} of {planned} runs of {grid.config} are done, in "
        f"{sum(r['seconds'] for r in results.values()) / 3600:.2f} hours of training "
        "and scoring. Each is the checkpoint that is best on dev, and was scored on "
        "test once. Figures are percent.",
        f"The baseline is {grid.baseline}. Errors removed: the difference over 100 "
        "less the baseline, on the seeds that both have. Spread: standard deviation.",
    ]
    if outcome.failed:
        reasons = "; ".join(f"{n} ({why})" for n, why in outcome.failed.items())
        lines.append(f"Failed: {reasons}.")
    if outcome.left:
        lines.append(f"Not done: {', '.join(outcome.left)}.")
    versions = {json.dumps(r["versions"], sort_keys=True) for r in results.values()}
    for text in sorted(versions):
        parts = (f"{name} {number}" for name, number in json.loads(text).items())
        lines.append(f"Made with {', '.join(parts)}.")
    return lines


def title_of(docs: Docs, metric: str) -> str:
    """Return the title of a table."""
    amount = "All training docs" if docs == "all" else f"{docs} training docs"
    return f"{amount}: {metric}"


def grouped(rows: Sequence[Row]) -> Dict[str, List[Row]]:
    """Return the rows of each table by its title."""
    tables: Dict[str, List[Row]] = {}
    for row in rows:
        tables.setdefault(title_of(row.docs, row.metric), []).append(row)
    return tables


def markdown(rows: Sequence[Row], lines: Sequence[str]) -> str:
    """Return the report as Markdown."""
    parts = ["# What pretraining is worth", *lines]
    for title, table in grouped(rows).items():
        body = [HEADER, ["---"] * len(HEADER), *map(cells_of, table)]
        parts.append(f"## {title}")
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in body))
    return "\n\n".join(parts) + "\n"


def write_report(grid: Grid, outcome: Outcome, out: Path) -> str:
    """Write report.md, report.html and report.json; return the first as text."""
    from .report_page import report_page

    out.mkdir(parents=True, exist_ok=True)
    rows = make_rows(grid, outcome.results)
    lines = remarks(grid, outcome)
    text = markdown(rows, lines)
    data = {
        "baseline": grid.baseline,
        "rows": [asdict(row) for row in rows],
        "failed": outcome.failed,
        "not_done": outcome.left,
    }
    write_atomic(out / JSON, json.dumps(data, indent=1).encode())
    write_atomic(out / MARKDOWN, text.encode())
    write_atomic(out / HTML, report_page(grid, rows, lines).encode())
    return text
