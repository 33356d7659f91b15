"""The report of a grid as one HTML page that needs nothing else."""

from html import escape
from typing import List, Optional, Sequence

from ..pretraining.html import html_page, html_row, svg_element
from .comparison import HEADER, Row, cells_of, grouped
from .plan import Grid


def report_page(grid: Grid, rows: Sequence[Row], lines: Sequence[str]) -> str:
    """Return the tables, and a picture of each metric if matplotlib is there."""
    parts = [f"<p>{escape(line)}</p>" for line in lines]
    for metric in dict.fromkeys(row.metric for row in rows):
        picture = draw(grid, [row for row in rows if row.metric == metric])
        parts.append(picture or "<p>Install matplotlib for pictures.</p>")
    for title, table in grouped(rows).items():
        parts.append(f"<h2>{escape(title)}</h2>\n<table>")
        parts.append(html_row("th", HEADER))
        parts += [html_row("td", cells_of(row)) for row in table]
        parts.append("</table>")
    return html_page("What pretraining is worth", parts)


def draw(grid: Grid, rows: Sequence[Row]) -> Optional[str]:
    """Draw a metric by amount of annotation, one line a weights, as an SVG element.

    Bars reach from the worst to the best seed. Returns None without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(8, 4))
    axes = figure.add_subplot()
    places = [str(amount.docs) for amount in grid.amounts]
    names: List[str] = list(dict.fromkeys(row.weights for row in rows))
    for i, name in enumerate(names):
        points = [row for row in rows if row.weights == name]
        shift = 0.3 * (i / max(1, len(names) - 1) - 0.5)
        axes.errorbar(
            [places.index(str(row.docs)) + shift for row in points],
            [row.test for row in points],
            yerr=[
                [row.test - row.low for row in points],
                [row.high - row.test for row in points],
            ],
            fmt="o-",
            capsize=3,
            label=name,
        )
    axes.set_xticks(range(len(places)), places)
    axes.set(xlabel="training docs", ylabel=f"test {rows[0].metric}, percent")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    return svg_element(figure, f"{rows[0].metric}-")
