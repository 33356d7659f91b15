"""What the options of the commands may be."""

from enum import StrEnum
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


Coverage = Annotated[
    Optional[List[str]],
    typer.Option("--text", help="Raw text whose words are looked up; may be repeated."),
]
