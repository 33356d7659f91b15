"""Command line of the fuzzing: a process for each reader, a new one after a crash."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Dict, List, Optional, Set

import typer
from tqdm import tqdm

from .child import SHARED_MEMORY, find_atheris
from .judge import read_tally
from .readers import NAMES

DEFAULT_RUNS = 1000
# A process that neither crashed nor finished.
GRACE_SECONDS = 180
MAX_CRASHES = 10


@dataclass
class Result:
    """What became of a reader. findings: Lines, by the file of the input."""

    reader: str
    executions: int = 0
    accepted: int = 0
    seconds: float = 0.0
    crashes: int = 0
    findings: Dict[Path, str] = field(default_factory=dict)


def main(
    readers: Annotated[
        Optional[List[str]], typer.Argument(help="Of --list; all if left out.")
    ] = None,
    runs: Annotated[
        int, typer.Option(help=f"Executions of each reader; {DEFAULT_RUNS} by default.")
    ] = 0,
    minutes: Annotated[
        float, typer.Option(help="Wall-clock time in all, instead of runs.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the changes.")] = 1,
    jobs: Annotated[int, typer.Option(help="Processes at a time.")] = 1,
    findings: Annotated[
        Path, typer.Option(help="Folder for inputs that were findings.")
    ] = Path("findings"),
    corpus: Annotated[
        Optional[Path],
        typer.Option(help="Folder that keeps inputs which reached new lines."),
    ] = None,
    input: Annotated[
        Optional[Path], typer.Option(help="Run one reader on this file alone.")
    ] = None,
    list_readers: Annotated[
        bool, typer.Option("--list", help="List the readers.")
    ] = False,
) -> None:
    r"""Feed damaged and hostile files to everything that reads one.

    With atheris (pip install 'spacy-embedkit\[fuzz]') coverage guides the changes;
    without it, valid files are changed at random. A finding is a crash, a hang, memory
    far beyond the input's size, an exception that is not documented, or another number
    than a plain reading of the same bytes gives. Exits with 1 if there is any.
    """
    if list_readers:
        typer.echo("\n".join(NAMES))
        return
    wanted = readers or [*NAMES]
    unknown = sorted({*wanted} - {*NAMES})
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}; known are {', '.join(NAMES)}")
    if input is not None:
        command = [sys.executable, "-m", "stress.fuzz.child", wanted[0]]
        sys.exit(subprocess.run([*command, "--input", str(input)]).returncode)
    seconds = max(5, int(60 * minutes * jobs / len(wanted))) if minutes else 0
    limits = {"runs": 0 if seconds else runs or DEFAULT_RUNS, "seconds": seconds}
    how = "guided by coverage" if find_atheris() else "at random, without atheris"
    typer.echo(f"fuzz: {len(wanted)} readers, {how}, seed {seed}")
    with ThreadPoolExecutor(jobs) as pool:
        futures = [
            pool.submit(fuzz_reader, name, limits, seed, findings, corpus)
            for name in wanted
        ]
        results = [f.result() for f in tqdm(futures, unit=" readers", disable=None)]
    report(results)
    sys.exit(any(result.findings for result in results))


def fuzz_reader(
    name: str, limits: Dict[str, int], seed: int, findings: Path, corpus: Optional[Path]
) -> Result:
    """Fuzz one reader, in one process after another where it crashes."""
    result = Result(name)
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    work = Path(mkdtemp(prefix="fuzz-", dir=place))
    kept = work / "corpus" if corpus is None else corpus / name
    begin, left = time.monotonic(), dict(limits)
    started = time.time()
    try:
        kept.mkdir(parents=True, exist_ok=True)
        while result.crashes < MAX_CRASHES:
            before = result.executions
            ok = _run_child(result, left, seed + result.crashes, findings, kept, work)
            used = int(time.monotonic() - begin)
            left = {
                "runs": limits["runs"] and limits["runs"] - result.executions,
                "seconds": limits["seconds"] and limits["seconds"] - used,
            }
            # Without executions, the fuzzing itself is broken.
            if ok or max(left.values()) <= 0 or result.executions < before + 100:
                break
    finally:
        shutil.rmtree(work, ignore_errors=True)
    result.seconds = time.monotonic() - begin
    for path in sorted((findings / name).glob("*.txt")):
        # The folder may have older ones.
        if path.stat().st_mtime >= started:
            result.findings.setdefault(path.with_suffix(".bin"), path.read_text("utf8"))
    return result


def _run_child(
    result: Result,
    left: Dict[str, int],
    seed: int,
    findings: Path,
    kept: Path,
    work: Path,
) -> bool:
    """Run one process; return whether it came to its end."""
    crashes = work / f"crashes{result.crashes}"
    crashes.mkdir()
    command = [sys.executable, "-m", "stress.fuzz.child", result.reader]
    command += ["--corpus", str(kept), "--crashes", str(crashes)]
    command += ["--findings", str(findings / result.reader), "--seed", str(seed)]
    command += [part for k, n in left.items() if n for part in (f"--{k}", str(n))]
    limit = left["seconds"] + GRACE_SECONDS if left["seconds"] else None
    with (crashes / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    data = b""
    if (crashes / "counts").exists():
        executions, accepted, data = read_tally(crashes / "counts")
        result.executions += executions
        result.accepted += accepted
    if code == 0:
        return True
    result.crashes += 1
    _keep_crash(code, findings / result.reader, (crashes / "log"), data)
    return False


def _keep_crash(code: int, folder: Path, log_file: Path, data: bytes) -> None:
    """Keep the input of a crash, one for each place that it comes from."""
    log = log_file.read_text("utf8", "replace")
    place = _crash_place(log)
    folder.mkdir(parents=True, exist_ok=True)
    name = "crash-" + "".join(c if c.isalnum() else "-" for c in place)[-60:]
    target = folder / f"{name}.bin"
    if not target.exists() or len(data) < target.stat().st_size:
        target.write_bytes(data)
    last = [line for line in log.strip().splitlines() if "Extension" not in line][-1:]
    text = f"crash: it ended with {code} in {place} {''.join(last)[:200]}\n"
    target.with_suffix(".txt").write_text(text, "utf8")


def _crash_place(log: str) -> str:
    for line in log.splitlines():
        if "File " in line and "spacy_embedkit" in line:
            file, _, rest = line.strip().removeprefix('File "').partition('", line ')
            return f"{'/'.join(Path(file).parts[-3:])}:{rest.split(' ')[0]}"
    return "an unknown place"


def report(results: List[Result]) -> None:
    """Print what became of each reader, and a line for each finding."""
    seen: Set[Path] = set()
    for result in results:
        typer.echo(
            f"{result.reader}: {result.executions:,} executions, {result.accepted:,} "
            f"accepted, {result.seconds:.0f} s, {len(result.findings)} findings"
        )
    for result in results:
        for path, text in result.findings.items():
            seen.add(path)
            typer.echo(
                f"{result.reader}: {text.strip()}; python -m stress fuzz "
                f"{result.reader} --input {path}"
            )
    total = sum(result.executions for result in results)
    typer.echo(f"fuzz: {total:,} executions, {len(seen)} findings")
