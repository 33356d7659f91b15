"""Print the annotation of each token of a text file: PIPELINE FILE."""

import sys
from pathlib import Path

import spacy

nlp = spacy.load(sys.argv[1])
for doc in nlp.pipe(Path(sys.argv[2]).read_text(encoding="utf8").splitlines()):
    for token in doc:
        print(repr(token.text), token.tag_, token.morph, token.head.i, token.dep_)
