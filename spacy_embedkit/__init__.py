"""Embedding layers, span getters, annotation setters and pretraining for spaCy.

Everything is reached by its registered name in config.cfg; importing this
package is not needed. See the table in README.md.
"""

from importlib.metadata import version

from .acceleration import accelerate
from .backend import use_fast_ops
from .registries import ensure_registries

__all__ = ["__version__", "accelerate", "use_fast_ops"]
__version__: str = version("spacy-embedkit")

ensure_registries()
