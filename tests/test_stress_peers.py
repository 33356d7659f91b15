"""What `python -m stress peers` makes of outcomes; the suites themselves run in CI."""

import pytest

from stress.peers.compare import compare
from stress.peers.runs import Run
from stress.peers.suites import LAYERS, Excuse, Suite


def run(outcomes, ran=None, variant="stock"):
    return Run(variant, 1.0, outcomes, texts={}, ran=ran or {})


def findings(suite, stock, ours):
    return [line for _, line in compare(suite, stock, ours, in_full=True).findings]


@pytest.mark.parametrize("outcome", ["failed", "skipped", "xpassed"])
def test_another_outcome_is_a_finding(outcome):
    suite = Suite("tests", (LAYERS,), n_tests=1)
    ours = run({"test_a": outcome}, variant=LAYERS)
    [line] = findings(suite, run({"test_a": "passed"}), ours)
    assert line == f"test_a: {outcome}, with stock passed"


def test_same_outcome_and_excused_ones_are_no_findings():
    excuse = Excuse("test_b*", (LAYERS,), "why")
    suite = Suite("tests", (LAYERS,), n_tests=1, excuses=(excuse,))
    stock = run({"test_a": "failed", "test_b[1]": "passed"})
    ours = run({"test_a": "failed", "test_b[1]": "failed"}, variant=LAYERS)
    result = compare(suite, stock, ours, in_full=True)
    assert (result.findings, result.excused) == ([], ["test_b[1]"])


def test_layers_of_stock_that_ran_on_are_a_finding():
    suite = Suite("tests", (LAYERS,), n_tests=1, pairs={LAYERS: {"A": "our A"}})
    stock = run({"test_a": "passed"}, {"test_a": {"A"}})
    ours = run({"test_a": "passed"}, {"test_a": {"A"}}, variant=LAYERS)
    [line] = findings(suite, stock, ours)
    assert line == "test_a: our A should have run, but A did"


def test_too_few_tests_and_layers_are_findings():
    suite = Suite("tests", (LAYERS,), n_tests=2, counts={LAYERS: {"A": 1}})
    ours = run({"test_a": "passed"}, variant=LAYERS)
    assert findings(suite, run({"test_a": "passed"}), ours) == [
        "1 tests ran, expected 2",
        "A: in 0 tests, expected 1",
    ]
