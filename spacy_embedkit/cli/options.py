"""Options that several commands share, and what they may be."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, List, Optional

import typer


class Store(StrEnum):
    """How rows are stored."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"
    pq = "pq"


class Mode(StrEnum):
    """Whether rows belong to words or to n-grams."""

    default = "default"
    floret = "floret"


class Keys(StrEnum):
    """Which forms of a word have its row."""

    as_is = "as-is"
    forms = "forms"


class Duplicates(StrEnum):
    """What happens to a word that comes up again."""

    error = "error"
    first = "first"
    mean = "mean"


class Unseen(StrEnum):
    """What words without a row get."""

    zeros = "zeros"
    mean = "mean"
    subwords = "subwords"


class Algorithm(StrEnum):
    """What vectors are learned by."""

    floret = "floret"
    fasttext = "fasttext"
    word2vec = "word2vec"


class NetworkModel(StrEnum):
    """What is guessed from what."""

    cbow = "cbow"
    skipgram = "skipgram"


class How(StrEnum):
    """How a transformer sees a word."""

    isolated = "isolated"
    contexts = "contexts"


class Weighting(StrEnum):
    """Length of a row by the frequency of its word."""

    none = "none"
    sif = "sif"
    zipf = "zipf"


Raw = Annotated[
    List[str],
    typer.Argument(
        help="Raw text: JSONL with a key text, or lines; also gz; - is stdin."
    ),
]
OutDir = Annotated[Path, typer.Argument(help="Folder to write, which spaCy loads.")]
Lang = Annotated[str, typer.Option("--lang", "-l", help="Language code of the folder.")]
TextLang = Annotated[
    str,
    typer.Option("--lang", "-l", help="Language code, or a pipeline: its tokenizer."),
]
Name = Annotated[Optional[str], typer.Option("--name", "-n", help="Name of the table.")]
Attr = Annotated[
    Optional[str],
    typer.Option(
        "--attr", "-a", help="Token attribute that is looked up.", show_default="ORTH"
    ),
]
DType = Annotated[
    Store,
    typer.Option(help="float16 halves the table, int8 quarters it, pq takes 6%."),
]
Unknown = Annotated[
    Optional[Unseen],
    typer.Option(
        "--unseen",
        help="What words without a row get.",
        show_default="subwords if the table has any, else zeros",
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads.")]
