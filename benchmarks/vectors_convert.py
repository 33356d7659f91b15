"""Converting generated vectors, against `spacy init vectors`."""

import tempfile
from pathlib import Path

import numpy

from .processes import Usage, run_python
from .timing import Figure, Row, Setting, row_of_times
from .vectors_text import write_vectors

ROWS, WIDTH = 200_000, 300
TIMES_LARGER = 10
STOCK = ("-m", "spacy", "init", "vectors", "en")
OURS = ("-m", "spacy", "embedkit", "vectors", "convert", "--lang", "en")


def run(setting: Setting) -> list[Row | Figure]:
    """Convert 200,000 rows with both, in turns, and ten times as many with ours."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "vectors.txt"
        write_vectors(text, ROWS, WIDTH)
        pairs = [convert_both(folder, text) for _ in range(min(3, setting.repeats))]
        text.unlink()
        larger = folder / "larger.txt"
        write_vectors(larger, TIMES_LARGER * ROWS, WIDTH)
        large = run_python(*OURS, str(larger), str(folder / "larger"))
    times = numpy.array([(stock.cpu, ours.cpu) for stock, ours in pairs])
    base = run_python("-c", "import spacy; spacy.blank('en')").cpu
    # Seconds a row, without those of starting spaCy.
    per_row = (numpy.median(times[:, 1]) - base) / ROWS
    per_row_larger = (large.cpu - base) / (TIMES_LARGER * ROWS)
    table = ROWS * WIDTH * 4 / 1e6 / 1.048576
    peak = max(ours.peak for _, ours in pairs)
    return [
        row_of_times(f"convert {ROWS:,} x {WIDTH} text", ROWS, times),
        Figure("peak memory, stock", max(stock.peak for stock, _ in pairs), "MiB"),
        Figure("peak memory, ours", peak, "MiB"),
        Figure("peak memory, ours, without the table", peak - table, "MiB"),
        Figure("peak memory, ours, ten times the rows", large.peak, "MiB"),
        Figure("CPU time, ours, ten times the rows", large.cpu, "s"),
        Figure("time a row, ten times the rows", per_row_larger / per_row, "x"),
    ]


def convert_both(folder: Path, text: Path) -> tuple[Usage, Usage]:
    """Convert with spaCy and with ours."""
    stock = run_python(*STOCK, str(text), str(folder / "stock"))
    return stock, run_python(*OURS, str(text), str(folder / "ours"))
