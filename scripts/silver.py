"""Lets a pipeline annotate raw text, and puts the gold documents beside it.

The folder is for training a smaller pipeline: silver.spacy has the documents that the
pipeline annotated, gold.spacy those that people did.
"""

from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from common import parser_for, positive, read_source, run_main
from rawtext import read_jsonl
from threadpoolctl import threadpool_limits

from spacy_embedkit.checks import InputError
from spacy_embedkit.io import atomic_folder

# What the taggers and parsers of the project learn from.
ATTRS = ("ORTH", "SPACY", "TAG", "HEAD", "DEP")


def read_gold(nlp: Any, path: Path, limit: int | None) -> list[Any]:
    """Read the first documents of a .spacy file, or all."""
    from spacy.tokens import DocBin

    if not path.is_file():
        raise InputError(f"{path}: no such file; run the step that makes it first")
    return list(islice(DocBin().from_disk(path).get_docs(nlp.vocab), limit))


def annotate(nlp: Any, raw: str) -> Iterator[Any]:
    """Yield the documents of raw text as the pipeline annotates them."""
    from tqdm import tqdm

    texts = [
        text
        for name, content in read_source(raw)
        for _, text in read_jsonl(content, name)
        if text.strip()
    ]
    yield from tqdm(nlp.pipe(texts), "silver", len(texts), unit=" docs", mininterval=1)


def write(docs: Iterator[Any], path: Path) -> str:
    """Write documents to a .spacy file; return its name and size."""
    from spacy.tokens import DocBin

    # Without user data, where what a transformer gave would take most of the space.
    kept = DocBin(attrs=ATTRS)
    words = 0
    for doc in docs:
        if not (doc.has_annotation("TAG") and doc.has_annotation("DEP")):
            raise InputError(
                f"{path.name}: {doc.text[:40]!r} has no tags or no heads; give a "
                "pipeline with a tagger and a parser, and gold documents with both"
            )
        kept.add(doc)
        words += len(doc)
    kept.to_disk(path)
    return f"{path.name}: {len(kept)} documents, {words} words"


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("pipeline", type=Path, help="folder of a pipeline that tags and parses")
    add("raw", help="text to annotate, .jsonl")
    add("gold", type=Path, help=".spacy file of annotated documents")
    add("out", type=Path, help="folder to make")
    add("--docs", type=positive, help="gold documents, the first ones; all if left out")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    if not args.pipeline.is_dir():
        raise InputError(
            f"{args.pipeline}: no such folder; run the step that makes it first"
        )
    import spacy

    nlp = spacy.load(args.pipeline)
    # More threads add up in another order, and few labels would come out another way.
    with threadpool_limits(1), atomic_folder(args.out) as out:
        gold = read_gold(nlp, args.gold, args.docs)
        lines = [write(iter(gold), out / "gold.spacy")]
        lines.append(write(annotate(nlp, args.raw), out / "silver.spacy"))
    print("\n".join(lines))


if __name__ == "__main__":
    run_main(main)
