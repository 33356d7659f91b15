"""`python -m stress faults`."""

import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Optional

import typer
from tqdm import tqdm

from .bench import Bench, SkippedError, Try
from .commands import COMMANDS, Command
from .faults import ALONE, WITH_EARLIER, Fault
from .start_methods import fork, spawn

FAULTS: dict[str, Fault] = {**WITH_EARLIER, **ALONE, "fork": fork, "spawn": spawn}

# Faults that come too late, because the command is faster than before, are not counted.
MAX_MISSES = 5


def main(
    times: Annotated[int, typer.Option(min=1, help="Tries of each.")] = 1,
    commands: Annotated[
        str, typer.Option(help=f"Some of {', '.join(c.name for c in COMMANDS)}.")
    ] = "",
    faults: Annotated[str, typer.Option(help=f"Some of {', '.join(FAULTS)}.")] = "",
    seed: Annotated[int, typer.Option(help="Of the first try.")] = 0,
    minutes: Annotated[
        Optional[float], typer.Option(help="No try is started after that.")
    ] = None,
) -> None:
    """Kill, fill, forbid, interrupt and double every command that writes.

    After each fault the command runs again, and has to end as a run without a fault:
    the same results, bit by bit, no other file, nothing of the user changed. Full disks
    and read-only folders are mounts, for which this needs root; without it, a limit on
    the size of files stands for a full disk.
    """
    chosen = _choose("--commands", commands, {c.name: c for c in COMMANDS})
    kinds = _choose("--faults", faults, FAULTS)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ |= {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.inputs.mkdir()
        # Not above: it imports torch.
        from .inputs import make_inputs

        make_inputs(bench.inputs)
        end = None if minutes is None else time.monotonic() + 60 * minutes
        table = _try_all(bench, chosen, kinds, range(seed, seed + times), end)
    _print_table(table, chosen, kinds)
    if any(lost for _, lost in table.values()):
        sys.exit(1)


Table = dict[tuple[str, str], tuple[int, int]]


def _choose(option: str, names: str, known: dict) -> dict:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise typer.BadParameter(f"{option} {name}: choose from {', '.join(known)}")
    return {name: known[name] for name in wanted or known}


def _try_all(
    bench: Bench,
    commands: dict[str, Command],
    faults: dict[str, Fault],
    seeds: range,
    end: Optional[float],
) -> Table:
    table: Table = {}
    bar = tqdm(total=len(commands) * len(faults) * len(seeds), disable=None)
    for fault in faults:
        for command in commands.values():
            bar.set_description(f"{command.name} {fault}")
            counts: Counter[str] = Counter()
            for seed in seeds:
                if end is not None and time.monotonic() > end:
                    break
                try:
                    troubles = _try(bench, command, fault, faults[fault], seed)
                except SkippedError as err:
                    tqdm.write(f"{command.name} {fault}: skipped: {err}")
                    break
                except (RuntimeError, OSError) as err:
                    troubles = [f"{type(err).__name__}: {err}"]
                bar.update()
                counts["tried"] += troubles is not None
                counts["lost"] += bool(troubles)
                again = f"--commands {command.name} --faults {fault} --seed {seed}"
                for trouble in troubles or ():
                    tqdm.write(f"{trouble}: python -m stress faults {again}")
                sys.stdout.flush()
            table[command.name, fault] = counts["tried"], counts["lost"]
            if bar.disable:
                print(f"{command.name} {fault}: {counts['tried']} tried, ", end="")
                print(f"{counts['lost']} lost", flush=True)
    bar.close()
    return table


def _try(
    bench: Bench, command: Command, name: str, fault: Fault, seed: int
) -> Optional[list[str]]:
    """Try one fault once; return what is wrong afterwards, None if it always missed."""
    rng = random.Random(f"{command.name} {name} {seed}")
    bench.reference(command)
    earlier = None
    if name in WITH_EARLIER and command.replaces and rng.random() < 0.5:
        earlier = bench.reference(command, 1)
    for _ in range(MAX_MISSES):
        with bench.place(earlier) as place:
            found = fault(Try(bench, command, rng, place, earlier))
        if found is not None:
            return found
    return None


def _print_table(table: Table, commands: dict, faults: dict) -> None:
    print("tried/lost")
    width = max(map(len, commands))
    print(" " * width, *(f"{name:>9}" for name in faults))
    for command in commands:
        cells = [table[command, fault] for fault in faults]
        texts = [f"{tried}/{lost}" if tried else "-" for tried, lost in cells]
        print(f"{command:{width}}", *(f"{text:>9}" for text in texts))
    print(f"{sum(t for t, _ in table.values())} tried, ", end="")
    print(f"{sum(lost for _, lost in table.values())} lost")
