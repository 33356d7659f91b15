"""`spacy embedkit pretrain`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .interrupts import STOPPED


def pretrain(
    ctx: typer.Context,
    config_path: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            exists=True,
            dir_okay=False,
            allow_dash=True,
            help="Config with a pretraining block; - for stdin.",
        ),
    ],
    output_dir: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to write to.")
    ],
    code_path: Annotated[
        Optional[Path],
        typer.Option("--code", "-c", help="Python file with registered functions."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", "-r", help="Continue the run in OUT, if there is one."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run in OUT.")
    ] = False,
    max_minutes: Annotated[
        Optional[float],
        typer.Option(
            help="Time before the run ends, with its earlier parts; 0: no limit.",
            min=0,
        ),
    ] = None,
    use_gpu: Annotated[
        int, typer.Option("--gpu-id", "-g", help="GPU, or -1 for the CPU.")
    ] = -1,
) -> None:
    """Pretrain the tok2vec layer of a config on raw text.

    Settings are overridden as in spacy pretrain: --paths.raw_text FILE.
    On Ctrl-C the run is saved, and --resume continues it.
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
    from ..pretraining.run.run_folder import what_is_left
    from ..pretraining.run.run_settings import BLOCK

    if resume and force:
        raise InputError(
            "--resume continues a run and --force replaces it; give one of them"
        )
    # The shell leaves what follows an = as it is.
    output_dir = output_dir.expanduser()
    overrides = parse_config_overrides(ctx.args)
    import_code(code_path)
    setup_gpu(use_gpu)
    # load_config can't override settings of a block that the file does not have.
    own = {name: overrides.pop(name) for name in [*overrides] if name.startswith(BLOCK)}
    if max_minutes is not None:
        own[f"{BLOCK}.max_minutes"] = max_minutes
    with show_validation_error(config_path):
        try:
            config = load_config(config_path, overrides=overrides, interpolate=False)
        except UnicodeDecodeError as err:
            raise InputError(
                f"{config_path}: is not UTF-8 ({err.reason} at byte {err.start + 1}); "
                "convert it, or name a config"
            ) from err
        for name, value in own.items():
            block = config.setdefault("embedkit", {}).setdefault("pretrain", {})
            block[name.removeprefix(f"{BLOCK}.")] = value
        try:
            reason = run(
                config,
                output_dir,
                use_gpu=use_gpu,
                resume=resume,
                force=force,
                say=typer.echo,
            )
        except KeyboardInterrupt:
            typer.echo(f"Stopped at once; {what_is_left(output_dir)}.")
            raise typer.Exit(STOPPED) from None
    if reason == "signal":
        raise typer.Exit(STOPPED)
