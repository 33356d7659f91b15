"""What is done to a command, and what has to be true afterwards."""

import os
import shutil
import signal
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Callable, Optional

from .bench import SkippedError, Try
from .place import digest, read_only, resize_disk, small_disk
from .process import Options, Trap, exit_code, is_at_work, run, start

ROOM = 1 << 30


def kill(attempt: Try) -> Optional[list[str]]:
    """Kill the command at a random moment, or before a random change of a file."""
    running = _disturb(attempt, signal.SIGKILL)
    if exit_code(running) == 0:
        return attempt.check_end() or None
    troubles = attempt.check_kept() + attempt.check_again()
    if is_at_work(running):
        troubles.append("a process is still running")
    return troubles


def interrupt(attempt: Try) -> Optional[list[str]]:
    """Press Ctrl-C at a random moment, or before a random change of a file."""
    running = _disturb(attempt, signal.SIGINT)
    code, troubles = exit_code(running), []
    if code == 0:
        return attempt.check_end() or None
    if attempt.command.is_ours:
        lines = attempt.place.messages("run").strip().splitlines()
        if code != 130:
            troubles.append(f"exit code {code}, not 130: {lines[-1:]}")
        # Before a command begins, typer ends it without a word.
        if lines:
            troubles += check_messages(attempt, "run")
    if is_at_work(running):
        troubles.append("a process is still running")
    return troubles + attempt.check_kept() + attempt.check_again()


def _disturb(attempt: Try, number: signal.Signals) -> BaseProcess:
    """Start the command, and send it a signal."""
    rng, expected = attempt.random, attempt.reference
    if rng.random() < 0.5 and expected.events:
        trap = Trap(rng.randint(1, expected.events), number)
        return attempt.start(Options(trap=trap))
    running = attempt.start()
    assert running.pid is not None
    time.sleep(rng.random() * expected.seconds)
    # A terminal sends Ctrl-C to all processes of a command; kill -9 may get one only.
    send = os.killpg if number == signal.SIGINT or rng.random() < 0.5 else os.kill
    with suppress(ProcessLookupError):
        send(running.pid, number)
    return running


def check_messages(attempt: Try, name: str) -> list[str]:
    """Say what is wrong with the messages of a command that failed."""
    text = attempt.place.messages(name)
    if "Traceback" in text:
        return [f"traceback: {text.strip().splitlines()[-1]}"]
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    if len(errors) > 1:
        return [f"{len(errors)} lines of errors"]
    return [] if text.strip() else ["no message"]


def full_disk(attempt: Try) -> Optional[list[str]]:
    """Give the command a disk that is too small, then one that is large enough."""
    place, rng = attempt.place, attempt.random
    before = place.n_bytes()
    n_bytes = attempt.reference.place.n_bytes()
    # A disk has room for whole pages; a folder needs one.
    room = before + 65536 + int(rng.random() * 1.2 * n_bytes)
    with small_disk(place.work, room) as is_mounted:
        limit = None if is_mounted else int(rng.random() * n_bytes / 4)
        code = run(attempt.arguments(), place, Options(max_bytes=limit))
        if code == 0:
            return attempt.check_end() or None
        troubles = _check_failure(attempt, code)
        resize_disk(place.work, ROOM)
        return troubles + attempt.check_again()


def no_writing(attempt: Try) -> list[str]:
    """Forbid the command to write in the folder of its output, or in its output."""
    place, rng = attempt.place, attempt.random
    has_out = place.out.is_dir() and rng.random() < 0.5
    with read_only(place.out if has_out else place.work) as is_read_only:
        if not is_read_only:
            raise SkippedError("may not mount")
        code = run(attempt.arguments(), place)
        troubles = _check_failure(attempt, code)
    return troubles + attempt.check_again()


def _check_failure(attempt: Try, code: int) -> list[str]:
    """Check what is left by a command that could not write."""
    if code == 0 or not attempt.command.is_ours:
        return attempt.check_kept()
    troubles = check_messages(attempt, "run")
    if code != 1:
        troubles.append(f"exit code {code}, not 1")
    return troubles + attempt.check_kept()


def two_at_once(attempt: Try) -> list[str]:
    """Run two commands with the same output, one a little later."""
    place, command, rng = attempt.place, attempt.command, attempt.random
    if not command.is_ours:
        raise SkippedError("spaCy's own command removes what another one has written")
    others = [0, 1] if command.has_other else [0, 0]
    processes = []
    for i, which in enumerate(others):
        options = Options(f"run{i}")
        processes.append(start(attempt.arguments(which), place, options))
        time.sleep(rng.choice([0, rng.random()]) * attempt.reference.seconds)
    codes, troubles = [exit_code(process) for process in processes], []
    for i, code in enumerate(codes):
        if code not in (0, 1):
            troubles.append(f"exit code {code}")
        elif code:
            troubles += check_messages(attempt, f"run{i}")
    if 0 not in codes:
        lines = attempt.place.messages("run1").strip().splitlines()
        troubles.append(f"both failed: {lines[-1] if lines else ''}")
    if codes == [0, 0] and command.has_other and not command.replaces:
        troubles.append("both ended well, and the result of one is lost")
    found = command.result(place.out)
    done = [which for which, code in zip(others, codes, strict=True) if code == 0]
    winners = [
        which
        for which in done
        if found == attempt.bench.reference(command, which).result
    ]
    if done and not winners:
        troubles.append("the output is of neither command")
    # pretrain resumes only with the settings that it began with.
    return troubles + attempt.check_again(*winners[:1])


def users_files(attempt: Try) -> list[str]:
    """Name a folder with files of the user as output."""
    place, rng = attempt.place, attempt.random
    shutil.rmtree(place.out, ignore_errors=True)
    kind = rng.choice([*USERS_FILES])
    for name, text in USERS_FILES[kind].items():
        path = place.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = {name: digest(place.out / name) for name in USERS_FILES[kind]}
    names = place.names()
    code = run(attempt.arguments(), place)
    troubles = [
        f"{kind}: {name} is {'changed' if (place.out / name).exists() else 'gone'}"
        for name in before
        if digest(place.out / name) != before[name]
    ]
    if attempt.command.is_ours:
        troubles += check_messages(attempt, "run") if code else []
        # Hidden files are those of a desktop or of git; pretrain writes next to them.
        if code != 1 and (code or kind != "hidden"):
            troubles.append(f"{kind}: exit code {code}, not 1")
        if code and (more := {*place.names()} - {*names}):
            troubles.append(f"{kind}: wrote {', '.join(sorted(more)[:3])}")
    return troubles


USERS_FILES = {
    "notes": {"notes.txt": "mine"},
    "hidden": {".git/HEAD": "mine"},
    "pipeline": {
        "meta.json": '{"lang": "en", "name": "mine"}',
        "config.cfg": '[nlp]\nlang = "en"\npipeline = ["ner"]\n',
        "ner/model": "mine",
        "tokenizer": "mine",
        "vocab/strings.json": "[]",
    },
    "transformer": {
        "config.json": '{"model_type": "bert"}',
        "model.safetensors": "mine",
        "optimizer.pt": "mine",
    },
    "comparison": {
        "running/notes.txt": "mine",
        "best/meta.json": "{}",
        "models/none-7-0/model": "mine",
        "data/train-7.spacy": "mine",
    },
}
# Returns what is wrong; None if the command was at its end before the fault.
Fault = Callable[[Try], Optional[list[str]]]
# Tried with the result of an earlier run half of the time.
WITH_EARLIER: dict[str, Fault] = {
    "kill": kill,
    "disk": full_disk,
    "read-only": no_writing,
    "ctrl-c": interrupt,
}
ALONE: dict[str, Fault] = {"two": two_at_once, "user": users_files}
