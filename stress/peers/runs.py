"""Running a suite in processes of its own, and reading what happened."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from .suites import SUITES

ROOT = Path(__file__).parents[2]
# Seconds that a suite may take.
TIMEOUT = 3600


@dataclass
class Run:
    """What happened in each test of a suite, with one variant in place.

    outcomes: Of each test, by its name. texts: Of those that failed.
    ran: What the plugin noted in each test.
    """

    variant: str
    seconds: float
    outcomes: dict[str, str]
    texts: dict[str, str]
    ran: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def count(self, outcome: str) -> int:
        """Return the number of tests with an outcome."""
        return list(self.outcomes.values()).count(outcome)


def run_suite(
    peer: str,
    variant: str,
    folder: Path,
    *,
    jobs: int,
    slow: bool = False,
    only: Collection[str] | None = None,
    left_out: Collection[str] = (),
) -> Run:
    """Run the tests of a peer with a variant in place.

    folder: Gets the log and the notes; must not be there yet.
    only: Names of the tests to run; None runs all.
    left_out: Names of tests that are not run.
    Raises: SystemExit with the log, if the tests did not run to their end.
    """
    folder.mkdir(parents=True)
    if peer == "spacy-transformers":
        from tests.helpers.hub_models import make_hub

        make_hub(folder / "hub")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini"]
    # Hypothesis picks the same examples in every run.
    command += ["-p", "no:cacheprovider", "--hypothesis-seed", "0"]
    command += ["-p", f"{__package__}.plugin", "--peer", peer, "--variant", variant]
    command += ["--notes", "."]
    if slow:
        command += ["--slow"]
    for option, names in (("only", only), ("left-out", left_out)):
        if names is not None:
            path = folder / f"{option}.json"
            path.write_text(json.dumps(sorted(names)), encoding="utf8")
            command += [f"--{option}", path.name]
    if jobs > 1:
        command += ["-n", str(jobs)]
    command += ["--pyargs", SUITES[peer].tests]
    start = monotonic()
    log = folder / "log.txt"
    with log.open("w", encoding="utf8") as file:
        subprocess.run(
            command,
            cwd=folder,
            env=environment(folder),
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
    if not (folder / "outcomes.json").exists():
        output = log.read_text(encoding="utf8")
        sys.exit(f"error: the tests of {peer}, {variant}, did not end:\n{output}")
    return read(variant, folder, monotonic() - start)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of the tests: one thread, and no models but the folder's."""
    own = ("HF_", "TRANSFORMERS_", "HUGGINGFACE_", "PYTEST_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    hub = {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    return {**env, **threads, **hub, "PYTHONPATH": str(ROOT)}


def read(variant: str, folder: Path, seconds: float) -> Run:
    """Read the files that the plugin wrote."""
    tests = json.loads((folder / "outcomes.json").read_text(encoding="utf8"))
    run = Run(
        variant,
        seconds,
        outcomes={name: test["outcome"] for name, test in tests.items()},
        texts={name: test["text"] for name, test in tests.items() if test["text"]},
    )
    for path in folder.glob("ran-*.json"):
        for name, what in json.loads(path.read_text(encoding="utf8")).items():
            run.ran[name].update(what)
    return run
