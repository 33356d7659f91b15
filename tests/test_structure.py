"""The floor plan of the package, read from the imports that its files make."""

import ast
import configparser
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "spacy_embedkit"

# Lowest first: a file imports from its own room and those above it in this list.
# A module belongs to the room that names the longest part of its path.
ROOMS = [
    ("checks", "io", "locks", "templates"),
    ("ops", "reference_ops", "_ops", "backend", "_blas"),
    ("param_watch", "row_cache"),
    ("text",),
    ("vectors",),
    ("layers",),
    ("transformer",),
    ("components",),
    ("vectors.sources",),
    ("vectors.build",),
    ("pretraining",),
    ("experiments",),
    ("distillation",),
    ("recipes",),
    (
        "acceleration",
        "annotation_setters",
        "architectures",
        "callbacks",
        "readers",
        "schedules",
        "span_getters",
        "speed",
        "threads",
    ),
    ("cli",),
]
OPTIONAL = [
    "torch",
    "transformers",
    "spacy_transformers",
    "spacy_curated_transformers",
    "cupy",
    "ray",
]
OPTIONAL += ["spacy_curated_transformers", "curated_transformers"]


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, compiled ones included."""
    files = [f for pattern in ("*.py", "*.pyx") for f in PACKAGE.rglob(pattern)]
    names = (f.relative_to(PACKAGE).with_suffix("").parts for f in files)
    return {
        ".".join(name[:-1] if name[-1] == "__init__" else name): file
        for name, file in sorted(zip(names, files, strict=True))
    }


@cache
def tree(module: str) -> ast.Module:
    """The parsed text of a module; empty for a compiled one."""
    file = modules()[module]
    return ast.parse(file.read_text() if file.suffix == ".py" else "")


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from nodes(child)


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the package that a module imports, anywhere in its text."""
    found: set[str] = set()
    for node in nodes(tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, inner = name.partition(".")
            if top == PACKAGE.name:
                # The name of a module, or of what is in one.
                found.add(inner if inner in modules() else inner.rpartition(".")[0])
    return frozenset(found - {module})


def absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = modules()[module].name == "__init__.py"
    parts = [PACKAGE.name, *filter(None, module.split("."))]
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def room(module: str) -> int:
    """The number of the room that a module is in; -1 for the package itself."""
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        for i, names in enumerate(ROOMS):
            if ".".join(parts[:n]) in names:
                return i
    assert not module, f"{module} is in no room; add it to ROOMS"
    return -1


def test_imports_are_found():
    assert "ops" in imports("layers.ngram_table")
    assert "layers.types" in imports("layers.ngram_table")
    # In a function, and from a package.
    assert "vectors.build.convert" in imports("cli.convert_vectors")
    assert "layers" not in imports("layers.ngram_table")


def test_no_import_goes_upwards():
    upwards = {
        f"{module} imports {other}"
        for module in modules()
        for other in imports(module)
        if room(other) > room(module)
    }
    assert not upwards


def test_no_modules_import_each_other():
    graph = {module: imports(module) for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        pytest.fail(f"a circle of imports: {' -> '.join(err.args[1])}")


def test_no_two_modules_share_a_name():
    names = Counter(module.rpartition(".")[2] for module in modules())
    assert not {name for name, n in names.items() if n > 1}


def test_no_two_classes_share_a_name():
    names = Counter(
        node.name
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
    )
    assert not {name for name, n in names.items() if n > 1}


def test_kernels_are_called_from_beside_them():
    compiled = {m for m, file in modules().items() if file.suffix == ".pyx"}
    pairs = [(m, kernel) for m in modules() for kernel in imports(m) & compiled]
    assert {kernel for _, kernel in pairs} == compiled
    for module, kernel in pairs:
        beside = module.rpartition(".")[0] == kernel.rpartition(".")[0]
        assert beside, f"{module} imports {kernel}"


def test_only_ops_imports_its_kernels():
    assert {m for m in modules() if "_ops" in imports(m)} == {"ops"}


def test_only_ops_asks_for_the_backend():
    users = {
        module
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.alias) and node.name == "NumpyOps"
    }
    assert users <= {"ops", "backend"}


def run(code: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_importing_the_package_loads_nothing_else_of_it():
    loaded = run("import sys, spacy_embedkit; print(*sys.modules)").split()
    assert [m for m in loaded if m.split(".")[0] == PACKAGE.name] == [PACKAGE.name]


def test_entry_points_import_without_optional_libraries(root):
    parser = configparser.ConfigParser(delimiters=["="])
    parser.read(root / "setup.cfg")
    lines = "\n".join(parser["options.entry_points"].values()).split("\n")
    entries = {line.split("=")[1].split(":")[0].strip() for line in lines if line}
    hide = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))"
    run(f"{hide}; import {', '.join(sorted(entries))}")
