"""Command line of the stress tests."""

import typer

from . import sanitizers
from .peers import command as peers

app = typer.Typer(
    name="python -m stress",
    help="Try to break the package: each command is one harness.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("peers")(peers.main)
app.command("sanitizers")(sanitizers.main)


@app.callback()
def stress() -> None:
    """Keep the name of the command where there is only one."""


if __name__ == "__main__":
    app()
