"""A run that is killed at any moment, again and again, ends as if it never was."""

import multiprocessing
import os
import random
import sys
import time

import pytest

from .helpers.pretraining_runs import (
    make_config,
    own,
    result_of,
    run,
    sample_texts,
    write_jsonl,
)

N_KILLS = 20
MAX_SECONDS = 120

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="processes are started by a fork server"
)


@pytest.fixture(scope="module")
def server():
    """Starts processes that have imported spaCy, in no time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.pretraining_warm"])
    with pytest.MonkeyPatch.context() as patch:
        # The server finds what it imports by this alone.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process = context.Process(target=print)
        process.start()
        process.join()
    return context


def start(server, config, folder, **options):
    process = server.Process(target=_run, args=(config.to_bytes(), folder, options))
    process.start()
    return process


def _run(config, folder, options):
    from thinc.api import Config

    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    run(Config().from_bytes(config, interpolate=False), folder, **options)


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path, server):
    corpus = write_jsonl(tmp_path / "raw.jsonl", sample_texts(50))
    settings = {"pretraining__max_epochs": 4, **own(report=True, eval_every=400)}
    config = make_config(corpus, **settings)
    began = time.monotonic()
    whole = start(server, config, tmp_path / "whole")
    whole.join(MAX_SECONDS)
    assert whole.exitcode == 0
    seconds = time.monotonic() - began
    folder, moments, n_kills, n_ends = tmp_path / "killed", random.Random(0), 0, 0
    while n_kills < N_KILLS:
        process = start(server, config, folder, resume=True)
        process.join(moments.uniform(0, 0.6) * seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            n_kills += 1
            continue
        assert process.exitcode == 0
        assert result_of(folder) == result_of(tmp_path / "whole")
        n_ends += 1
        folder = tmp_path / f"killed{n_ends}"
    process = start(server, config, folder, resume=True)
    process.join(MAX_SECONDS)
    assert process.exitcode == 0
    assert result_of(folder) == result_of(tmp_path / "whole")
