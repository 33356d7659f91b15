"""The text that the benchmarks run on."""

import json
from pathlib import Path

import spacy
import typer
from spacy.tokens import Doc

ROOT = Path(__file__).parents[1]
EWT = ROOT.parent / "shared" / "data" / "ud_english_ewt" / "en_ewt-ud-dev.conllu"
DEFAULT_TEXTS = EWT if EWT.exists() else ROOT / "assets" / "sample.conllu"


def load_docs(path: Path) -> list[Doc]:
    """Read one doc a sentence, tokenized as in the file where it says how."""
    if not path.is_file():
        raise typer.BadParameter(
            f"{path} is not a file; give --texts a .conllu or .jsonl file"
        )
    nlp = spacy.blank("en")
    lines = path.read_text(encoding="utf8").splitlines()
    if path.suffix == ".conllu":
        docs = [Doc(nlp.vocab, words=words) for words in read_conllu(lines)]
    else:
        docs = [nlp.make_doc(json.loads(line)["text"]) for line in lines if line]
    if not any(len(doc) for doc in docs):
        raise typer.BadParameter(f"{path} has no words; give another file")
    return docs


def read_conllu(lines: list[str]) -> list[list[str]]:
    """Return the syntactic words of each sentence."""
    sentences: list[list[str]] = [[]]
    for line in lines:
        columns = line.split("\t")
        if columns[0].isdigit():
            sentences[-1].append(columns[1])
        elif not line and sentences[-1]:
            sentences.append([])
    return [words for words in sentences if words]


def join_docs(sentences: list[Doc], n: int) -> list[Doc]:
    """Join each run of n sentences to one doc."""
    vocab = sentences[0].vocab
    return [
        Doc(vocab, words=[token.text for doc in sentences[i : i + n] for token in doc])
        for i in range(0, len(sentences), n)
    ]


def batches(docs: list[Doc], size: int) -> list[list[Doc]]:
    """Cut a list of docs into batches."""
    return [docs[i : i + size] for i in range(0, len(docs), size)]
