"""The command `python -m stress sanitizers`: kernels that report their errors.

The tests of kernels, layers and tables run on a copy of the package whose kernels are
built with gcc's AddressSanitizer (address), or with its UndefinedBehaviorSanitizer and
bounds checks (undefined).
"""

import os
import re
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
COPIED = (
    "spacy_embedkit",
    "stress",
    "tests",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
)
BUILT = ("*.so", "*.c", "*.cpp", "__pycache__")
TESTS = (
    # Kernels.
    "array_code",
    "backend",
    "ops",
    "row_cache",
    "window_ops",
    # Layers and decoders.
    "decoders",
    "multi_hash",
    "pooling",
    "static_vectors",
    "window_encoder",
    # Tables, and the readers that parse their sources.
    "vector_arrays",
    "vector_damage",
    "vector_formats",
    "vector_inputs",
    "vector_text",
    "vectors_layers",
    "vectors_table",
)
REPORT = re.compile(r"runtime error: .*|ERROR: AddressSanitizer: .*")


class Kind(StrEnum):
    """A way to build the kernels."""

    address = "address"
    undefined = "undefined"


# Bugs: a text of _ops.pyx, and what becomes of it.
OVERRUN = (
    "for i in range(rows.shape[0]):\n            for o in range(out.shape[1]):",
    "for i in range(rows.shape[0] + 1):\n            for o in range(out.shape[1]):",
)
WIDE_SHIFT = ("return x ^ (x >> 31)", "return x ^ (x >> 64)")
# Those that each kind has to find, and by what words, so that a test that fails by its
# numbers does not count.
BUGS = {
    Kind.address: [(*OVERRUN, "ERROR: AddressSanitizer")],
    Kind.undefined: [(*OVERRUN, "IndexError"), (*WIDE_SHIFT, "runtime error")],
}
LIBRARIES = {Kind.address: "libasan", Kind.undefined: "libubsan"}


def main(
    kinds: Annotated[list[Kind] | None, typer.Argument(help="By default, all.")] = None,
    self_check: Annotated[
        bool, typer.Option(help="Break a kernel afterwards: it has to be found.")
    ] = False,
    test: Annotated[
        list[str] | None, typer.Option(help="Files of tests, such as ops.")
    ] = None,
    slow: Annotated[
        bool,
        typer.Option("--slow", help="Slow tests, too, and more examples of each."),
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Run the tests of kernels, layers and tables on kernels that report what they do.

    Builds the kernels in a copy of the package with AddressSanitizer (address), then
    with UndefinedBehaviorSanitizer and bounds checks (undefined): each by itself, as
    together the last writes no report to a file. Needs gcc.
    """
    findings, names = [], tuple(test or TESTS)
    with TemporaryDirectory() as name:
        copy = Path(name)
        copy_package(copy)
        for kind in kinds or list(Kind):
            found, n_passed = check(kind, copy, names, slow=slow, jobs=jobs)
            findings += [f"{kind}: {line}" for line in found]
            if self_check:
                findings += check_bugs(kind, copy)
            print(f"{kind}: {n_passed} tests passed, {len(found)} findings", flush=True)
    if findings:
        sys.exit("\n".join(["error: the kernels did what they must not:", *findings]))


def copy_package(copy: Path) -> None:
    """Copy what the build and the tests need, without what was built before."""
    ignore = shutil.ignore_patterns(*BUILT)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, copy / name)


def check(
    kind: Kind,
    copy: Path,
    tests: tuple[str, ...],
    *,
    slow: bool = False,
    jobs: int = 1,
    is_new: bool = True,
) -> tuple[list[str], int]:
    """Build the kernels, run the tests; return a line per finding, and what passed.

    is_new: Whether the kernels of the copy, if there are any, are of another kind.
    """
    start = monotonic()
    build(kind, copy, is_new=is_new)
    built = monotonic()
    for path in copy.glob("report.*"):
        path.unlink()
    env = environment(kind, copy)
    run_python(copy, env, "-c", PROBE.format(copy=copy, library=LIBRARIES[kind]))
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(jobs)]
    command += [] if slow else ["-m", "not slow", "--hypothesis-profile", "few"]
    command += [f"tests/test_{name}.py" for name in tests]
    result = run_python(copy, env, *command, check=False)
    reports = [path.read_text(errors="replace") for path in copy.glob("report.*")]
    lines = {line for text in reports for line in REPORT.findall(text)}
    if result.returncode:
        lines.add(result.stdout[-3000:])
    print(
        f"{kind}: built in {built - start:.0f} s, tests in {monotonic() - built:.0f} s"
    )
    passed = re.search(r"(\d+) passed", result.stdout)
    return sorted(lines), int(passed[1]) if passed else 0


# Run before the tests: the kernels have to be those of the copy, and watched.
PROBE = """
import spacy_embedkit._ops as kernels
assert kernels.__file__.startswith("{copy}"), kernels.__file__
loaded = open("/proc/self/maps").read()
assert "{library}" in loaded, "built without {library}"
"""


def build(kind: Kind, copy: Path, *, is_new: bool) -> None:
    """Build the kernels in place: all of them, or those that changed."""
    if is_new:
        # Cython does not notice that bounds checks are on or off now.
        for pattern in ("*.c", "*.cpp"):
            for path in (copy / "spacy_embedkit").rglob(pattern):
                path.unlink()
    env = {key: value for key, value in os.environ.items() if "EMBEDKIT" not in key}
    env["EMBEDKIT_SANITIZE"] = kind
    # With bounds checks, AddressSanitizer would find little itself.
    env["EMBEDKIT_CHECKED"] = "1" if kind == Kind.undefined else "0"
    command = ["setup.py", "-q", "build_ext", "--inplace", "-j", "2"]
    run_python(copy, env, *command, *(["--force"] if is_new else []))


def environment(kind: Kind, copy: Path) -> dict[str, str]:
    """Return the variables that the tests run with."""
    env = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    env["OPENBLAS_NUM_THREADS"] = "1"
    log = f"log_path={copy / 'report'}"
    if kind == Kind.undefined:
        env["UBSAN_OPTIONS"] = f"{log}:print_stacktrace=1"
    if kind == Kind.address:
        # Python itself is not built for it: the library comes first, with that of C++,
        # whose exceptions it wraps. Memory has to come from malloc to be watched.
        libraries = ("libasan.so", "libstdc++.so.6")
        env["LD_PRELOAD"] = ":".join(find_library(name) for name in libraries)
        env["PYTHONMALLOC"] = "malloc"
        # Tests ask for more memory than there is, and expect a MemoryError.
        options = "detect_leaks=0:allocator_may_return_null=1"
        env["ASAN_OPTIONS"] = f"{log}:{options}"
    return env


def find_library(name: str) -> str:
    """Ask gcc for the path of a library."""
    command = ["gcc", f"-print-file-name={name}"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return path.strip()


def check_bugs(kind: Kind, copy: Path) -> list[str]:
    """Break a kernel in each way of BUGS, and say so if that is not found."""
    path = copy / "spacy_embedkit" / "_ops.pyx"
    text = path.read_text(encoding="utf8")
    missed = []
    for old, new, words in BUGS[kind]:
        assert old in text, f"{path} has no {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf8")
        found, _ = check(kind, copy, ("ops",), is_new=False)
        found = [line for line in found if words in line]
        if not found:
            missed.append(f"{kind}: the bug {new!r} in _ops.pyx was not found")
        else:
            print(f"{kind}: the bug {new!r} was found by {words!r}")
    path.write_text(text, encoding="utf8")
    return missed


def run_python(
    copy: Path, env: dict[str, str], *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy; exit with its output if it fails and has to succeed."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check and result.returncode:
        sys.exit(f"error: {' '.join(arguments[:3])} failed:\n{result.stdout}")
    return result
