"""Draws the report's picture: accuracy against speed, and the learning curves."""

import itertools
from pathlib import Path
from typing import Any

MARKERS = "os^Dvp"
COLORS = ("tab:gray", "tab:blue", "tab:green", "tab:purple", "tab:olive", "tab:cyan")
LAST_COLOR = "tab:orange"


def draw(
    data: dict[str, Any],
    curves: dict[str, list[tuple[int, float]]],
    recipes: list[str],
    metric: str,
    target: Path,
) -> None:
    """Draw test accuracy against words/s (left), dev score against steps (right).

    The last of the recipes is the one to judge, and has a color of its own.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    color = dict(zip(recipes, itertools.cycle(COLORS), strict=False))
    color[recipes[-1]] = LAST_COLOR
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.8))
    draw_tradeoff(left, data, metric, color)
    for name, points in curves.items():
        recipe, _, seed = name.rpartition("-")
        if recipe not in color:
            continue
        style, label = ("-", recipe) if seed == "0" else ("--", None)
        # Step 0 is an untrained model: drawn, it would flatten all the rest.
        steps, scores = zip(*points[1:], strict=True)
        right.plot(steps, scores, style, color=color[recipe], label=label)
    right.set(
        xlabel="training step",
        ylabel="dev score",
        title="learning curves, seed 0 solid",
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    figure.tight_layout()
    figure.savefig(target, dpi=120)
    pyplot.close(figure)


def draw_tradeoff(
    axes: Any, data: dict[str, Any], metric: str, color: dict[str, str]
) -> None:
    """Draw one point for each run and test file; bars show the range of speeds."""
    treebanks = sorted(data["runs"][0]["scores"]["test"])
    for run in data["runs"]:
        speed = data["speed"][run["recipe"]]
        low = speed["median"] - speed["lowest"]
        high = speed["highest"] - speed["median"]
        for place, treebank in enumerate(treebanks):
            axes.errorbar(
                speed["median"],
                run["scores"]["test"][treebank][metric],
                xerr=[[low], [high]],
                fmt=MARKERS[place % len(MARKERS)],
                color=color[run["recipe"]],
                label=f"{run['recipe']}, {treebank}" if run["seed"] == 0 else None,
            )
    axes.set(xlabel="words per second", ylabel=f"test {metric}, percent")
    axes.set_title("accuracy and speed")
