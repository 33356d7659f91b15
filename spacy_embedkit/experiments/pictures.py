"""Pictures of a comparison, as SVG; none without matplotlib."""

import statistics
from functools import partial
from typing import Any, Callable, List

from markupsafe import Markup

from ..templates import svg_element
from .comparison import Comparisons
from .results import Outcome


def draw_pictures(found: Comparisons, outcome: Outcome) -> List[Markup]:
    """Return the pictures that the results allow; none without matplotlib.

    By amount of annotation, if there are several: one for each score to report first.
    Accuracy against speed, if that was measured, and the learning curves.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    draws: List[Callable[[Any], None]] = []
    metrics = found.headline()
    for split, name in found.tables():
        if split == found.plan.judge[0] and len(found.plan.amounts) > 1:
            for metric in metrics:
                draws.append(partial(_amounts, found, name, metric))
    if outcome.speeds and metrics:
        draws.append(partial(_tradeoff, found, outcome, metrics[0]))
    if any(result["curve"] for result in outcome.results.values()):
        draws.append(partial(_curves, found))
    pictures = []
    for i, draw in enumerate(draws):
        figure = Figure(figsize=(8, 4))
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        figure.tight_layout()
        pictures.append(Markup(svg_element(figure, f"picture{i}-")))
    return pictures


def _amounts(found: Comparisons, set_name: str, metric: str, axes: Any) -> None:
    """Draw a score by amount of annotation; bars reach from worst to best seed."""
    split, _ = found.plan.judge
    rows = [
        row
        for row in found.with_baseline()
        if (row.split, row.set_name, row.metric) == (split, set_name, metric)
    ]
    places = [str(amount.docs) for amount in found.plan.amounts]
    variants = found.plan.variants
    for i, variant in enumerate(variants):
        points = [row for row in rows if row.variant == variant.name]
        shift = 0.3 * (i / max(1, len(variants) - 1) - 0.5)
        axes.errorbar(
            [places.index(str(row.docs)) + shift for row in points],
            [row.mean for row in points],
            yerr=[
                [row.mean - min(row.values.values()) for row in points],
                [max(row.values.values()) - row.mean for row in points],
            ],
            fmt="o-",
            capsize=3,
            label=variant.name,
        )
    axes.set_xticks(range(len(places)), places)
    axes.set(xlabel="training docs", ylabel=f"{set_name}: {metric}, percent")


def _tradeoff(found: Comparisons, outcome: Outcome, metric: str, axes: Any) -> None:
    """Draw a point for each seed and set of docs; bars show the range of speeds."""
    judge, _ = found.plan.judge
    sets = [name for split, name in found.tables() if split == judge]
    docs = found.last_amount()
    for i, (variant, speeds) in enumerate(outcome.speeds.items()):
        median = statistics.median(speeds)
        for place, name in enumerate(sets):
            values = found.values(variant, docs, judge, name, metric).values()
            axes.errorbar(
                [median] * len(values),
                list(values),
                xerr=[
                    [median - min(speeds)] * len(values),
                    [max(speeds) - median] * len(values),
                ],
                fmt="os^Dvp"[place % 6],
                color=f"C{i % 10}",
                label=f"{variant}, {name}",
            )
    axes.set(xlabel="words per second", ylabel=f"{judge} {metric}, percent")


def _curves(found: Comparisons, axes: Any) -> None:
    """Draw the dev score by training step; the first seed of a variant is solid."""
    docs = found.last_amount()
    for i, variant in enumerate(found.plan.variants):
        results = [
            result
            for result in found.results.values()
            if (result["variant"], result["docs"]) == (variant.name, docs)
            # A finished pipeline has none.
            and result["curve"]
        ]
        for n, result in enumerate(results):
            # Step 0 is an untrained model: drawn, it would flatten all the rest.
            points = result["curve"][1:]
            axes.plot(
                [step for step, _ in points],
                [score for _, score in points],
                "--" if n else "-",
                color=f"C{i % 10}",
                label=None if n else variant.name,
            )
    axes.set(xlabel="training step", ylabel="dev score, percent")
