"""A wheel of the student."""

import subprocess
import sys
from pathlib import Path

from ..checks import InputError, import_extra
from ..io import atomic_folder
from .students import MODEL

PACKAGE = "package"


def build_wheel(out: Path, name: str) -> Path:
    """Build a wheel of OUT/model-best, and return its path.

    name: Of the package, without its language.
    Raises: InputError with the last line of what failed; ImportError naming the extra.
    """
    import_extra("build", "project")
    with atomic_folder(out / PACKAGE) as partial:
        command = [sys.executable, "-m", "spacy", "package", str(out / MODEL)]
        command += [str(partial), "--name", name, "--build", "wheel", "--force"]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            lines = (process.stdout + process.stderr).strip().splitlines()
            raise InputError(f"{name}: can't be packaged: {lines[-1] if lines else ''}")
    return next((out / PACKAGE).rglob("*.whl"))
