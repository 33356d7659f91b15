"""A few docs, annotated for every component, and what can be learned from them."""

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

WORDS = ["The", "cat", "sat", ".", "Ada", "saw", "dogs", "in", "Paris", "."]
HEADS = [1, 2, 2, 2, 5, 5, 5, 5, 7, 5]
DEPS = ["det", "nsubj", "ROOT", "punct", "nsubj", "ROOT", "dobj", "prep", "pobj"]
TAGS = ["DT", "NN", "VB", ".", "NN", "VB", "NN", "IN", "NN", "."]
POS = ["DET", "NOUN", "VERB", "PUNCT", "NOUN", "VERB", "NOUN", "ADP", "NOUN", "PUNCT"]
LEMMAS = ["the", "cat", "sit", ".", "Ada", "see", "dog", "in", "Paris", "."]
N_DOCS = 12


def annotated(nlp: Language, category: str = "A", key: str = "sc") -> Doc:
    """A doc of two sentences with all annotation there is."""
    doc = Doc(
        nlp.vocab,
        words=WORDS,
        tags=TAGS,
        pos=POS,
        morphs=["Number=Sing"] * len(WORDS),
        lemmas=LEMMAS,
        heads=HEADS,
        deps=[*DEPS, "punct"],
    )
    doc.ents = [Span(doc, 4, 5, "PERSON"), Span(doc, 8, 9, "PLACE")]
    doc.spans[key] = [Span(doc, 0, 2, "NP"), Span(doc, 4, 5, "NAME")]
    doc.cats = {name: float(name == category) for name in "AB"}
    return doc


def make_examples(nlp: Language) -> list[Example]:
    """Examples for every component."""
    docs = [annotated(nlp, "AB"[i % 2]) for i in range(N_DOCS)]
    return [Example(Doc(nlp.vocab, words=WORDS), doc) for doc in docs]


def write_docs(path: Path, key: str = "sc", lang: str = "en") -> Path:
    """Write the docs to a .spacy file."""
    nlp = spacy.blank(lang)
    docs = [annotated(nlp, "AB"[i % 2], key) for i in range(N_DOCS)]
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path
