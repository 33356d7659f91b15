"""The command `python -m stress peers`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from .compare import Comparison, compare, count_notes
from .runs import Run, run_suite
from .suites import ALL, SUITES


@dataclass
class Options:
    """What the command was asked for, see main."""

    folder: Path
    full: bool
    slow: bool
    jobs: int
    tests: list[str] | None

    def run(self, peer: str, variant: str, only: list[str] | None) -> Run:
        """Run a suite, with stock or a variant in place."""
        folder = self.folder / peer / variant
        return run_suite(
            peer,
            variant,
            folder,
            jobs=self.jobs,
            slow=self.slow,
            only=only,
            left_out=() if self.full else SUITES[peer].left_out,
        )


def main(
    peers: Annotated[
        list[str] | None, typer.Argument(help=f"Any of {', '.join(SUITES)}.")
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="backend, layers, accelerate or all.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Each variant, and all tests with stock.")
    ] = False,
    slow: Annotated[
        bool, typer.Option("--slow", help="Also tests that the peers call slow.")
    ] = False,
    test: Annotated[
        list[str] | None, typer.Option(help="Names of tests; * stands for anything.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
    keep: Annotated[
        Path | None, typer.Option(help="New folder for logs and notes.")
    ] = None,
) -> None:
    """Run the suites of spaCy, thinc and spacy-transformers with ours in place.

    Variants: our backend as default; our layers under the names of stock; accelerate
    on every pipeline that a test makes; all of it, with our layers in one half of the
    tests, and those of stock accelerated in the other. A test passes if its outcome is
    that of stock. By default all is put in place, and stock runs only the tests that do
    not pass then.
    """
    if unknown := {*(peers or ())} - {*SUITES}:
        sys.exit(f"error: {', '.join(unknown)}: give any of {', '.join(SUITES)}")
    findings = []
    with TemporaryDirectory() as temporary:
        options = Options(keep or Path(temporary), full, slow, jobs, test)
        for peer in peers or SUITES:
            possible = SUITES[peer].variants
            wanted = variant or (possible if full else [ALL])
            # The layers of spacy-transformers are all there is.
            chosen = [name for name in possible if name in wanted] or [*possible]
            findings += run_peer(peer, chosen, options)
    if findings:
        sys.exit("\n".join(["error: tests differ from stock:", *findings]))


def run_peer(peer: str, variants: list[str], options: Options) -> list[str]:
    """Run the variants of a suite, print a summary of each, and return the findings."""
    suite, findings = SUITES[peer], []
    stock = None
    if options.full or suite.always_full:
        stock = options.run(peer, "stock", options.tests)
        print(summary(peer, stock), flush=True)
    for variant in variants:
        ours = options.run(peer, variant, options.tests)
        expected = stock or options.run(peer, "stock", not_passed(ours))
        result = compare(suite, expected, ours, in_full=options.tests is None)
        print(summary(peer, ours, result), flush=True)
        findings += [
            f"{finding}\n    python -m stress peers {peer} --variant {variant} --full"
            f" --test '{name}'"
            for name, finding in result.findings
        ]
    return findings


def not_passed(run: Run) -> list[str]:
    """Name the tests that did not pass."""
    return [name for name, outcome in run.outcomes.items() if outcome != "passed"]


def summary(peer: str, run: Run, result: Comparison | None = None) -> str:
    """Say what happened in a run, and how it compares with stock."""
    kinds = ("passed", "failed", "skipped", "xfailed", "xpassed")
    counts = ", ".join(f"{run.count(kind)} {kind}" for kind in kinds if run.count(kind))
    head = f"{peer}, {run.variant}: {len(run.outcomes)} tests in {run.seconds:.0f} s"
    lines = [f"{head}: {counts}"]
    if result:
        lines.append(
            f"    {len(result.findings)} differ from stock, {len(result.excused)} may, "
            f"{len(result.better)} pass with ours alone"
        )
    noted = count_notes(run).most_common()
    lines.append(f"    tests: {', '.join(f'{what} {n}' for what, n in noted)}")
    return "\n".join(lines)
