"""A lock on an open file that ends with the process, however that ends."""

import sys
from typing import Any


def try_lock(file: Any) -> bool:
    """Lock a file for this process; return False if another one has it.

    file: Open for writing; the lock is kept until it is closed.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            # A byte far behind the end: one that is locked can't be read by others.
            place = file.tell()
            file.seek(1 << 62)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(place)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
