"""Benchmarks against the stock path: `python -m benchmarks NAME`."""

import os

# One thread. Read once, when numpy and blis are imported, which is after this.
for _name in ("OMP", "OPENBLAS", "MKL", "BLIS"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"
