"""Comparing a run of ours with that of stock."""

from collections import Counter
from dataclasses import dataclass, field

from .runs import Run
from .suites import Suite


@dataclass
class Comparison:
    """What differs between two runs.

    findings: Of each, the name of the test, * for all, and a line about it.
    excused: Names of tests that may differ.
    better: Names of tests that pass with ours alone, such as those of the network.
    """

    findings: list[tuple[str, str]] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)
    better: list[str] = field(default_factory=list)


def compare(suite: Suite, stock: Run, ours: Run, *, in_full: bool) -> Comparison:
    """Compare the outcome of each test that both ran, and what ran in it.

    in_full: Whether ours ran all tests of the suite.
    """
    result = Comparison()
    for name, outcome in ours.outcomes.items():
        expected = stock.outcomes.get(name)
        if expected is None or outcome == expected:
            continue
        if {outcome, expected} == {"xfailed", "xpassed"}:
            # Expected to fail, which depends on random weights.
            continue
        if outcome == "passed":
            result.better.append(name)
        elif suite.excuse(ours.variant, name):
            result.excused.append(name)
        else:
            text = ours.texts.get(name, "").strip().splitlines()
            last = f": {text[-1]:.200}" if text else ""
            line = f"{name}: {outcome}, with stock {expected}{last}"
            result.findings.append((name, line))
    result.findings += pair_troubles(suite, stock, ours)
    if in_full:
        result.findings += [("*", line) for line in count_troubles(suite, ours)]
    return result


def pair_troubles(suite: Suite, stock: Run, ours: Run) -> list[tuple[str, str]]:
    """Name the tests in which ours did not take the place of stock."""
    pairs = suite.pairs.get(ours.variant, {})
    known = {*pairs, *pairs.values()}
    found = []
    for name in sorted(stock.ran.keys() & ours.outcomes.keys()):
        if suite.excuse(ours.variant, name):
            continue
        expected = {pairs[what] for what in stock.ran[name] if what in pairs}
        ran = known.intersection(ours.ran.get(name, ()))
        if ran != expected:
            line = (
                f"{name}: {', '.join(sorted(expected)) or 'nothing'} should have run, "
                f"but {', '.join(sorted(ran)) or 'nothing'} did"
            )
            found.append((name, line))
    return found


def count_troubles(suite: Suite, ours: Run) -> list[str]:
    """Say what ran in fewer tests than it should have."""
    found = []
    if len(ours.outcomes) < suite.n_tests:
        found.append(f"{len(ours.outcomes)} tests ran, expected {suite.n_tests}")
    n_tests = count_notes(ours)
    for what, least in suite.counts.get(ours.variant, {}).items():
        if n_tests[what] < least:
            found.append(f"{what}: in {n_tests[what]} tests, expected {least}")
    return found


def count_notes(run: Run) -> Counter[str]:
    """Count the tests in which each thing ran."""
    return Counter(what for noted in run.ran.values() for what in noted)
