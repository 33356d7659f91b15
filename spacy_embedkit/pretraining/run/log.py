"""What a run says while it goes on."""

from typing import Any, Callable, Dict, Optional

from tqdm import tqdm

from .progress import Progress

COLUMNS = (("words", 11), ("epoch", 6), ("minutes", 8), ("words/s", 8), ("train", 9))
WIDTH_HELD_OUT = 9


class Console:
    """A progress bar in words, and a table with a row for each evaluation.

    n_words: Words of the whole run.
    say: Called with lines.
    """

    def __init__(self, n_words: int, done: int, say: Callable[[str], None]) -> None:
        self._bar = tqdm(
            total=n_words,
            initial=done,
            unit=" words",
            unit_scale=True,
            desc="pretrain",
            disable=None,
        )
        self._say = say
        self._has_header = False

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def on_update(self, progress: Progress) -> None:
        """Move the bar on."""
        self._bar.update(progress.words - self._bar.n)

    def on_evaluation(self, row: Dict[str, Any]) -> None:
        """Say a row of the table."""
        with self._bar.external_write_mode():
            if not self._has_header:
                self._say(header())
                self._has_header = True
            self._say(line(row))


def header() -> str:
    """Return the names of the columns."""
    names = "".join(name.rjust(width) for name, width in COLUMNS)
    return names + "held out".rjust(WIDTH_HELD_OUT)


def line(row: Dict[str, Any]) -> str:
    """Return an evaluation as a line of the table; * marks the best so far."""
    values = (
        f"{row['words']:,}",
        str(row["epoch"]),
        f"{row['minutes']:.1f}",
        f"{row['words_per_second']:,}",
        short(row["train_total"]),
    )
    cells = [v.rjust(width) for v, (_, width) in zip(values, COLUMNS, strict=True)]
    return (
        "".join(cells)
        + short(row["held_out_total"]).rjust(WIDTH_HELD_OUT)
        + (" *" if row["is_best"] else "")
    )


def short(value: Optional[float]) -> str:
    """Return a number with four digits that count; - for none."""
    return "-" if value is None else f"{value:.4g}"
