"""The report of a grid as one HTML page that needs nothing else."""

import io
import re
from html import escape
from typing import List, Optional, Sequence

from .plan import Grid
from .report import HEADER, Row, cells_of, grouped

STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse }
th, td { padding: .2em .8em; border-bottom: 1px solid #ccc; text-align: right }
th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto }
"""


def html_page(grid: Grid, rows: Sequence[Row], lines: Sequence[str]) -> str:
    """Return the tables, and a picture of each metric if matplotlib is there."""
    parts = [f"<p>{escape(line)}</p>" for line in lines]
    for metric in dict.fromkeys(row.metric for row in rows):
        picture = draw(grid, [row for row in rows if row.metric == metric])
        parts.append(picture or "<p>Install matplotlib for pictures.</p>")
    for title, table in grouped(rows).items():
        parts.append(f"<h2>{escape(title)}</h2>\n<table>")
        parts.append(_line("th", HEADER))
        parts += [_line("td", cells_of(row)) for row in table]
        parts.append("</table>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>What pretraining is worth</title><style>{STYLE}</style></head>\n"
        f"<body><h1>What pretraining is worth</h1>\n{body}\n</body></html>\n"
    )


def _line(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


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
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    prefix = f"{rows[0].metric}-"
    # Pictures of one page must not share the names of their parts.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    return svg[svg.index("<svg") :]
