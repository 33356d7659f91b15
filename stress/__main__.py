"""Command line of the stress tests."""

import typer

from . import peers
from .fuzz import command as fuzz

app = typer.Typer(
    name="python -m stress",
    help="Try to break the package: each command is one harness.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("peers")(peers.main)
app.command("fuzz")(fuzz.main)


@app.callback()
def stress() -> None:
    """Keep the name of the command where there is only one."""


if __name__ == "__main__":
    app()
