"""Command line of the stress tests."""

import typer

from . import decoders, sanitizers
from .differential import command as differential
from .faults import harness as faults
from .fuzz import command as fuzz
from .peers import command as peers

app = typer.Typer(
    name="python -m stress",
    help="Try to break the package: each command is one harness.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("peers")(peers.main)
app.command("differential", epilog=differential.NAMES)(differential.main)
app.command("decoders")(decoders.main)
app.command("faults")(faults.main)
app.command("fuzz")(fuzz.main)
app.command("sanitizers")(sanitizers.main)


if __name__ == "__main__":
    app()
