"""What a run shows: a table while it trains, and one page that needs no other file."""

from typing import Any, Callable, Dict, List, Optional, Sequence

from markupsafe import Markup
from tqdm import tqdm
from wasabi import row as table_row

from ...checks import import_extra
from ...templates import render, svg_element
from .run_folder import BEST, CONFIG, LAST, RunFolder
from .run_progress import RunProgress
from .run_settings import RunParts
from .training_data import TrainingData

Row = Dict[str, Any]
HEADER = ("words", "epoch", "minutes", "words/s", "train", "held out", "")
WIDTHS = (11, 6, 8, 8, 9, 9, 2)
KINDS = {"train_loss": "train", "held_out_loss": "held out"}
ENDS = {
    "epochs": "All epochs are done.",
    "patience": "Done: the held-out loss no longer falls.",
    "time": "Done: the time is up; --resume with more --max-minutes continues.",
    "signal": "Stopped; what was learned is kept, and --resume continues.",
}


class Console:
    """A progress bar in words, and a table with a row for each evaluation.

    n_words: Words of the complete run.
    n_done: Words of it that are done.
    say: Called with lines.
    """

    def __init__(self, n_words: int, n_done: int, say: Callable[[str], None]) -> None:
        self._bar = tqdm(
            total=n_words,
            initial=n_done,
            unit=" words",
            unit_scale=True,
            desc="pretrain",
            disable=None,
        )
        self._say = say
        self._has_header = False

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def show_progress(self, progress: RunProgress) -> None:
        """Move the bar."""
        self._bar.update(progress.words - self._bar.n)

    def show_row(self, row: Row) -> None:
        """Print an evaluation as a row of the table; * marks the best so far."""
        cells = [
            *_row_start(row),
            _short(row["train_total"]),
            _short(row["held_out_total"]),
            "*" if row["is_best"] else "",
        ]
        rows = [cells] if self._has_header else [list(HEADER), cells]
        with self._bar.external_write_mode():
            for each in rows:
                self._say(table_row(each, WIDTHS, spacing=0, aligns="r").rstrip())
        self._has_header = True


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
            label = f"{name}, {KINDS[kind]}".replace("$", r"\$")
            axes.plot(words, losses, style, label=label)
    best = [row for row in rows if row["is_best"]]
    if best:
        axes.axvline(best[-1]["words"], color="0.7", zorder=0, label="best")
    axes.set_xlabel("words")
    axes.set_ylabel("loss per token")
    if rows:
        axes.legend()
    return svg_element(figure)


def report(
    parts: RunParts,
    data: TrainingData,
    folder: RunFolder,
    progress: RunProgress,
    reason: str,
    svg: Optional[str],
) -> str:
    """Return the page about a run, as HTML.

    reason: Why it ended, a key of ENDS.
    svg: A picture of the losses, which is put in as it is.
    """
    rows = progress.rows
    columns = [(kind, name) for kind in KINDS for name in _heads(rows, kind)]
    header = [*HEADER[:4], "learn rate"]
    header += [f"{name}, {KINDS[kind]}" for kind, name in columns]
    cells = [
        [
            *_row_start(row),
            _short(row["learn_rate"]),
            *(_short(row[kind].get(name)) for kind, name in columns),
        ]
        for row in rows
    ]
    return render(
        "pretraining.html.jinja",
        title="Pretraining",
        facts={"End": ENDS[reason], **_facts(data, progress)}.items(),
        svg=Markup(svg or ""),
        command=next_command(folder, progress),
        header=header,
        rows=cells,
        best=max((i for i, row in enumerate(rows) if row["is_best"]), default=None),
        settings=parts.settings.model_dump().items(),
        config=parts.config.to_str(),
    )


def _facts(data: TrainingData, progress: RunProgress) -> Dict[str, str]:
    found, held_out = data.counts, data.held_out
    best = "none: no part of the corpus is held out"
    if progress.best is not None:
        best = f"{_short(progress.best)} after {progress.best_words:,} words ({BEST})"
    return {
        "Documents": f"{found.n_docs:,}, and {found.n_empty:,} empty ones",
        "Words": f"{found.n_words:,}; the longest document has {found.longest:,}",
        "Held out": f"{len(held_out):,} documents with "
        f"{sum(map(len, held_out)):,} words",
        "Learned from": f"{progress.words:,} words in {progress.step:,} updates",
        "Minutes": f"{progress.seconds / 60:.1f}",
        "Best held-out loss": best,
    }


def next_command(folder: RunFolder, progress: RunProgress) -> str:
    """Return the command that trains with the weights of a run."""
    weights = folder.path / (LAST if progress.best is None else BEST)
    return (
        f"python -m spacy train {folder.path / CONFIG} --output FOLDER "
        f"--initialize.init_tok2vec {weights}"
    )


def _row_start(row: Row) -> List[str]:
    return [
        f"{row['words']:,}",
        str(row["epoch"]),
        f"{row['minutes']:.1f}",
        f"{row['words_per_second']:,}",
    ]


def _short(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.4g}"


def _heads(rows: Sequence[Row], kind: str) -> List[str]:
    return list(dict.fromkeys(name for row in rows for name in row[kind]))
