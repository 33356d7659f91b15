"""A run that is killed at any moment, again and again, ends as if it never was."""

import multiprocessing
import os
import random
import sys
import time

import pytest

from .helpers.pretraining_runs import result_of, run

N_KILLS = 12
MAX_SECONDS = 120


def _run(config, folder):
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    run(config, folder, resume=True)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_kills_at_random_moments_change_nothing(tmp_path, pretrained):
    config, done = pretrained

    def start():
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_run, args=(config, folder))
        process.start()
        return process

    folder, moments, n_kills = tmp_path / "timed", random.Random(0), 0
    began = time.monotonic()
    process = start()
    process.join(MAX_SECONDS)
    seconds = time.monotonic() - began
    while n_kills < N_KILLS:
        if process.exitcode == 0:
            assert result_of(folder) == result_of(done)
            folder = tmp_path / f"killed{n_kills}"
        process = start()
        process.join(moments.uniform(0.2, 0.9) * seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            n_kills += 1
        else:
            assert process.exitcode == 0
    process = start()
    process.join(MAX_SECONDS)
    assert process.exitcode == 0
    assert result_of(folder) == result_of(done)
