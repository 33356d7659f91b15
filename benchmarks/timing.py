"""Paired timing: two callables in turn, CPU time, medians with quartiles."""

import gc
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy
from spacy.tokens import Doc
from tqdm import tqdm
from wasabi import table


@dataclass
class Setting:
    """What the command line chose.

    docs: The text, one doc a sentence. repeats: Paired runs of a row.
    pipeline: Folder or package of a trained pipeline.
    """

    docs: list[Doc]
    repeats: int
    pipeline: str


@dataclass
class Row:
    """One comparison.

    what: What was run. n_words: Words (or items) of one run.
    stock, ours: Words a second, medians. ratio: ours over stock, the median of the
    pairs, with lower and upper quartile. limit: Words a second at which the matrix
    products alone would run, if that was worked out, see arithmetic_limit.
    """

    what: str
    n_words: int
    stock: float
    ours: float
    ratio: float
    ratio_lower: float
    ratio_upper: float
    limit: float | None = None

    def to_dict(self) -> dict[str, str | int | float | None]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass
class Figure:
    """One measured number.

    what: What was measured. value: The number, a median where lower and upper, its
    quartiles, are given. unit: Of the number.
    """

    what: str
    value: float
    unit: str = ""
    lower: float | None = None
    upper: float | None = None

    def to_dict(self) -> dict[str, str | float | None]:
        """Plain values, for JSON."""
        return asdict(self)


def compare(
    what: str,
    n_words: int,
    stock: Callable[[], object],
    ours: Callable[[], object],
    repeats: int,
    limit: float | None = None,
) -> Row:
    """Run both once to warm up, then in turn, the first of a pair alternating."""
    stock()
    ours()
    times = numpy.empty((repeats, 2))
    for i in tqdm(range(repeats), desc=what, leave=False):
        for side in (0, 1) if i % 2 else (1, 0):
            times[i, side] = cpu_seconds(ours if side else stock)
    return row_of_times(what, n_words, times, limit)


def row_of_times(
    what: str, n_words: int, times: numpy.ndarray, limit: float | None = None
) -> Row:
    """Make a row of seconds: (pairs, 2), stock and ours."""
    ratios = times[:, 0] / times[:, 1]
    lower, ratio, upper = numpy.quantile(ratios, [0.25, 0.5, 0.75])
    medians = numpy.median(times, axis=0)
    return Row(
        what,
        n_words,
        stock=float(n_words / medians[0]),
        ours=float(n_words / medians[1]),
        ratio=float(ratio),
        ratio_lower=float(lower),
        ratio_upper=float(upper),
        limit=limit,
    )


def arithmetic_limit(n_flops: int) -> float:
    """Return how often a second one core multiplies that much, by NumPy's OpenBLAS.

    n_flops: Floating-point operations of the matrix products for one word.
    """
    X, W = numpy.ones((1000, 288), dtype="f"), numpy.ones((288, 288), dtype="f")
    times = [cpu_seconds(lambda: [X @ W for _ in range(50)]) for _ in range(7)]
    return 50 * 2 * X.size * W.shape[1] / float(numpy.median(times)) / n_flops


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of one run, without the garbage collector's."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    gc.enable()
    return max(seconds, 1e-9)


def print_figures(figures: list[Figure]) -> None:
    """Print single numbers for people, if there are any."""
    if not figures:
        return
    data = [
        (
            figure.what,
            f"{figure.value:.4g} {figure.unit}",
            ""
            if figure.lower is None or figure.upper is None
            else f"{figure.lower:.4g} to {figure.upper:.4g}",
        )
        for figure in figures
    ]
    print(table(data, header=("", "figure", "quartiles"), divider=True))


def print_table(rows: list[Row]) -> None:
    """Print the rows for people, if there are any."""
    if not rows:
        return
    header = ("", "stock, 1/s", "ours, 1/s", "ratio", "quartiles", "of the limit")
    data = [
        (
            row.what,
            f"{row.stock:,.0f}",
            f"{row.ours:,.0f}",
            f"{row.ratio:.2f}x",
            f"{row.ratio_lower:.2f}-{row.ratio_upper:.2f}",
            "" if row.limit is None else f"{row.ours / row.limit:.0%}",
        )
        for row in rows
    ]
    print(table(data, header=header, divider=True, aligns=("l", *"rrrrr")))


def machine() -> dict[str, str]:
    """What the figures depend on, besides the code."""
    packages = ("spacy", "thinc", "numpy", "blis", "spacy-embedkit")
    return {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        **{name: version(name) for name in packages},
    }
