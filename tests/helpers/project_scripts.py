"""Scripts of the spaCy project, imported and run."""

import importlib
import subprocess
import sys
from typing import Any

import pytest

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
