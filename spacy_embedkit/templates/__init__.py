"""Reports from the Jinja templates of this folder: pages that need no other file."""

import io
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("spacy_embedkit", "templates"),
    # Markdown is not HTML.
    autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)


def render(template: str, **values: Any) -> str:
    """Return a page.

    template: Name of a file in this folder, such as "pretraining.html.jinja".
    values: Variables of the template. In HTML text is escaped, `markupsafe.Markup` is
        not.
    """
    return _ENVIRONMENT.get_template(template).render(values)


def svg_element(figure: Any, prefix: str = "") -> str:
    """Return a matplotlib figure as an SVG element.

    prefix: Put before the names of its parts, which two pictures of one page must not
        share.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    return svg[svg.index("<svg") :]
