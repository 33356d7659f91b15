"""The tests of spacy-transformers, on its own layers and with ours in their place."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from .helpers.checkout import ROOT

pytest.importorskip("torch", reason="needs pip install 'spacy-embedkit[transformers]'")
pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytestmark = pytest.mark.slow

# Modules of the layers, and of those that take their place.
PLACES = {
    "spacy_transformers.layers.transformer_model": "spacy_embedkit.transformer.model",
    "spacy_transformers.layers.trfs2arrays": "spacy_embedkit.transformer.listener",
}
# Fails in stock, too, without the library of its tokenizer.
SENTENCEPIECE = "test_transformer_sentencepiece_IO"


def run(folder, name, *options):
    """Run the tests in a process of their own; return what happened in each."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    outcomes = folder / f"{name}.json"
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini"]
    command += ["-p", "no:cacheprovider", "-p", "tests.helpers.substitute", *options]
    command += ["--outcomes", str(outcomes), "--pyargs", "spacy_transformers.tests"]
    if find_spec("sentencepiece") is None:
        command += ["-k", f"not {SENTENCEPIECE}"]
    own = ("HF_", "TRANSFORMERS_", "HUGGINGFACE_", "PYTEST_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    paths = [str(ROOT), env.get("PYTHONPATH", "")]
    env |= {
        "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    found = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )
    assert outcomes.exists(), found.stdout + found.stderr
    return json.loads(outcomes.read_text(encoding="utf8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A home of the hub with the models that the tests name."""
    from .helpers.hub_models import make_hub

    folder = tmp_path_factory.mktemp("suite")
    make_hub(folder / "hub")
    return folder


@pytest.fixture(scope="module")
def stock(folder):
    return run(folder, "stock")


@pytest.fixture(scope="module")
def ours(folder):
    return run(folder, "ours", "--ours")


def failures(outcomes):
    return {
        name: test["outcome"]
        for name, test in outcomes.items()
        if test["outcome"] != "passed"
    }


def test_passes_on_stock(stock):
    assert not failures(stock)
    assert len(stock) >= 79


def test_passes_with_ours(stock, ours):
    assert ours.keys() == stock.keys()
    assert not failures(ours)


def test_ours_are_wherever_stock_was(stock, ours):
    expected = {
        name: {PLACES[layer] for layer in test["layers"] if layer in PLACES}
        for name, test in stock.items()
    }
    known = {*PLACES, *PLACES.values()}
    found = {name: known.intersection(test["layers"]) for name, test in ours.items()}
    assert found == expected
    assert sum(map(bool, expected.values())) >= 50
