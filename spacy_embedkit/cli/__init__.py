"""`python -m spacy embedkit ...`: commands that spaCy finds by entry point.

Every spacy command imports this, so heavy modules are imported inside the commands.
"""

import functools
import sys
from typing import Callable, TypeVar

import typer
from spacy.cli import app

from ..checks import InputError
from ..io import describe_os_error
from .compare import compare
from .convert_vectors import convert
from .learn_vectors import distill, learn
from .pretrain import pretrain
from .query_vectors import info, similar
from .save_transformer import save_transformer

Command = TypeVar("Command", bound=Callable[..., None])


def one_line_errors(command: Command) -> Command:
    """Make a command exit with one line and status 1 on errors that users can fix.

    Ctrl-C exits with status 130, as the shell expects.
    """

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        try:
            command(*args, **kwargs)
        except (InputError, ImportError) as err:
            _fail(str(err), 1)
        except OSError as err:
            _fail(describe_os_error(err), 1)
        except KeyboardInterrupt:
            _fail("interrupted", 130)

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
embedkit_cli.command(
    "pretrain",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(one_line_errors(pretrain))
embedkit_cli.command("compare")(one_line_errors(compare))
embedkit_cli.command("save-transformer")(one_line_errors(save_transformer))
app.add_typer(embedkit_cli)
