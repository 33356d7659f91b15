"""Processes that start quickly, and without the threads of the process of the tests."""

import multiprocessing
from multiprocessing.process import BaseProcess
from typing import Any, Callable, Sequence

import pytest

MAX_SECONDS = 300
# What pretraining needs. spaCy loads the entry points of spacy-transformers, if it is
# installed, and so torch.
PRELOADED = ["spacy_embedkit.pretraining.run.command", "spacy_transformers"]


def start_process(
    function: Callable[..., None], *args: Any, preloaded: Sequence[str] = PRELOADED
) -> BaseProcess:
    """Run a function of a module in a new process.

    It is forked from one that has imported the preloaded modules, those of the first
    call, and does nothing else. Forked from that of the tests, it would wait forever
    for a lock that one of the threads held there (of tokenizers, torch or xdist).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("only where processes fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preloaded])
    process = context.Process(target=function, args=args)
    process.start()
    return process


def exit_code(process: BaseProcess) -> int:
    """Wait for a process, and return its exit code."""
    process.join(MAX_SECONDS)
    if process.exitcode is None:
        process.kill()
        pytest.fail(f"the process is still running after {MAX_SECONDS} seconds")
    return process.exitcode
