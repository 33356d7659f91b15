"""The two function registries that spaCy itself lacks."""

import catalogue
from spacy.util import registry


def ensure_registries() -> None:
    """Make `span_getters` and `annotation_setters` known to spaCy's registry.

    spacy-transformers defines both on import. Defining them here too lets a config
    name them where it is not installed; the two definitions share one namespace,
    so the order of the imports does not matter. The function is declared as a
    `spacy_factories` entry point because spaCy imports all of those whenever it
    makes an `nlp` object, which is how this runs without being imported by hand.
    """
    for name in ("span_getters", "annotation_setters"):
        if not hasattr(registry, name):
            setattr(registry, name, catalogue.create("spacy", name, entry_points=True))
