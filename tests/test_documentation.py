"""Every snippet of the page on embeddings has a test, or a reason for none."""

import re
from pathlib import Path

import pytest

from .helpers.page_snippets import ENTRIES, FOLDER, snippets

needs_page = pytest.mark.skipif(
    not FOLDER, reason="EMBEDKIT_SEEDS names no folder that has the page"
)


@needs_page
@pytest.mark.parametrize(("page", "count"), [("new", 26), ("old", 23)])
def test_snippets_are_found(page, count):
    assert sum(snippet.page == page for snippet in snippets()) == count


@needs_page
def test_every_snippet_has_one_entry():
    counts = {s: sum(entry.matches(s) for entry in ENTRIES) for s in snippets()}
    wrong = [
        f"{snippet.page}, line {snippet.line}, under {snippet.heading}: {count} entries"
        for snippet, count in counts.items()
        if count != 1
    ]
    assert not wrong


@needs_page
def test_every_entry_has_one_snippet_a_page():
    found = snippets()
    for entry in ENTRIES:
        pages = [snippet.page for snippet in found if entry.matches(snippet)]
        assert sorted(pages) == sorted(entry.pages.split()), entry


def test_every_entry_has_tests_or_a_reason():
    for entry in ENTRIES:
        assert bool(entry.tests) != bool(entry.reason), entry
        for test in entry.tests:
            module, name = test.split("::")
            text = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf8")
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), test


def test_every_other_test_names_the_running_text():
    """In its docstring."""
    known = {test for entry in ENTRIES for test in entry.tests}
    for path in Path(__file__).parent.glob("test_documentation_*.py"):
        text = path.read_text(encoding="utf8")
        assert not [
            name
            for name, doc in re.findall(
                r"^def (test_\w+)\([^)]*\):\n(?:    \"\"\"(.*)\"\"\")?", text, re.M
            )
            if f"{path.stem}::{name}" not in known and "running text" not in doc
        ]
