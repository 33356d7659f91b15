"""Fuzzing of everything that reads a file: `python -m stress fuzz`.

A reader takes bytes, and either refuses them with one documented line or reads what is
in them. What it does instead is a finding: a crash, a hang, memory far beyond the size
of the input, another exception, or a number that a plain reading does not give.
"""
