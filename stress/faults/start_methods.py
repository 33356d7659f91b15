"""Processes that have run a command, then fork or spawn and run it again."""

import multiprocessing
import sys
from typing import Any

import spacy

from .bench import Try
from .commands import numbers
from .process import Options, exit_code, run_command, start_process


def fork(attempt: Try) -> list[str]:
    """Run the command in a process that has run it before, and forks."""
    return _again(attempt, "fork")


def spawn(attempt: Try) -> list[str]:
    """Run the command in a process that is spawned by one that has run it before."""
    return _again(attempt, "spawn")


def _again(attempt: Try, method: str) -> list[str]:
    with attempt.bench.place() as other:
        arguments = [attempt.arguments(), attempt.arguments(place=other)]
        pipeline = attempt.command.pipeline
        path = None if pipeline is None else str(attempt.place.out / pipeline)
        places = [attempt.place, other]
        code = exit_code(start_process(_parent, arguments, places, path, method))
        if code:
            lines = other.messages("run").strip().splitlines()
            last = f": {lines[-1]}" if lines else ""
            return [f"exit code {code} ({REASONS.get(code, 'failed')}){last}"]
        return (
            attempt.check_end()
            + Try(attempt.bench, attempt.command, attempt.random, other).check_end()
        )


OTHER_NUMBERS, CHILD_FAILED = 3, 4
REASONS = {OTHER_NUMBERS: "other numbers in the child", CHILD_FAILED: "child failed"}


def _parent(arguments: Any, places: Any, path: Any, method: str) -> None:
    try:
        run_command(arguments[0], places[0], Options())
    except SystemExit as err:
        if err.code:
            raise
    nlp = None if path is None else spacy.load(path)
    expected = None if nlp is None else numbers(nlp)
    context: Any = multiprocessing.get_context(method)
    child = context.Process(
        target=_child, args=(arguments[1], places[1], nlp, expected)
    )
    child.start()
    code = exit_code(child)
    if code:
        sys.exit(code if code == OTHER_NUMBERS else CHILD_FAILED)


def _child(arguments: Any, place: Any, nlp: Any, expected: Any) -> None:
    if nlp is not None and numbers(nlp) != expected:
        sys.exit(OTHER_NUMBERS)
    run_command(arguments, place, Options())
