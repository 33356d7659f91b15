"""A run that is killed at any moment, again and again, ends as if it never was."""

import os
import random
import sys
import time

from thinc.api import Config

from .helpers.pretraining_runs import result_of, run
from .helpers.processes import exit_code, start_process

N_KILLS = 12


def _run(config, folder):
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    run(Config().from_bytes(config, interpolate=False), folder, resume=True)


def test_kills_at_random_moments_change_nothing(tmp_path, pretrained):
    config, done = pretrained

    def start():
        return start_process(_run, config.to_bytes(), folder)

    folder, moments, n_kills = tmp_path / "timed", random.Random(0), 0
    assert exit_code(start()) == 0  # Starts the process that the others come from.
    began = time.monotonic()
    folder = tmp_path / "timed again"
    process = start()
    assert exit_code(process) == 0
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
    assert exit_code(start()) == 0
    assert result_of(folder) == result_of(done)
