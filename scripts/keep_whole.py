"""Runs a command and keeps the file or folder it makes only if it succeeds.

Write OUT in the command where its output goes: it gets a name beside the target,
and the target takes its place once the command has ended well.
"""

import re
import subprocess
import sys
from argparse import REMAINDER, Namespace
from pathlib import Path
from typing import IO

from common import ProjectError, parser_for, run_main, whole_output

ERROR = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b", re.MULTILINE)


def relay(stream: IO[bytes]) -> str:
    """Pass on what a command reports, but not its traceback; return its error."""
    held, quiet = b"", False
    while block := stream.read1() if hasattr(stream, "read1") else stream.read(1):
        held = (held + block)[-20_000:]
        quiet = quiet or b"Traceback (most recent call last)" in held
        if not quiet:
            sys.stderr.buffer.write(block)
            sys.stderr.buffer.flush()
    text = held.decode("utf-8", "replace").replace("\r", "\n")
    starts = [match.start() for match in ERROR.finditer(text)]
    return " ".join(text[starts[-1] :].split())[:400] if starts else ""


def run(command: list[str]) -> None:
    """Run a command; its failure is one line that quotes its last one."""
    shown = " ".join(command)
    if command[0] == "python":
        command = [sys.executable, *command[1:]]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr
        try:
            error = relay(process.stderr)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        status = f"ended with status {process.returncode}; its message is above"
        raise ProjectError(f"{shown}: {error or status}")


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    parser.add_argument("--folder", action="store_true", help="make OUT a folder first")
    parser.add_argument("target", type=Path, help="file or folder to make")
    parser.add_argument("command", nargs=REMAINDER, help="-- command with OUT in it")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    command = [word for word in args.command if word != "--"]
    if not any("OUT" in word for word in command):
        raise ProjectError("the command has no OUT in it; write OUT where it writes")
    with whole_output(args.target) as out:
        if args.folder:
            out.mkdir()
        run([word.replace("OUT", str(out)) for word in command])
        if not out.exists():
            raise ProjectError(f"{' '.join(command)}: made no output")


if __name__ == "__main__":
    run_main(main)
