"""`spacy embedkit pretrain-report`: what pretrained weights are worth."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def pretrain_report(
    grid: Annotated[
        Path,
        typer.Argument(
            help="TOML file: config, train, dev, test, seeds, [[amounts]] with docs, "
            "[[weights]] with name and init_tok2vec; overrides for each."
        ),
    ],
    out_dir: Annotated[Path, typer.Argument(help="Folder for results and report.")],
    workers: Annotated[
        int, typer.Option(min=1, help="Runs at a time, each of one thread.")
    ] = 1,
    max_minutes: Annotated[
        Optional[float], typer.Option(min=0, help="Start no run after that.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Pattern of the cells to run: WEIGHTS-DOCS-SEED.")
    ] = "*",
    only_report: Annotated[
        bool, typer.Option("--only-report", help="Train nothing; report what is done.")
    ] = False,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep the best model of each run.")
    ] = False,
) -> None:
    """Train a config with and without pretrained weights, and report the difference.

    Each weights, amount of annotation and seed is a run of its own, chosen by dev and
    scored on test once; its result is a file, and what is there is not done again.
    """
    from ..checks import InputError
    from ..experiments.comparison import write_report
    from ..experiments.engine import read_grid_results, run_grid
    from ..experiments.plan import read_grid

    plan = read_grid(grid)
    if only_report:
        outcome = read_grid_results(plan, out_dir)
    else:
        outcome = run_grid(
            plan,
            out_dir,
            workers=workers,
            max_minutes=max_minutes,
            only=only,
            keep_models=keep_models,
        )
    print(write_report(plan, outcome, out_dir))
    if outcome.failed:
        raise InputError(
            f"{len(outcome.failed)} cells failed: {', '.join(sorted(outcome.failed))}; "
            "mend what is said above, and run again"
        )
