"""Fixtures, the hypothesis profile and the order of the tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import spacy
from hypothesis import HealthCheck, settings
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vectors import Vectors
from thinc.api import Config, get_current_ops, set_current_ops

from .helpers.checkout import ROOT

# A shell starts what runs in the background, such as `pytest &`, with SIGINT ignored;
# the commands that the tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The kernels are small: a slow example is the machine's doing, not theirs.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# For slow kernels, see stress/sanitizers.py.
settings.register_profile("few", settings.get_profile("default"), max_examples=15)
settings.load_profile("default")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow tests first, so that no worker ends alone with a long one."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def keep_ops() -> Iterator[None]:
    """Take back the backend that a test, or a config it trains, has chosen."""
    ops = get_current_ops()
    yield
    set_current_ops(ops)


@pytest.fixture
def root() -> Path:
    """Folder of the checkout."""
    return ROOT


@pytest.fixture
def nlp() -> Language:
    """Blank English pipeline with vectors, 6 wide, for six words."""
    nlp = spacy.blank("en")
    # A full table: its last row, which stands for -1 in numpy, is a word's.
    nlp.vocab.vectors = Vectors(
        strings=nlp.vocab.strings,
        data=numpy.random.default_rng(0).normal(size=(6, 6)).astype("f"),
        keys=["the", "cat", "sat", "mat", "on", "dog"],
    )
    return nlp


@pytest.fixture
def docs(nlp: Language) -> list[Doc]:
    """Docs with repeats, an empty doc, one token, odd Unicode."""
    texts = [
        "The cat sat on the mat. The cat sat.",
        "",
        "cat",
        "naïve café — 東京 🙂🙂 the  zebra\n\nA\u0301 \u200b x",
    ]
    return [nlp.make_doc(text) for text in texts]


@pytest.fixture
def offline_env() -> dict[str, str]:
    """Environment of a process that must not ask the hub."""
    return {**os.environ, "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """Config and folder of a finished pretraining run; copy the folder to change it."""
    from .helpers.pretraining_runs import make_config, run, sample_texts, write_jsonl

    folder = tmp_path_factory.mktemp("pretrained")
    config = make_config(write_jsonl(folder / "raw.jsonl", sample_texts()))
    run(config, folder / "out")
    return config, folder / "out"
