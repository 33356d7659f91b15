"""`spacy embedkit distil`: from a slow pipeline to a fast one."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def distil(
    ctx: typer.Context,
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER", help="Folder or package of the slow pipeline."
        ),
    ],
    raw: Annotated[
        str,
        typer.Argument(
            metavar="RAW",
            help="Raw text of the kind that the fast one is for: text, JSONL or "
            "Parquet; a folder, or a pattern in quotes.",
        ),
    ],
    out_dir: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder for the fast one and the report."),
    ],
    train: Annotated[
        Path, typer.Option(help="Annotated documents, .spacy file or folder.")
    ],
    dev: Annotated[Path, typer.Option(help="The same, to choose by and to score on.")],
    test: Annotated[
        Optional[Path], typer.Option(help="The same, to score on at the end.")
    ] = None,
    config: Annotated[
        Optional[Path],
        typer.Option(
            "--config",
            "-c",
            help="Config of the fast one.",
            show_default="the components of TEACHER on a small network",
        ),
    ] = None,
    docs: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="Training documents, the first ones.", show_default="all"
        ),
    ] = None,
    epochs: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            help="Passes over RAW.",
            show_default="20, or as many as 10 million words take",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings, to see how much they differ.")
    ] = 1,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", min=1, help="Trainings at a time, a thread each."),
    ] = 1,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline/--no-baseline", help="Train it without TEACHER too, to compare."
        ),
    ] = True,
    package: Annotated[
        Optional[str],
        typer.Option("--package", metavar="NAME", help="Build a wheel of this name."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-F", help="Do again what was done of other inputs or settings."
        ),
    ] = False,
) -> None:
    """From a slow pipeline to a fast one, which learns from it.

    The fast one's tok2vec is pretrained on the token vectors that the slow one's
    transformer gives for RAW, then trained on --train. OUT/report.html says what that
    brought, OUT/model-best is the result. Settings of the fast one are overridden as in
    spacy train: --training.max_steps 1000. Run the same command to go on.
    """
    from spacy.cli._util import parse_config_overrides

    from ..distillation.distilling import distil as run
    from ..distillation.request import Request

    request = Request(
        teacher=teacher,
        raw=raw,
        train=train,
        dev=dev,
        test=test,
        config=config,
        overrides=parse_config_overrides(ctx.args),
        docs=docs,
        epochs=epochs,
        seeds=seeds,
        jobs=jobs,
        baseline=baseline,
        force=force,
    )
    print(run(request, out_dir, typer.echo))
    print(f"{out_dir}: model-best, report.html, report.md, report.json")
    if package is None:
        print(f'Next: nlp = spacy.load("{out_dir / "model-best"}")')
    else:
        from ..distillation.packaging import build_wheel

        wheel = build_wheel(out_dir, package)
        print(f"Next: pip install {wheel}")
