"""One process that fuzzes one reader: `python -m stress.fuzz.child`, by the command.

With atheris, changes are kept that reach new lines of the package; without it, only the
seeds are changed.
"""

import argparse
import faulthandler
import os
import resource
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, ContextManager

from .changes import spoil_randomly
from .judge import Judge, Tally
from .packing import SkipError

# Address space beyond what is used once all is imported.
MORE_MEMORY = 2 << 30
HANG_SECONDS = 60
# Longer than any input.
MAX_SEED = 1 << 20
SHARED_MEMORY = Path("/dev/shm")


def find_atheris() -> Any:
    """Return the module, or None where it is not installed."""
    try:
        import atheris
    except ImportError:
        return None
    return atheris


def limit_memory() -> None:
    """Let an allocation of gigabytes fail at once."""
    with Path("/proc/self/statm").open() as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def fuzz_guided(atheris: Any, judge: Judge, args: argparse.Namespace) -> None:
    """Let libFuzzer choose the inputs; it ends the process."""
    reader = judge.reader

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = Random(seed)

        def spoil(part: bytes) -> bytes:
            # libFuzzer can't make something of nothing.
            return bytes(atheris.Mutate(part or b"\n", max(len(part), 8) + 64))

        changed = reader.mutate(data, rng, spoil) if rng.random() < 0.9 else spoil(data)
        return changed[:max_size]

    def run(data: bytes) -> int:
        return 0 if judge.run(data) else -1

    options = [f"-seed={args.seed}", f"-timeout={HANG_SECONDS}", "-rss_limit_mb=0"]
    options += [f"-max_len={reader.max_bytes}", f"-artifact_prefix={args.crashes}/"]
    options += [
        "-verbosity=0",
        "-print_final_stats=0",
        "-handle_term=0",
        "-len_control=0",
    ]
    options += [f"-max_total_time={args.seconds}"] if args.seconds else []
    options += [f"-runs={args.runs}"] if args.runs else []
    atheris.Setup([sys.argv[0], *options, str(args.corpus)], run, custom_mutator=change)
    atheris.Fuzz()


def fuzz_blindly(judge: Judge, args: argparse.Namespace) -> None:
    """Change the seeds, again and again."""
    rng = Random(args.seed)
    seeds = [path.read_bytes() for path in sorted(args.corpus.iterdir())]
    end = time.monotonic() + (args.seconds or 1e9)
    n = 0
    while time.monotonic() < end and (not args.runs or n < args.runs):
        data = rng.choice(seeds) if n >= len(seeds) else seeds[n]
        for _ in range(rng.choice([1, 1, 2, 4]) if n >= len(seeds) else 0):
            data = judge.reader.mutate(
                data, rng, lambda part: spoil_randomly(part, rng)
            )
        judge.run(data[: judge.reader.max_bytes])
        n += 1


def main() -> None:
    """Fuzz until the runs or seconds are over, or run on one input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reader")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", type=Path)
    for folder in ("corpus", "crashes", "findings"):
        parser.add_argument(f"--{folder}", type=Path)
    args = parser.parse_args()
    faulthandler.enable()
    atheris = None if args.input else find_atheris()
    instrumented: ContextManager = nullcontext()
    if atheris is not None:
        instrumented = atheris.instrument_imports(include=["spacy_embedkit"])
    with instrumented:
        from .readers import make_reader

        place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
        # Not removed where libFuzzer ends the process; the command does that.
        root = args.crashes.parent if args.crashes else None
        with TemporaryDirectory(dir=root or place) as folder:
            reader = make_reader(args.reader, Path(folder))
            fuzz(reader, atheris, args)


def fuzz(reader: Any, atheris: Any, args: argparse.Namespace) -> None:
    """Fuzz a reader, or run it on one input and show what happens."""
    if args.input:
        data = args.input.read_bytes()
        limit_memory()
        try:
            result = reader.read(data)
            reader.check(data, result)
        except SkipError:
            sys.exit("the input is not packed files")
        print(f"read: {result!r:.200}")
        return
    for i, data in enumerate(reader.seeds()):
        (args.corpus / f"seed{i}").write_bytes(data)
    judge = Judge(reader, args.findings, Tally(args.crashes / "counts", MAX_SEED))
    for path in sorted(args.corpus.glob("seed*")):
        # Also what is imported and cached at the first call.
        judge.run(path.read_bytes())
    limit_memory()
    if atheris is None:
        fuzz_blindly(judge, args)
    else:
        fuzz_guided(atheris, judge, args)


if __name__ == "__main__":
    main()
