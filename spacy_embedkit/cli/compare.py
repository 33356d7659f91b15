"""`spacy embedkit compare`: train variants of a config and report the differences."""

from pathlib import Path
from typing import Annotated, List, Optional

import typer


def compare(
    plan: Annotated[
        Path,
        typer.Argument(
            help="TOML file: config, train, dev, test, seeds, [[variants]] with name, "
            "init_tok2vec, overrides, [[amounts]] with docs, [[contributions]]."
        ),
    ],
    out_dir: Annotated[Path, typer.Argument(help="Folder for results and report.")],
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", min=1, help="Trials at a time, one thread each."),
    ] = 1,
    max_minutes: Annotated[
        Optional[float], typer.Option(min=0, help="Start no trial after that.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Pattern of the trials to run: VARIANT-DOCS-SEED.")
    ] = "*",
    only_report: Annotated[
        bool, typer.Option("--only-report", help="Train nothing; report what is done.")
    ] = False,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep the best model of each trial.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-F", help="Run trials again that were made with other settings."
        ),
    ] = False,
    changes: Annotated[
        Optional[List[str]],
        typer.Option("--set", metavar="KEY=VALUE", help="Change the plan: seeds=2."),
    ] = None,
) -> None:
    """Train variants of a config, and report the differences.

    Each variant, amount of annotation and seed is a trial of its own, chosen by dev and
    scored on test once. Finished trials are not repeated.
    """
    from ..checks import InputError
    from ..experiments.comparison_report import write_report
    from ..experiments.engine import run_plan
    from ..experiments.plan_file import read_plan
    from ..experiments.results import read_outcome

    read = read_plan(plan, changes or [])
    if only_report:
        outcome = read_outcome(read, out_dir)
    else:
        outcome = run_plan(
            read,
            out_dir,
            jobs=jobs,
            max_minutes=max_minutes,
            only=only,
            keep_models=keep_models,
            force=force,
        )
    print(write_report(read, outcome, out_dir))
    print(f"{out_dir}: report.html, report.md, report.json")
    if outcome.failed:
        names = ", ".join(sorted(outcome.failed))
        raise InputError(
            f"{len(outcome.failed)} trials failed: {names}; fix the cause "
            "above, and run again"
        )
