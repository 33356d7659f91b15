"""Tests; importing them sets one thread per process, child processes included."""

import os

# The libraries read these when they are loaded; pytest -n starts a worker per core.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
