"""Scenarios in which threads or processes share the docs."""

import multiprocessing
import threading
from itertools import islice

from spacy.tokens import Doc

from .run import BATCH, Run, annotate


def in_threads(run: Run) -> None:
    """Threads use one accelerated pipeline at once."""
    stock, fast = run.pair()
    for recipes in run.recipes(size=BATCH * run.threads):
        docs = [recipe.make(fast) for recipe in recipes]
        results: list[list[Doc]] = [[] for _ in range(run.threads)]

        def work(i: int, docs: list[Doc] = docs, results: list = results) -> None:
            results[i] = list(fast.pipe(docs[i :: run.threads], batch_size=50 + i))

        workers = [threading.Thread(target=work, args=(i,)) for i in range(run.threads)]
        for worker in workers:
            worker.start()
        expected = annotate(stock, recipes)
        for worker in workers:
            worker.join()
        for i, result in enumerate(results):
            part = slice(i, None, run.threads)
            run.compare(recipes[part], expected[part], result, stock)


def in_processes(run: Run, method: str) -> None:
    """Processes share the docs; method says how they start: "fork" or "spawn"."""
    stock, fast = run.pair()
    if method not in multiprocessing.get_all_start_methods():
        return
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    try:
        for recipes in run.recipes(size=max(BATCH, min(run.docs, 20_000))):
            docs = [recipe.make(fast) for recipe in recipes]
            results = fast.pipe(docs, n_process=run.processes, batch_size=100)
            stream = iter(results)
            for start in range(0, len(recipes), BATCH):
                part = recipes[start : start + BATCH]
                found = list(islice(stream, len(part)))
                run.compare(part, annotate(stock, part), found, stock)
            assert not list(stream)
    finally:
        multiprocessing.set_start_method(before, force=True)
