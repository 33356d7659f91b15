"""A fresh process without the optional packages, installed or not."""

# Makes a fresh process see an environment without the named distributions.
HIDE = """
import importlib.metadata as metadata, sys
hidden = {"spacy-transformers", "transformers", "torch", "cupy-cuda12x"}
find = metadata.distributions
metadata.distributions = lambda **context: [
    d for d in find(**context) if d.metadata["Name"] not in hidden
]
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in {"spacy_transformers", "transformers", "torch", "cupy"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
