"""`spacy embedkit vectors`, run in this process."""

from typer.testing import CliRunner

from spacy_embedkit.cli import vectors_cli


def run(*args, status=0, **kwargs):
    result = CliRunner().invoke(vectors_cli, [str(arg) for arg in args], **kwargs)
    assert result.exit_code == status, result.output
    return result.output
