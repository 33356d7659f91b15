"""One copy of a pipeline on all cores."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Deque, Dict, Iterable, Iterator, List, Optional

from spacy.language import Language
from spacy.util import minibatch
from thinc.api import Model

from .backend import limit_threads
from .checks import check_positive

# Texts of a batch: enough for long products, few enough for threads to end together.
BATCH = 256


def pipe(
    nlp: Language,
    texts: Iterable[Any],
    *,
    n_threads: Optional[int] = None,
    as_tuples: bool = False,
    batch_size: Optional[int] = None,
    disable: Iterable[str] = (),
    component_cfg: Optional[Dict[str, Dict[str, Any]]] = None,
) -> Iterator[Any]:
    """Annotate texts as nlp.pipe does, on several threads of this process.

    All threads share the pipeline, its caches and its vectors, and no doc is pickled.
    It pays for an accelerated pipeline, whose kernels and products leave Python's lock
    to the other threads; what spaCy does itself, such as to tokenize, it does on one
    thread at a time. Docs come in the order of the texts. An error that the pipeline
    doesn't handle is raised where the docs of its batch would come.

    nlp: The pipeline; see accelerate. Components of users have to be thread-safe. With
        a model of PyTorch, which can't predict on two threads and uses several itself,
        it runs on one.
    texts: Strings or docs, or pairs of them and a context if as_tuples.
    n_threads: 1 or more; as many as there are cores for this process if None.
    batch_size: Texts that a thread takes at a time, 1 or more; 256 if None.
    disable, component_cfg: As for nlp.pipe.
    Yields docs, or pairs of a doc and its context. At most 2 * n_threads batches are
        read ahead.
    Raises: ValueError on n_threads or batch_size.
    """
    n = _count_cores() if n_threads is None else n_threads
    size = BATCH if batch_size is None else batch_size
    check_positive("pipe", n_threads=n, batch_size=size)
    settings: Dict[str, Any] = {
        "as_tuples": as_tuples,
        "batch_size": size,
        "disable": list(disable),
        "component_cfg": component_cfg,
    }
    if n == 1 or _has_shims(nlp):
        return nlp.pipe(texts, **settings)
    # Each thread multiplies by itself.
    limit_threads()
    return _run(nlp, texts, n, size, settings)


def _run(
    nlp: Language, texts: Iterable[Any], n: int, size: int, settings: Dict[str, Any]
) -> Iterator[Any]:
    def annotate(batch: List[Any]) -> List[Any]:
        return list(nlp.pipe(batch, **settings))

    waiting: Deque[Future[List[Any]]] = deque()
    pool = ThreadPoolExecutor(n, thread_name_prefix="spacy-embedkit")
    try:
        for batch in minibatch(texts, size=size):
            waiting.append(pool.submit(annotate, list(batch)))
            if len(waiting) > 2 * n:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _has_shims(nlp: Language) -> bool:
    models = [getattr(pipe, "model", None) for _, pipe in nlp.pipeline]
    return any(
        node.shims
        for model in models
        if isinstance(model, Model)
        for node in model.walk()
    )


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
