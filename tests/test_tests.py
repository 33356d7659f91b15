"""The tests themselves: what they share lies in tests/helpers."""

import ast
from pathlib import Path

from .helpers.checkout import ROOT

MODULES = sorted((ROOT / "tests").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names of what a file imports, relative ones resolved."""
    package = path.relative_to(ROOT).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*outer, *filter(None, [node.module])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def test_no_module_imports_a_test():
    tests = {f"tests.{p.stem}" for p in MODULES if p.stem.startswith("test_")}
    tests |= {"tests.conftest"}
    assert [path.name for path in MODULES if not tests.isdisjoint(imported(path))] == []
