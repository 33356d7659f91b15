"""Downloads one wheel by pip, checks its hash and keeps the file; installs nothing."""

import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from common import ProjectError, check_sha256, parser_for, run_main, whole_output


def download(requirement: str, folder: Path) -> Path:
    """Let pip download a wheel, without its dependencies, into an empty folder."""
    # Only wheels: to look at a source distribution pip would run its code.
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
        reason = lines[-1] if lines else f"pip ended with status {result.returncode}"
        raise ProjectError(f"could not download {requirement}: {reason}")
    [wheel] = folder.glob("*.whl")
    return wheel


def fetch(requirement: str, digest: str, target: Path) -> None:
    """Make sure that target is the wheel with this hash."""
    if target.is_file():
        check_sha256(target, digest)
        print(f"{target}: already here, hash checked")
        return
    with whole_output(target) as partial, tempfile.TemporaryDirectory() as folder:
        wheel = download(requirement, Path(folder))
        check_sha256(wheel, digest)
        shutil.copyfile(wheel, partial)
    print(f"{target}: downloaded, hash checked")


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("requirement", help="name==version on the package index")
    add("digest", help="sha256 of the wheel")
    add("target", type=Path, help="file to keep")
    add("--need", type=Path, action="append", default=[], help="file to be there too")
    add("--hint", default="", help="where a needed file comes from")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    for path in args.need:
        if not path.is_file():
            raise ProjectError(f"{path}: no such file; {args.hint}")
    print(f"fetching {args.requirement}")
    fetch(args.requirement, args.digest, args.target)


if __name__ == "__main__":
    run_main(main)
