"""Builds the Cython kernels. All metadata is in setup.cfg."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

# EMBEDKIT_CHECKED=1 builds kernels that raise on an index out of bounds.
CHECKED = os.environ.get("EMBEDKIT_CHECKED") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": CHECKED,
    "cdivision": True,
    "freethreading_compatible": True,
}
# Debug symbols, which Python's own flags often ask for, are nine tenths of a module.
FLAGS = [] if os.name == "nt" else ["-O3", "-g" if CHECKED else "-g0"]
LINK_FLAGS: list[str] = []
# EMBEDKIT_SANITIZE=address,undefined, or one of them, builds kernels that gcc or clang
# watch, see stress/sanitizers.py. Python's own -fwrapv would hide signed overflow.
if SANITIZE := os.environ.get("EMBEDKIT_SANITIZE", ""):
    LINK_FLAGS = [f"-fsanitize={SANITIZE}"]
    FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-wrapv", *LINK_FLAGS]
    if "undefined" in SANITIZE:
        FLAGS.append("-fsanitize=float-cast-overflow")


def extension(name: str, language: str) -> Extension:
    """Describe one module of compiled code."""
    return Extension(
        f"spacy_embedkit.{name}",
        [f"spacy_embedkit/{name.replace('.', '/')}.pyx"],
        language=language,
        extra_compile_args=FLAGS,
        extra_link_args=LINK_FLAGS,
    )


setup(
    ext_modules=cythonize(
        [
            extension("_ops", "c"),
            extension("vectors._lookup", "c"),
            extension("vectors.sources._parse", "c"),
            extension("layers._window", "c"),
            extension("components._decode", "c"),
            extension("_blas", "c++"),
        ],
        compiler_directives=DIRECTIVES,
        force=CHECKED,
    )
)
