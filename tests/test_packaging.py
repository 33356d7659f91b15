"""What is published: requirements, version, metadata and the workflows that do it."""

import ast
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser

import pytest
import srsly

import spacy_embedkit

from .helpers.checkout import ROOT

SETUP = ConfigParser(delimiters=["="])
SETUP.read(ROOT / "setup.cfg")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
VERSION = SETUP["metadata"]["version"]
PYTHONS = re.findall(r":: Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
WORKFLOWS = {
    path.stem: srsly.read_yaml(path)
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}
STEPS = [
    step
    for workflow in WORKFLOWS.values()
    for job in workflow["jobs"].values()
    for step in job["steps"]
]
COMMANDS = [step["run"] for step in STEPS if "run" in step]
# Distributions whose modules have other names.
DISTRIBUTIONS = {
    "cupy": "cupy-cuda12x",
    "spacy_curated_transformers": "spacy-curated-transformers",
    "spacy_transformers": "spacy-transformers",
}


def requirements(text: str) -> dict[str, str]:
    """Bounds by name, of one requirement a line."""
    lines = (line.strip().partition(";")[0] for line in text.splitlines())
    pairs = (re.match(r"([\w-]+(?:\[\w+\])?)(.*)", line) for line in lines)
    return {pair[1]: pair[2].strip() for pair in pairs if pair}


REQUIRED = requirements(SETUP["options"]["install_requires"])
EXTRAS = [requirements(text) for text in SETUP["options.extras_require"].values()]


def imported_libraries() -> set[str]:
    """Names of what the modules of the package import, wherever they do."""
    names = set()
    for path in (ROOT / "spacy_embedkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).split(".")[0])
    return names - sys.stdlib_module_names - {"spacy_embedkit"}


def run(code: str) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return process.stdout.split()


def test_every_imported_library_is_required():
    names = {DISTRIBUTIONS.get(name, name) for name in imported_libraries()}
    assert names - set(REQUIRED).union(*EXTRAS) == set()


def test_libraries_have_tested_lower_bounds():
    assert [name for name, bounds in REQUIRED.items() if ">=" not in bounds] == []


def test_thinc_is_the_one_that_the_kernels_are_built_with():
    # Without an upper bound, pip takes a newer thinc before it looks at spaCy's.
    build = requirements("\n".join(PYPROJECT["build-system"]["requires"]))
    assert REQUIRED["thinc"] == build["thinc"] == ">=8.3.12,<8.4"


def test_version_is_that_of_setup_cfg():
    assert spacy_embedkit.__version__ == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] == VERSION


def test_version_stands_in_one_place():
    files = [*ROOT.glob("*.py"), *ROOT.glob("*.toml"), *ROOT.glob("*.cff")]
    files += (ROOT / "spacy_embedkit").rglob("*.py")
    quoted = re.compile(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])")
    assert [f for f in files if quoted.search(f.read_text(encoding="utf8"))] == []


def test_citation_has_what_zenodo_needs():
    citation = srsly.read_yaml(ROOT / "CITATION.cff")
    assert citation["title"] == SETUP["metadata"]["name"]
    assert citation["license"] == SETUP["metadata"]["license_expression"]
    assert citation["authors"] == [{"name": SETUP["metadata"]["author"]}]
    assert {"cff-version", "message", "type"} <= set(citation)
    # They would have to be changed with each release; the tag has them.
    assert not {"version", "date-released"} & set(citation)


def test_importing_spacy_loads_nothing_of_the_package():
    loaded = run("import sys, spacy; print(*sys.modules)")
    assert [name for name in loaded if name.startswith("spacy_embedkit")] == []


def test_a_blank_pipeline_loads_no_more_than_entry_points_need():
    # spaCy loads all factories, and thinc all backends, with the kernels.
    loaded = run("import sys, spacy; spacy.blank('en'); print(*sys.modules)")
    ours = {name for name in loaded if name.startswith("spacy_embedkit.")}
    assert {name.removeprefix("spacy_embedkit.") for name in ours} == {
        "_blas",
        "_ops",
        "backend",
        "ops",
        "reference_ops",
        "transformer",
        "transformer.release",
        "transformer.token_vectors",
    }


def test_workflows_try_the_pythons_of_the_classifiers():
    matrix = WORKFLOWS["tests"]["jobs"]["newest"]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert len(matrix["os"]) == 3
    builds = [f"cp{python.replace('.', '')}-*" for python in PYTHONS]
    assert PYPROJECT["tool"]["cibuildwheel"]["build"] == builds
    assert SETUP["options"]["python_requires"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_commands_of_workflows_exist(command):
    assert "${{" not in command, "text of others would be run: use env"
    for path in re.findall(r"\bbash (\S+)", command):
        assert (ROOT / path).is_file()
        # The bash of Windows may be that of a subsystem, which names files in its way.
        if sys.platform != "win32":
            subprocess.run(["bash", "-n", ROOT / path], check=True)
    for extras in re.findall(r"\.\[([\w,]+)\]", command):
        assert set(extras.split(",")) <= set(SETUP["options.extras_require"])
    modules = re.findall(r"\bpython -m (\S+)", command)
    assert set(modules) <= {"build", "cibuildwheel", "pip", "pytest", "twine"}
    assert modules or command.startswith(("bash ", "test -f "))


def test_tests_of_wheels_exist():
    settings = PYPROJECT["tool"]["cibuildwheel"]
    assert [f for f in settings["test-sources"] if not (ROOT / f).exists()] == []
    files = re.findall(r"tests/\S+", settings["test-command"])
    assert files
    assert [f for f in files if not (ROOT / f).exists()] == []


def test_workflows_may_only_read_and_use_fixed_actions():
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {"contents": "read"}, name
    rights = [
        (name, job_name, job["permissions"])
        for name, workflow in WORKFLOWS.items()
        for job_name, job in workflow["jobs"].items()
        if "permissions" in job
    ]
    assert rights == [("release", "publish", {"id-token": "write"})]
    # A tag can be moved; a commit can't.
    uses = [step["uses"] for step in STEPS if "uses" in step]
    assert [use for use in uses if not re.search(r"@[0-9a-f]{40}$", use)] == []


def test_issue_forms_are_what_github_takes():
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    for name in ("bug", "feature"):
        form = srsly.read_yaml(folder / f"{name}.yml")
        assert set(form) == {"name", "description", "labels", "body"}
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert all(field["attributes"]["label"] for field in fields)
        assert len({field["id"] for field in fields}) == len(fields) > 0
    assert {path.stem for path in folder.iterdir()} == {"bug", "config", "feature"}
