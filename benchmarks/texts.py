"""The text that the benchmarks run on."""

import json
import os
from pathlib import Path

import spacy
import typer
from spacy.tokens import Doc
from spacy.training.converters import conllu_to_docs

ROOT = Path(__file__).parents[1]
# Folder of data sets that some benchmarks need.
DATA = Path(os.environ.get("EMBEDKIT_DATA", "data"))
DEFAULT_TEXTS = ROOT / "assets" / "sample.conllu"


def data_folder(name: str) -> Path:
    """Return the folder of a data set."""
    if not (DATA / name).is_dir():
        raise typer.BadParameter(
            f"{DATA / name} is not a folder; set the environment variable "
            f"EMBEDKIT_DATA to the folder that holds {name}"
        )
    return DATA / name


def load_docs(path: Path) -> list[Doc]:
    """Read one doc per sentence, with the tokens and annotation of the file, if any."""
    if not path.is_file():
        raise typer.BadParameter(
            f"{path} is not a file; give --texts a .conllu or .jsonl file"
        )
    nlp = spacy.blank("en")
    text = path.read_text(encoding="utf8")
    if path.suffix == ".conllu":
        gold = conllu_to_docs(text, n_sents=1, no_print=True)
        # In a vocabulary that knows norms and shapes.
        docs = [
            Doc(
                nlp.vocab,
                words=[token.text for token in doc],
                tags=[token.tag_ for token in doc],
                pos=[token.pos_ for token in doc],
                heads=[token.head.i for token in doc],
                deps=[token.dep_ for token in doc],
            )
            for doc in gold
        ]
    else:
        lines = filter(None, text.split("\n"))
        docs = [nlp.make_doc(json.loads(line)["text"]) for line in lines]
    if not any(len(doc) for doc in docs):
        raise typer.BadParameter(f"{path} has no words; give another file")
    return docs


def join_docs(sentences: list[Doc], n: int) -> list[Doc]:
    """Join each run of n sentences, and their annotation, to one doc."""
    runs = [sentences[i : i + n] for i in range(0, len(sentences), n)]
    return [doc for run in runs if (doc := Doc.from_docs(run)) is not None]


def batches(docs: list[Doc], size: int) -> list[list[Doc]]:
    """Cut a list of docs into batches."""
    return [docs[i : i + size] for i in range(0, len(docs), size)]
