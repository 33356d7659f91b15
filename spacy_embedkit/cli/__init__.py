"""`python -m spacy embedkit ...`: commands that spaCy finds by entry point.

Every spacy command imports this, so heavy modules are imported inside the commands.
"""

import functools
import sys
from typing import Callable, Dict, TypeVar

import typer
from spacy.cli import app

from ..checks import InputError, one_line
from ..io import describe_os_error
from .compare import compare
from .convert_vectors import convert
from .distil import distil
from .init_config import init
from .interrupts import STOPPED, interruptible
from .learn_vectors import distill, learn
from .pretrain import pretrain
from .query_vectors import info, similar
from .save_transformer import save_transformer

Command = TypeVar("Command", bound=Callable[..., None])


# What an interrupted command leaves, and how to go on.
LEFT: Dict[str, str] = {
    "compare": "finished trials are kept; run the same command to go on",
    "distil": "finished steps are kept; run the same command to go on",
    "info": "nothing was written",
    "init": "nothing was written",
    "similar": "nothing was written",
}
OTHERS_LEFT = "the output folder is as it was before; run the same command again"


def one_line_errors(command: Command) -> Command:
    """Make a command exit with one line and status 1 on errors that users can fix.

    On Ctrl-C and SIGTERM it says what is left, and exits with status 130.
    """
    left = f"interrupted; {LEFT.get(command.__name__, OTHERS_LEFT)}"

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        # Names of files need not be texts that the terminal can show.
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            # Pretraining ends an update and saves before it stops.
            saves = command in (pretrain, distil)
            with interruptible(None if saves else left):
                command(*args, **kwargs)
        except (InputError, ImportError) as err:
            _fail(str(err), 1)
        except OSError as err:
            _fail(describe_os_error(err), 1)
        except MemoryError as err:
            _fail(f"not enough memory ({one_line(err)}); is the input damaged?", 1)
        except KeyboardInterrupt:
            _fail(left, STOPPED)

    return run  # type: ignore[return-value]


def _fail(text: str, status: int) -> None:
    print(f"error: {text}", file=sys.stderr)
    sys.exit(status)


embedkit_cli = typer.Typer(
    name="embedkit", help="Commands of spacy-embedkit.", no_args_is_help=True
)
vectors_cli = typer.Typer(
    name="vectors",
    help="Word vectors: convert, learn, distill, inspect.",
    no_args_is_help=True,
)
for _command in (convert, learn, distill, info, similar):
    vectors_cli.command(_command.__name__)(one_line_errors(_command))
embedkit_cli.add_typer(vectors_cli)
# Overrides of settings are options that typer does not know.
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}
embedkit_cli.command("pretrain", context_settings=OVERRIDES)(one_line_errors(pretrain))
embedkit_cli.command("distil", context_settings=OVERRIDES)(one_line_errors(distil))
embedkit_cli.command("init")(one_line_errors(init))
embedkit_cli.command("compare")(one_line_errors(compare))
embedkit_cli.command("save-transformer")(one_line_errors(save_transformer))
app.add_typer(embedkit_cli)
