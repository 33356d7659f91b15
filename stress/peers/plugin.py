"""A pytest plugin that puts our parts in place and notes what happened in each test.

Each process writes what ran in its tests to a file of its own in the folder `--notes`,
as there may be several; the first one writes the outcomes.
"""

import json
from collections.abc import Callable
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from . import notes

# Modules whose put_in_place(variant) returns what to call before each test.
PARTS = {
    "spacy": "spacy_parts",
    "thinc": "thinc_parts",
    "spacy-transformers": "transformers_parts",
}
OUTCOMES: dict[str, dict[str, str]] = {}
BEFORE_EACH = pytest.StashKey[Callable[[], Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; spaCy's and thinc's conftest.py ask for `--slow`."""
    parser.addoption("--peer", choices=PARTS)
    parser.addoption("--variant", default="stock")
    parser.addoption("--notes", type=Path)
    parser.addoption("--only", type=Path, help="file of the names of tests to run")
    parser.addoption("--left-out", type=Path, help="file of the names of others")
    parser.addoption("--slow", action="store_true")


def pytest_configure(config: pytest.Config) -> None:
    """Put the parts of the variant in place, before the tests are imported."""
    parts = import_module(f".{PARTS[config.getoption('peer')]}", __package__)
    config.stash[BEFORE_EACH] = parts.put_in_place(config.getoption("variant"))


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out tests that were not asked for."""
    for option, wanted in (("only", True), ("left_out", False)):
        if path := config.getoption(option):
            names = json.loads(path.read_text(encoding="utf8"))
            items[:] = [item for item in items if is_named(item, names) == wanted]


def is_named(item: pytest.Item, names: list[str]) -> bool:
    """Return whether a test has one of the names, in which * stands for anything."""
    return item.nodeid in names or any(
        fnmatch(item.nodeid, name) for name in names if "*" in name
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin a test with the backend of the variant, whatever the last one left."""
    notes.begin_test(item.nodeid)
    item.config.stash[BEFORE_EACH]()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome of a test; one that fails at any stage has failed."""
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    if report.nodeid not in OUTCOMES or outcome != "passed":
        text = report.longreprtext if report.failed else ""
        OUTCOMES[report.nodeid] = {"outcome": outcome, "text": text}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Count a module that is not imported as a test that failed."""
    if report.failed:
        OUTCOMES[report.nodeid] = {"outcome": "failed", "text": report.longreprtext}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the files."""
    folder = session.config.getoption("notes")
    worker = getattr(session.config, "workerinput", {}).get("workerid", "")
    ran = {name: sorted(what) for name, what in notes.RAN.items()}
    path = folder / f"ran-{worker or 'first'}.json"
    path.write_text(json.dumps(ran), encoding="utf8")
    if not worker:
        path = folder / "outcomes.json"
        path.write_text(json.dumps(OUTCOMES), encoding="utf8")
