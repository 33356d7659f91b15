"""`spacy embedkit pretrain`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

ENDS = {
    "epochs": "done",
    "patience": "done: the held-out loss no longer falls",
    "time": "done: the time is up",
}
# What shells give to a command that was stopped.
STOPPED = 130


def pretrain(
    ctx: typer.Context,
    config_path: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            exists=True,
            dir_okay=False,
            allow_dash=True,
            help="Config with a block [pretraining]; - is stdin.",
        ),
    ],
    output_dir: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    code_path: Annotated[
        Optional[Path],
        typer.Option("--code", "-c", help="Python file with registered functions."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", "-r", help="Go on with the run in OUT, if any."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run in OUT.")
    ] = False,
    max_minutes: Annotated[
        Optional[float],
        typer.Option(help="Time before it ends; that of resumed parts counts.", min=0),
    ] = None,
    use_gpu: Annotated[int, typer.Option("--gpu-id", "-g", help="GPU; -1: CPU.")] = -1,
) -> None:
    """Pretrain the tok2vec layer of a config on raw text.

    Settings of the config are overridden as in spacy pretrain: --paths.raw_text FILE.
    """
    from spacy.cli._util import (
        import_code,
        parse_config_overrides,
        setup_gpu,
        show_validation_error,
    )
    from spacy.util import load_config

    from ..checks import InputError
    from ..pretraining.run.command import pretrain as run
    from ..pretraining.run.run_settings import BLOCK

    if resume and force:
        raise InputError("--resume goes on with a run, --force replaces it; give one")
    overrides = parse_config_overrides(ctx.args)
    import_code(code_path)
    setup_gpu(use_gpu)
    # The block may be missing in the file.
    own = {name: overrides.pop(name) for name in [*overrides] if name.startswith(BLOCK)}
    if max_minutes is not None:
        own[f"{BLOCK}.max_minutes"] = max_minutes
    with show_validation_error(config_path):
        config = load_config(config_path, overrides=overrides, interpolate=False)
        for name, value in own.items():
            block = config.setdefault("embedkit", {}).setdefault("pretrain", {})
            block[name.removeprefix(f"{BLOCK}.")] = value
        reason = run(
            config,
            output_dir,
            use_gpu=use_gpu,
            resume=resume,
            force=force,
            say=typer.echo,
        )
    if reason == "signal":
        typer.echo(f"stopped; --resume goes on with {output_dir}")
        raise typer.Exit(STOPPED)
    typer.echo(f"{ENDS[reason]}: {output_dir}")
