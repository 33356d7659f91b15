"""Ctrl-C and SIGTERM, also while a library computes and Python can't be interrupted."""

import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

# Exit status of a command that was stopped, as shells have it.
STOPPED = 130
# Before a library that does not return is left.
MAX_SECONDS = 3.0


@contextmanager
def interruptible(left: Optional[str]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise KeyboardInterrupt in the body.

    left: Line for the user if a library, such as one that learns vectors, keeps Python
        from raising it; the process then ends at once. None: it may take its time.
    Signals that the caller ignores, as nohup does, stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        raised.set()
        raise KeyboardInterrupt

    before: Dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, interrupt)
        old = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        watch = threading.Thread(target=_watch, args=(reader, raised, left))
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            raised.set()
            writer.close()
            watch.join()


def _watch(reader: socket.socket, raised: threading.Event, left: Optional[str]) -> None:
    """End the process if a signal has come, but not to Python."""
    while number := reader.recv(1):
        if left is None or number[0] not in (signal.SIGINT, signal.SIGTERM):
            continue
        if not raised.wait(MAX_SECONDS):
            print(f"error: {left}", file=sys.stderr, flush=True)
            os._exit(STOPPED)
