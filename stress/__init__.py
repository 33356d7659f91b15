"""Try to break the package: `python -m stress NAME`.

Each module is one harness: short in CI, and long on demand.
"""
