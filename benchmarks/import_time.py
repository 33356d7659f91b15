"""What the installed package adds to the start of every spaCy process."""

import subprocess
import sys
from collections.abc import Iterator

import numpy
from tqdm import tqdm

from .timing import Figure, Setting

# Processes that differ in what is hidden from spaCy's search for entry points: this
# package, or one that is not there.
HIDE = """
import importlib.metadata as metadata, sys, time
hidden = {sys.argv[1], "spacy-transformers"}
find = metadata.distributions
metadata.distributions = lambda **context: [
    d for d in find(**context) if d.metadata["Name"] not in hidden
]
start = time.process_time()
"""
STATEMENTS = {
    "import spacy": "import spacy",
    'import spacy; spacy.blank("en")': 'import spacy; spacy.blank("en")',
    "python -m spacy, any command": "import spacy.cli; spacy.registry.cli.get_all()",
}
REPORT = "; print(time.process_time() - start)"


def run(setting: Setting) -> list[Figure]:
    """Start processes with the package and without it, in turn."""
    return [
        added_time(what, statement, setting.repeats)
        for what, statement in STATEMENTS.items()
    ]


def added_time(what: str, statement: str, repeats: int) -> Figure:
    """Median of the pairs, in milliseconds, after one pair to warm the disk's cache."""
    pairs = list(tqdm(measure(statement, repeats + 1), desc=what, leave=False))
    lower, median, upper = numpy.quantile(pairs[1:], [0.25, 0.5, 0.75]) * 1000
    return Figure(f"{what}: added", float(median), "ms", float(lower), float(upper))


def measure(statement: str, repeats: int) -> Iterator[float]:
    """CPU seconds with the package less those without; the order alternates."""
    hidden = ["nothing", "spacy-embedkit"]
    for _ in range(repeats):
        seconds = {name: seconds_in_a_process(statement, name) for name in hidden}
        yield seconds["nothing"] - seconds["spacy-embedkit"]
        hidden.reverse()


def seconds_in_a_process(statement: str, hidden: str) -> float:
    """Time a statement in a new process from which a package is hidden."""
    code = HIDE + statement + REPORT
    process = subprocess.run(
        [sys.executable, "-c", code, hidden],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(process.stdout)
