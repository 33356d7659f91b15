"""An accelerated pipeline on one and two threads, against stock on two processes.

Wall-clock time, so that the machine has to be idle, and memory of all processes.
"""

import time
from collections.abc import Callable

import numpy
from tqdm import tqdm

import spacy_embedkit

from .pipe import load
from .texts import join_docs
from .timing import Figure, Setting

# Sentences of a document, and how often the text is annotated, so that both threads
# have enough of it.
SENTENCES, TIMES = 10, 5


def run(setting: Setting) -> list[Figure]:
    """Annotate documents on two cores."""
    stock, ours = load(setting.pipeline), load(setting.pipeline)
    print(spacy_embedkit.accelerate(ours))
    docs = join_docs(setting.docs, SENTENCES)
    texts = TIMES * [" ".join(token.text for token in doc) for doc in docs]
    ways: dict[str, Callable[[], object]] = {
        "ours, 1 thread": lambda: list(ours.pipe(texts, batch_size=256)),
        "ours, 2 threads": lambda: list(spacy_embedkit.pipe(ours, texts, n_threads=2)),
        "stock, 2 processes": lambda: list(stock.pipe(texts, n_process=2)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        if "process" not in name:
            way()
    for _ in tqdm(range(setting.repeats), desc="threads", leave=False):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    two = numpy.asarray(times["ours, 2 threads"])
    n_words = sum(len(stock.make_doc(text)) for text in texts)
    figures = [
        figure(f"{name}, words/s", n_words / numpy.asarray(seconds), "")
        for name, seconds in times.items()
    ]
    for name in ("ours, 1 thread", "stock, 2 processes"):
        ratios = numpy.asarray(times[name]) / two
        figures.append(figure(f"ours, 2 threads, against {name}", ratios, "x"))
    return figures


def figure(what: str, values: numpy.ndarray, unit: str) -> Figure:
    """Return the median and the quartiles."""
    lower, median, upper = numpy.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Figure(what, median, unit, lower, upper)
