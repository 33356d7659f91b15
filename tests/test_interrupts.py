"""Ctrl-C and SIGTERM: one line and status 130, whatever a command is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spacy_embedkit.checks import InputError
from spacy_embedkit.cli import interrupts, one_line_errors
from spacy_embedkit.cli.interrupts import STOPPED, interruptible

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
NUMBERS = [signal.SIGINT, signal.SIGTERM]


def named(name, work):
    """A command of that name that does the work."""

    def command():
        work()

    command.__name__ = name
    return one_line_errors(command)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("convert", "the output folder is as it was before; run the same command"),
        ("compare", "finished trials are kept; run the same command to go on"),
        ("distil", "finished steps are kept; run the same command to go on"),
        ("info", "nothing was written"),
    ],
)
def test_a_signal_is_one_line(capsys, number, name, said):
    handlers = [signal.getsignal(each) for each in NUMBERS]
    with pytest.raises(SystemExit) as caught:
        named(name, lambda: os.kill(os.getpid(), number))()
    assert caught.value.code == STOPPED
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: interrupted; {said}")
    assert [signal.getsignal(each) for each in NUMBERS] == handlers
    assert signal.set_wakeup_fd(-1) == -1


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interruptible("left"):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_errors_are_one_line(capsys):
    def fail(err):
        def work():
            raise err

        with pytest.raises(SystemExit) as caught:
            named("info", work)()
        assert caught.value.code == 1
        return capsys.readouterr().err

    assert fail(InputError("this")) == "error: this\n"
    said = fail(MemoryError("Unable to\nallocate 59.6 GiB"))
    assert said.startswith("error: not enough memory (Unable to allocate 59.6 GiB)")


# The module alone, so that nothing slow is imported.
COMPUTE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import interrupts
interrupts.MAX_SECONDS = 0.1
with interrupts.interruptible("nothing was written"):
    print("started", flush=True)
    # As a library that learns vectors, it does not return for hours.
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


@pytest.mark.parametrize("number", NUMBERS)
def test_a_library_that_does_not_return_is_left(number):
    folder = Path(interrupts.__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", COMPUTE, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "started\n"
        # The library may not have been called yet.
        time.sleep(0.2)
        process.send_signal(number)
        try:
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert (process.returncode, said) == (STOPPED, "error: nothing was written\n")
