"""`python -m spacy embedkit ...`: commands that spaCy finds by entry point.

Every spacy command imports this, so what is heavy is imported by the command it is for.
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
    """Let a command end with one line and status 1 on a trouble that users can mend."""

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        try:
            command(*args, **kwargs)
        except (InputError, ImportError) as err:
            _fail(str(err))
        except OSError as err:
            _fail(describe_os_error(err))
        except KeyboardInterrupt:
            _fail("stopped; nothing was changed")

    return run  # type: ignore[return-value]


def _fail(text: str) -> None:
    sys.exit(f"error: {text}")


embedkit_cli = typer.Typer(
    name="embedkit", help="Commands of spacy-embedkit.", no_args_is_help=True
)
vectors_cli = typer.Typer(
    name="vectors",
    help="Word vectors: convert, learn, distill, and look at them.",
    no_args_is_help=True,
)
for _command in (convert, learn, distill, info, similar):
    vectors_cli.command(_command.__name__)(one_line_errors(_command))
embedkit_cli.add_typer(vectors_cli)
# Overrides of settings are options that typer doesn't know.
embedkit_cli.command(
    "pretrain",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(one_line_errors(pretrain))
embedkit_cli.command("compare")(one_line_errors(compare))
embedkit_cli.command("save-transformer")(one_line_errors(save_transformer))
app.add_typer(embedkit_cli)
