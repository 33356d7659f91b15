"""Run the tests of spacy-transformers, as they are and with our layers in place.

All have to pass both times, and our layers have to run wherever those of stock did.
The suites of thinc (on our backend) and spaCy are not run yet.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.helpers.hub_models import make_hub

HERE = Path(__file__).parent

# Modules of the layers of stock, and ours that take their place.
PLACES = {
    "spacy_transformers.layers.transformer_model": "spacy_embedkit.transformer.model",
    "spacy_transformers.layers.trfs2arrays": "spacy_embedkit.transformer.listener",
}
# Fewer would mean that tests, or the layers in them, were not found.
MIN_TESTS, MIN_TESTS_WITH_LAYERS = 79, 50


def start(folder: Path, name: str, *options: str) -> subprocess.Popen:
    """Start the tests in a process that has only the models of the folder."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini"]
    command += ["-p", "no:cacheprovider", "-p", "substitute", *options]
    command += ["--outcomes", f"{name}.json", "--pyargs", "spacy_transformers.tests"]
    own = ("HF_", "TRANSFORMERS_", "HUGGINGFACE_", "PYTEST_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    env |= {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HERE)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def troubles(stock: dict, ours: dict) -> list[str]:
    """Compare what happened in each test; return a line per trouble."""
    found = []
    for kind, outcomes in (("stock", stock), ("ours", ours)):
        for name, test in outcomes.items():
            if test["outcome"] != "passed":
                found.append(f"{kind}: {name}: {test['outcome']}")
    found += [f"ran only once: {name}" for name in sorted(stock.keys() ^ ours.keys())]
    if len(stock) < MIN_TESTS:
        found.append(f"only {len(stock)} tests were found")
    known = {*PLACES, *PLACES.values()}
    n_with_layers = 0
    for name in stock.keys() & ours.keys():
        layers = {PLACES[layer] for layer in stock[name]["layers"] if layer in PLACES}
        n_with_layers += bool(layers)
        others = known.intersection(ours[name]["layers"])
        if others != layers:
            found.append(f"{name}: expected layers {layers}, but {others} ran")
    if n_with_layers < MIN_TESTS_WITH_LAYERS:
        found.append(f"only {n_with_layers} tests ran layers")
    return found


def main() -> None:
    """Run the tests of spacy-transformers with stock and with our layers."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_hub(folder / "hub")
        kinds = {"stock": [], "ours": ["--ours"]}
        runs = {kind: start(folder, kind, *kinds[kind]) for kind in kinds}
        outcomes = []
        for kind, run in runs.items():
            output, _ = run.communicate(timeout=900)
            path = folder / f"{kind}.json"
            if not path.exists():
                sys.exit(f"error: the tests with {kind} did not end:\n{output}")
            outcomes.append(json.loads(path.read_text(encoding="utf8")))
    if found := troubles(*outcomes):
        sys.exit("\n".join(["error: tests of spacy-transformers:", *found]))
    print(f"{len(outcomes[0])} tests of spacy-transformers pass with stock and ours")
