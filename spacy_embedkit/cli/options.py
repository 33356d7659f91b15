"""Options that several commands share, and the choices of each option."""

from pathlib import Path
from typing import Annotated, List, Literal, Optional

import typer

Precision = Literal["float32", "float16", "int8", "pq"]
TableMode = Literal["default", "floret"]
KeyForms = Literal["as-is", "forms"]
Duplicates = Literal["error", "first", "mean"]
Unseen = Literal["zeros", "mean", "subwords"]
Algorithm = Literal["floret", "fasttext", "word2vec"]
TrainingModel = Literal["cbow", "skipgram"]
WordContext = Literal["isolated", "contexts"]
Weighting = Literal["none", "sif", "zipf"]

Raw = Annotated[
    List[str],
    typer.Argument(
        help="Raw text: JSONL with a key text, or lines; also gz; - is stdin."
    ),
]
OutDir = Annotated[Path, typer.Argument(help="Folder to write, which spaCy loads.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace OUT_DIR, and delete all that it holds."),
]
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
DTypeOption = Annotated[
    Precision,
    typer.Option(help="float16 halves the table, int8 quarters it, pq takes 6%."),
]
UnseenOption = Annotated[
    Optional[Unseen],
    typer.Option(
        "--unseen",
        help="Vector of words without a row.",
        show_default="subwords if the table has any, else zeros",
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads.")]
