"""`spacy embedkit init`: a config that trains, from what the user has."""

from pathlib import Path
from typing import Annotated, List, Optional

import typer

from ..recipes.answers import RecipeName

STDOUT = "-"


def init(
    output: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", allow_dash=True, help="Config to write; - for stdout."
        ),
    ],
    lang: Annotated[
        Optional[str],
        typer.Option(
            "--lang", "-l", help="Language code.", show_default="that of --vectors"
        ),
    ] = None,
    pipeline: Annotated[
        str,
        typer.Option(
            "--pipeline",
            "-p",
            help="Components, with commas, without tok2vec or transformer.",
            show_default="what --train is annotated with",
        ),
    ] = "",
    recipe: Annotated[
        RecipeName,
        typer.Option(
            "--recipe",
            "-r",
            help="accelerate: stock layers, faster. small: a better embedding. "
            "pretrained: on raw text. distilled: from a transformer. large: a larger "
            "network at stock's speed. transformer: fine-tuned. "
            "auto: as the files suggest.",
        ),
    ] = "auto",
    train: Annotated[
        Optional[Path],
        typer.Option(help="Annotated documents: .spacy file, or a folder of them."),
    ] = None,
    dev: Annotated[
        Optional[Path], typer.Option(help="The same, to choose the best model by.")
    ] = None,
    raw: Annotated[
        Optional[List[str]],
        typer.Option(help="Raw text, to pretrain on; several: --raw A --raw B."),
    ] = None,
    vectors: Annotated[
        Optional[str],
        typer.Option(help="Word vectors: pipeline, or a file to convert."),
    ] = None,
    transformer: Annotated[
        Optional[str],
        typer.Option(help="Folder, name on the hub, or pipeline that has one."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="That pretraining takes, on one core, roughly.")
    ] = 30.0,
    existing: Annotated[
        Optional[Path],
        typer.Option(
            "--from", help="Config to move over: its stock layers become ours."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Replace CONFIG.")
    ] = False,
) -> None:
    """Write a config that trains, say what was chosen and why, and what to run next.

    It looks at the files that are given: which components the documents are annotated
    for, how large they are, how much raw text there is. With --from, it moves a config
    over to the layers of this package, which load the same weights, and lists each
    change.
    """
    from ..recipes.answers import Answers
    from ..recipes.writing import check_output_file, from_existing, from_recipe

    path = None if str(output) == STDOUT else output.expanduser()
    check_output_file(path, force)
    answers = Answers(
        config=path,
        recipe=recipe,
        lang=lang,
        pipeline=[name.strip() for name in pipeline.split(",") if name.strip()],
        train=train,
        dev=dev,
        raw=raw or [],
        vectors=vectors,
        transformer=transformer,
        minutes=minutes,
    )
    if existing is None:
        text, said = from_recipe(answers)
    else:
        text, said = from_existing(answers, existing)
    if path is None:
        typer.echo(text, nl=False)
    else:
        from ..io import write_atomic

        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    # Standard output holds the config alone.
    typer.echo(said, err=path is None)
