"""Scripts and steps of the spaCy project, imported and run."""

import importlib
import shlex
import subprocess
import sys
from typing import Any

import pytest
from spacy.cli import app
from thinc.api import use_ops
from typer.testing import CliRunner
from weasel.util.config import load_project_config

import spacy_embedkit.cli  # noqa: F401

from .checkout import ROOT

SCRIPTS = ROOT / "scripts"


def load_script(name: str) -> Any:
    """Import a script as a module; scripts import each other by bare name."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    return importlib.import_module(name)


def call_script(name: str, *arguments: object) -> None:
    """Do in this process what a script does on a command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        load_script(name).main()


def run_step(name: str, overrides: dict[str, Any], *options: str) -> None:
    """Do in this process, in the current folder, what a step of the project does.

    options: Of each of its commands, after those that it has.
    """
    project = load_project_config(ROOT, overrides=overrides)
    commands = {command["name"]: command for command in project["commands"]}
    for line in commands[name]["script"]:
        _python, option, *words = shlex.split(line)
        if option.startswith("scripts/"):
            call_script(option.removeprefix("scripts/").removesuffix(".py"), *words)
        elif option == "-c":
            exec(words[0])  # A line of project.yml, which is ours.
        else:
            # The fast backend of a config would stay for the tests that come after.
            with use_ops("numpy"):
                result = CliRunner().invoke(app, [*words[1:], *options])
            assert result.exit_code == 0, f"{line}\n{result.output}"


def run_script(name: str, *arguments: object, **options: Any) -> Any:
    """Run a script in a process of its own."""
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def assert_one_line_error(result: Any, *words: str) -> None:
    """Check that a process ended with one line on stderr that has the words."""
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if "it/s" not in line]
    lines = [line for line in errors if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0]
