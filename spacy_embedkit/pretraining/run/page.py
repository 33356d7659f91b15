"""A picture of the losses, and one page about a run that needs no other file."""

from html import escape
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence

from ...checks import import_extra
from ..html import html_page, html_row, svg_element
from .log import short
from .outputs import BEST, CONFIG, LAST

if TYPE_CHECKING:
    from .loop import Run

Row = Dict[str, Any]
KINDS = ("train_loss", "held_out_loss")
ENDS = {
    "epochs": "All epochs are done.",
    "patience": "Ended because the held-out loss no longer fell.",
    "time": "Ended because the time was up; --resume with more minutes goes on.",
    "signal": "Was stopped; --resume goes on.",
}


def picture(rows: Sequence[Row]) -> str:
    """Return the losses by words as an SVG element.

    Raises: ImportError naming the extra if matplotlib is missing.
    """
    figure = import_extra("matplotlib.figure", "project").Figure(
        figsize=(7, 4), layout="constrained"
    )
    axes = figure.subplots()
    words = [row["words"] for row in rows]
    for kind, style in zip(KINDS, ("--", "-"), strict=True):
        for name in _heads(rows, kind):
            losses = [row[kind].get(name) for row in rows]
            label = f"{name}, {_said(kind)}".replace("$", r"\$")
            axes.plot(words, losses, style, label=label)
    best = [row for row in rows if row["is_best"]]
    if best:
        axes.axvline(best[-1]["words"], color="0.7", zorder=0, label="best")
    axes.set_xlabel("words")
    axes.set_ylabel("loss per token")
    if rows:
        axes.legend()
    return svg_element(figure)


def report(run: "Run", reason: str, svg: Optional[str]) -> str:
    """Return the page about a run, as HTML.

    reason: Why it ended.
    svg: A picture of the losses, which is put in as it is.
    """
    progress, corpus = run.progress, run.corpus
    best = "none: no part of the corpus is held out"
    if progress.best is not None:
        best = f"{short(progress.best)} after {progress.best_words:,} words ({BEST})"
    found = corpus.summary
    facts = {
        "End": ENDS[reason],
        "Documents": f"{found.n_docs:,}, and {found.n_empty:,} empty ones",
        "Words": f"{found.n_words:,}; the longest document has {found.longest:,}",
        "Held out": f"{len(corpus.held_out):,} documents with "
        f"{sum(map(len, corpus.held_out)):,} words",
        "Learned from": f"{progress.words:,} words in {progress.step:,} updates",
        "Minutes": f"{run.seconds / 60:.1f}",
        "Best held-out loss": best,
    }
    name = BEST if progress.best is not None else LAST
    command = (
        f"python -m spacy train {run.outputs.folder / CONFIG} --output FOLDER "
        f"--initialize.init_tok2vec {run.outputs.folder / name}"
    )
    parts = [
        _pairs(facts),
        svg or "",
        "<h2>Use it</h2>",
        "<p>With a config that has the same tok2vec and this [pretraining] block:</p>",
        f"<pre>{escape(command)}</pre>",
        "<h2>Evaluations</h2><p>Losses are means over the predicted tokens.</p>",
        _evaluations(progress.rows),
        "<h2>Settings</h2>",
        _pairs(run.parts.settings.model_dump()),
        f"<pre>{escape(run.parts.config.to_str())}</pre>",
    ]
    return html_page("Pretraining", parts)


def _evaluations(rows: Sequence[Row]) -> str:
    columns = [(kind, name) for kind in KINDS for name in _heads(rows, kind)]
    header = ["words", "epoch", "minutes", "words/s", "learn rate"]
    header += [f"{name}, {_said(kind)}" for kind, name in columns]
    lines = [html_row("th", header)]
    best = max((i for i, row in enumerate(rows) if row["is_best"]), default=None)
    for i, row in enumerate(rows):
        cells = [
            f"{row['words']:,}",
            str(row["epoch"]),
            f"{row['minutes']:.1f}",
            f"{row['words_per_second']:,}",
            short(row["learn_rate"]),
            *(short(row[kind].get(name)) for kind, name in columns),
        ]
        lines.append(html_row("td", cells, "best" if i == best else ""))
    return f"<table>{''.join(lines)}</table>"


def _pairs(values: Mapping[str, object]) -> str:
    lines = [html_row("td", [name, str(value)]) for name, value in values.items()]
    return f"<table>{''.join(lines)}</table>"


def _heads(rows: Sequence[Row], kind: str) -> List[str]:
    return list(dict.fromkeys(name for row in rows for name in row[kind]))


def _said(kind: str) -> str:
    return kind.removesuffix("_loss").replace("_", " ")
