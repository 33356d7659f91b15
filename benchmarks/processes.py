"""Running commands and measuring what they took."""

import os
import subprocess
import sys
from dataclasses import dataclass

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES}


@dataclass
class Usage:
    """What a process took: seconds of CPU time, and its largest memory in MB."""

    cpu: float
    peak: float


def run_python(*args: str) -> Usage:
    """Run `python ARGS` on one thread; RuntimeError with its errors if it fails."""
    process = subprocess.Popen(
        [sys.executable, *args],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{args}: {errors.decode('utf8', 'replace')[-2000:]}")
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
