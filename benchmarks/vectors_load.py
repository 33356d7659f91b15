"""Loading pipelines with vectors: time, and memory that processes share."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import spacy
from tqdm import tqdm

from spacy_embedkit.vectors.build.convert import convert
from spacy_embedkit.vectors.sources.source import Batch, Source

from .timing import Figure, Row, Setting

WIDTH = 300
PROCESSES = 4
# Loads the pipeline, looks up words all over the table, and waits to be measured.
WORKER = """
import json, sys, numpy, spacy
nlp = spacy.load(sys.argv[1])
if int(sys.argv[2]):
    keys = numpy.fromiter(nlp.vocab.vectors.keys(), dtype="uint64")
    for start in range(0, len(keys), 4096):
        nlp.vocab.vectors.get_batch(keys[start:start + 4096])
    del keys
print("ready", flush=True)
sys.stdin.readline()
memory = dict(
    line.split()[:2] for line in open("/proc/self/smaps_rollup") if "kB" in line
)
print(json.dumps({k.rstrip(":"): int(v) for k, v in memory.items()}), flush=True)
sys.stdin.readline()
"""


def run(setting: Setting) -> list[Row | Figure]:
    """Load tables of 200,000 and a million rows; look at all rows in four processes."""
    figures: list[Row | Figure] = []
    with tempfile.TemporaryDirectory() as name:
        blank = Path(name) / "blank"
        spacy.blank("en").to_disk(blank)
        for n_rows in (200_000, 1_000_000):
            folder = Path(name) / str(n_rows)
            make_pipeline(folder, n_rows)
            figures.append(extra_load_time(blank, folder, n_rows, setting.repeats))
            if n_rows == 200_000:
                figures += memory_figures(blank, folder, n_rows * WIDTH * 4 / 1024)
    return figures


def make_pipeline(folder: Path, n_rows: int) -> None:
    """Convert random vectors."""
    convert(random_source(n_rows), folder, "en")


def random_source(n_rows: int) -> Source:
    """Return a source of random vectors."""
    random = numpy.random.default_rng(0)

    def batches() -> Iterator[Batch]:
        for start in range(0, n_rows, 4096):
            n = min(4096, n_rows - start)
            words = [f"word{i}" for i in range(start, start + n)]
            yield Batch(words, random.normal(size=(n, WIDTH)).astype("f"), str)

    return Source("random", "random", WIDTH, batches(), n_rows=n_rows)


def extra_load_time(blank: Path, folder: Path, n_rows: int, repeats: int) -> Figure:
    """Seconds that spacy.load takes longer than for a blank pipeline."""
    extra = []
    for _ in tqdm(range(repeats), f"loading {n_rows:,} rows", leave=False):
        extra.append(seconds_to_load(folder) - seconds_to_load(blank))
    lower, median, upper = numpy.quantile(extra, [0.25, 0.5, 0.75])
    what = f"spacy.load of {n_rows:,} x {WIDTH}, over a blank pipeline"
    return Figure(what, float(median), "s", float(lower), float(upper))


def seconds_to_load(folder: Path) -> float:
    """Wall time of spacy.load."""
    start = time.perf_counter()
    spacy.load(folder)
    return time.perf_counter() - start


def memory_figures(blank: Path, folder: Path, table: float) -> list[Row | Figure]:
    """Memory of processes that have looked up every row. table: Its size in kB."""
    [alone] = memory_of(blank, 1, touch=False)
    mapped = memory_of(folder, PROCESSES, touch=True)
    private = [
        m["Private_Clean"]
        + m["Private_Dirty"]
        - alone["Private_Dirty"]
        - alone["Private_Clean"]
        for m in mapped
    ]
    shares = [(m["Pss"] - alone["Pss"]) / table for m in mapped]
    what = f"{PROCESSES} processes that read every row"
    return [
        Figure(f"{what}: private memory of each, of the table", max(private) / table),
        Figure(f"{what}: PSS of each over a blank one, of the table", max(shares)),
        Figure(f"{what}: PSS of all over blank ones, of the table", sum(shares)),
    ]


def memory_of(folder: Path, n: int, *, touch: bool) -> list[dict[str, int]]:
    """Load a pipeline in n processes at once; return their memory in kB."""
    command = [sys.executable, "-c", WORKER, str(folder), str(int(touch))]
    workers = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(n)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    found = []
    for worker in workers:
        assert worker.stdin
        assert worker.stdout
        worker.stdin.write("\n")
        worker.stdin.flush()
        found.append(json.loads(worker.stdout.readline()))
    for worker in workers:
        worker.communicate("\n")
    return found
