"""Pages that need no other file, and pictures to put into them."""

import io
import re
from html import escape
from typing import Any, Iterable, Sequence

STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
tr.best { font-weight: bold }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto }
svg { max-width: 100%; height: auto }
"""


def html_page(title: str, parts: Sequence[str]) -> str:
    """Return a page with the title as its heading; parts are HTML."""
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def html_row(tag: str, cells: Iterable[str], name: str = "") -> str:
    """Return a row of a table; cells are text. tag: td or th. name: its class."""
    row = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f'<tr class="{name}">{row}</tr>' if name else f"<tr>{row}</tr>"


def svg_element(figure: Any, prefix: str = "") -> str:
    """Return a matplotlib figure as an SVG element.

    prefix: Put before the names of its parts, which pictures of a page must not share.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    return svg[svg.index("<svg") :]
