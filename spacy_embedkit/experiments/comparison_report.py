"""The report of a comparison: JSON, Markdown and one HTML page."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, List, Sequence

from ..io import write_atomic
from ..templates import render
from .comparison import Comparison, Comparisons
from .pictures import draw_pictures
from .plan import ALL, Docs, Plan
from .processes import REPORT
from .results import Outcome

MARKDOWN, HTML = "report.md", "report.html"
TITLE = "Comparison of trainings"
PHRASES = {
    "better": "is better in every seed than any seed of",
    "worse": "is worse in every seed than any seed of",
    "within seed spread": "differs no more than seeds do from",
    "too few seeds": "had too few seeds to judge, against",
}

HEADER = ["score", "variant", "mean", "worst to best seed", "spread", "to baseline"]
HEADER += ["errors removed", "seeds won", "it is", "seeds"]


@dataclass
class ReportTable:
    """A table of texts; marked has the rows of what got worse."""

    title: str
    header: List[str]
    rows: List[List[str]] = field(default_factory=list)
    marked: List[int] = field(default_factory=list)

    def add(self, row: Comparison, cells: List[str]) -> None:
        """Add a comparison."""
        if row.verdict == "worse":
            self.marked.append(len(self.rows))
            cells = ["**worse**" if cell == "worse" else cell for cell in cells]
        self.rows.append(cells)


def write_report(plan: Plan, outcome: Outcome, out: Path) -> str:
    """Write report.md, report.html and report.json; return what to print."""
    out.mkdir(parents=True, exist_ok=True)
    found = Comparisons(plan, outcome.results)
    brought = found.contributions()
    text = {
        "title": TITLE,
        "remarks": remarks(plan, outcome),
        "conclusions": conclude(found, outcome),
        "tables": [
            *contribution_tables(found),
            *score_tables(found, found.headline()),
            *cost_tables(plan, outcome),
        ],
    }
    headline = found.headline()
    others = [name for name in found.metrics() if name not in headline]
    more = {
        "others": list(score_tables(found, others)),
        "notes": plan.notes.read_text(encoding="utf8") if plan.notes else "",
    }
    page = render(
        "comparison.html.jinja",
        **text,
        **more,
        pictures=draw_pictures(found, outcome),
    )
    data = {
        "baseline": plan.baseline,
        "conclusions": text["conclusions"],
        "comparisons": [row.facts() for row in found.with_baseline()],
        "contributions": [
            {"name": name, **row.facts()}
            for name, rows in brought.items()
            for row in rows
        ],
        "words_per_second": outcome.speeds,
        "failed": outcome.failed,
        "not_done": outcome.left,
    }
    write_atomic(out / REPORT, json.dumps(data, indent=1).encode())
    markdown = render("comparison.md.jinja", **text, **more)
    write_atomic(out / MARKDOWN, markdown.encode())
    write_atomic(out / HTML, page.encode())
    return render("comparison.md.jinja", **text, others=[], notes="")


def score_tables(found: Comparisons, metrics: Sequence[str]) -> Iterator[ReportTable]:
    """Yield a table of each set of docs and amount of annotation."""
    tables: dict[str, ReportTable] = {}
    for row in found.with_baseline():
        if row.metric in metrics:
            title = f"{row.split.title()} {row.set_name}, {amount_name(row.docs)}"
            table = tables.setdefault(title, ReportTable(title, HEADER))
            table.add(
                row,
                [
                    row.metric,
                    row.variant,
                    f"{row.mean:.2f}",
                    f"{min(row.values.values()):.2f} to {max(row.values.values()):.2f}",
                    "" if row.spread is None else f"{row.spread:.2f}",
                    "" if row.difference is None else f"{row.difference:+.2f}",
                    "" if row.errors_removed is None else f"{row.errors_removed:.1f}%",
                    f"{row.won} of {len(row.seeds)}" if row.seeds else "",
                    row.verdict,
                    f"{len(row.values)} of {row.n_planned}",
                ],
            )
    yield from tables.values()


def contribution_tables(found: Comparisons) -> Iterator[ReportTable]:
    """Yield a table of what each ingredient brought, with all scores."""
    kind = f"{found.plan.judge[0]} set"
    header = ["score", kind, "docs", "without", "with", "difference"]
    for name, rows in found.contributions().items():
        table = ReportTable(
            f"What {name} brought", [*header, "seeds won", "with it is"]
        )
        for row in rows:
            table.add(
                row,
                [
                    row.metric,
                    row.set_name,
                    str(row.docs),
                    f"{statistics.mean(row.base_values.values()):.2f}",
                    f"{row.mean:.2f}",
                    f"{row.difference:+.2f}",
                    f"{row.won} of {len(row.seeds)}",
                    row.verdict,
                ],
            )
        if rows:
            yield table


def cost_tables(plan: Plan, outcome: Outcome) -> Iterator[ReportTable]:
    """Yield the table of words/s, size, training steps and seconds."""
    header = ["variant", "docs", "words/s, median", "lowest to highest", "MB on disk"]
    table = ReportTable("Cost", [*header, "steps", "training seconds by seed"])
    for variant in plan.variants:
        for amount in plan.amounts:
            results = [
                result
                for result in outcome.results.values()
                if (result["variant"], result["docs"]) == (variant.name, amount.docs)
            ]
            speeds = outcome.speeds.get(variant.name, [])
            if results:
                table.rows.append(
                    [
                        variant.name,
                        str(amount.docs),
                        f"{statistics.median(speeds):.0f}" if speeds else "",
                        f"{min(speeds):.0f} to {max(speeds):.0f}" if speeds else "",
                        f"{statistics.mean(r['bytes'] for r in results) / 1e6:.1f}",
                        str(results[0]["steps"]),
                        " ".join(f"{r['seconds_of_training']:.0f}" for r in results),
                    ]
                )
    if table.rows:
        yield table


def amount_name(docs: Docs) -> str:
    """Return how many training docs there were, in words."""
    return "all training docs" if docs == ALL else f"{docs} training docs"


def conclude(found: Comparisons, outcome: Outcome) -> List[str]:
    """Say in sentences what the scores and the speeds show, from them alone."""
    plan, lines = found.plan, []
    split = plan.judge[0]
    pairs = {f"What {name} brought": r for name, r in found.contributions().items()}
    if plan.best and plan.best != plan.baseline:
        rows = list(found.compare(plan.best, plan.baseline))
        pairs = {"In all": [row for row in rows if row.split == split], **pairs}
    for name, rows in pairs.items():
        said = [*_verdicts(rows, found.headline(), len(plan.amounts) > 1)]
        if said:
            lines.append(f"{name}, on {split}: {'; '.join(said)}.")
    speeds = {name: statistics.median(v) for name, v in outcome.speeds.items()}
    others = {plan.baseline, *(v.name for v in plan.variants if v.pipeline)}
    if plan.best in speeds:
        lines += [
            f"{plan.best} handles {speeds[plan.best] / speed:.2f} times the words per "
            f"second of {name}."
            for name, speed in speeds.items()
            if name in others - {plan.best}
        ]
    return [*lines, *_lacking(found)]


def _verdicts(
    rows: Sequence[Comparison], headline: Sequence[str], by_amount: bool
) -> Iterator[str]:
    """Yield each verdict with the scores that have it; all that are worse."""
    for verdict, phrase in PHRASES.items():
        found = [
            f"{row.set_name} {row.metric} {row.difference:+.2f}"
            f"{f' ({row.docs} docs)' if by_amount else ''}"
            for row in rows
            if row.verdict == verdict and (row.metric in headline or verdict == "worse")
        ]
        if found:
            yield f"{rows[0].variant} {phrase} {rows[0].base}: {', '.join(found)}"


def _lacking(found: Comparisons) -> Iterator[str]:
    """Say which scores to report a set has no annotation for."""
    rows = found.with_baseline()
    for split, name in found.tables():
        there = {r.metric for r in rows if (r.split, r.set_name) == (split, name)}
        lacking = [metric for metric in found.headline() if metric not in there]
        if split == found.plan.judge[0] and lacking:
            yield f"{name} has no annotation for {', '.join(lacking)}."


def remarks(plan: Plan, outcome: Outcome) -> List[str]:
    """Say how the figures were made, and what is missing."""
    results = outcome.results
    scored = ", and was scored on test once" if plan.test else ""
    hours = sum(result["seconds"] for result in results.values()) / 3600
    lines = [
        f"{len(results)} of {len(list(plan.trials()))} trials of {plan.config} are "
        f"done, in {hours:.2f} hours of training and scoring. Each is the checkpoint "
        f"that is best on dev{scored}. Figures are percent.",
        f"The baseline is {plan.baseline}. Errors removed: the difference over 100 "
        "less the baseline, on the seeds that both have. Spread: standard deviation. "
        "Better, worse: in every seed than in any of the baseline.",
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
