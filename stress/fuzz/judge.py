"""Run a reader on one input, and tell whether what it did is documented."""

import hashlib
import mmap
import resource
import struct
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Optional, Tuple

from .base import Reader, WrongNumberError
from .packing import SkipError

# Memory that an input may take, whatever its size: streams are read in blocks of up to
# 16 MB, and 100 MB of packed data are not a bomb yet.
MAX_MEMORY = 300 << 20
# Executions, accepted inputs and size of the current one, which comes next.
COUNTS = struct.Struct("<3Q")
PACKAGE = "spacy_embedkit"


class Tally:
    """Counts and the current input, in a file that outlives a crash."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        size = COUNTS.size + max_bytes
        path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self.executions = self.accepted = 0

    def begin(self, data: bytes) -> None:
        """Count an input, and keep it until the next one."""
        self.executions += 1
        COUNTS.pack_into(self._map, 0, self.executions, self.accepted, len(data))
        kept = data[: len(self._map) - COUNTS.size]
        self._map[COUNTS.size : COUNTS.size + len(kept)] = kept


def read_tally(path: Path) -> Tuple[int, int, bytes]:
    """Return the executions, the accepted inputs, and the last input."""
    data = path.read_bytes()
    executions, accepted, size = COUNTS.unpack_from(data)
    return executions, accepted, data[COUNTS.size :][:size]


class Judge:
    """Runs a reader, and keeps the shortest input of each kind of finding.

    findings: Folder for the inputs, and a text next to each.
    """

    def __init__(self, reader: Reader, findings: Path, tally: Tally) -> None:
        self.reader, self.tally = reader, tally
        self._folder = findings
        self._sizes: dict[str, int] = {}

    def run(self, data: bytes) -> bool:
        """Run the reader on an input; return whether it was one."""
        self.tally.begin(data)
        memory, start = _peak(), time.process_time()
        finding = None
        try:
            result = self.reader.read(data)
            self.tally.accepted += 1
            self.reader.check(data, result)
        except SkipError:
            return False
        except self.reader.documented as err:
            text = str(err)
            if not text.strip() or "\n" in text or "\r" in text:
                finding = f"not one line: {_describe(err)}"
        except WrongNumberError as err:
            finding = f"wrong number: {err}"
            self._keep(data, "wrong number", finding)
            return True
        except Exception as err:
            finding = _describe(err)
        except BaseException as err:
            # Panics of libraries in Rust are not exceptions for Python.
            if isinstance(err, (KeyboardInterrupt, SystemExit)):
                raise
            finding = _describe(err)
        if finding is not None:
            self._keep(data, finding.rpartition(": ")[0], finding)
        seconds, grown = time.process_time() - start, _peak() - memory
        if finding is None and seconds > self.reader.cpu_seconds:
            seconds = min(seconds, self._time_again(data))
        if seconds > self.reader.cpu_seconds:
            self._keep(data, "slow", f"slow: {seconds:.1f} seconds of CPU time")
        if grown > MAX_MEMORY:
            self._keep(data, "memory", f"memory: {grown >> 20} MB more")
        return True

    def _time_again(self, data: bytes) -> float:
        # The first call of a kind imports modules, which isn't the input's fault.
        start = time.process_time()
        with suppress(Exception):
            self.reader.check(data, self.reader.read(data))
        return time.process_time() - start

    def _keep(self, data: bytes, kind: str, finding: str) -> None:
        name = hashlib.blake2b(kind.encode(), digest_size=6).hexdigest()
        if len(data) >= self._sizes.get(name, 1 << 62):
            return
        self._sizes[name] = len(data)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.bin").write_bytes(data)
        (self._folder / f"{name}.txt").write_text(finding + "\n", "utf8", "replace")


def _describe(err: BaseException) -> str:
    place = _place(err.__traceback__)
    return f"{type(err).__name__} at {place}: {str(err)[:200]!r}"


def _place(trace: Optional[TracebackType]) -> str:
    # The last line of the package, else the last one at all.
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if PACKAGE in frame.filename]
    frame = own[-1] if own else frames[-1]
    return f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
