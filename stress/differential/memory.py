"""Memory while docs go through."""

import os
import resource
from pathlib import Path

STATM = Path("/proc/self/statm")


class MemoryCurve:
    """Resident memory of this process, in MB, by docs so far."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def sample(self, n_docs: int) -> None:
        """Add a point."""
        self.points.append((n_docs, _resident() / 1e6))

    def growth(self) -> float:
        """MB by which the last quarter of the docs is above the one before: medians."""
        half = self.points[len(self.points) // 2 :]
        if len(half) < 4:
            return 0.0
        middle = len(half) // 2
        return _median(half[middle:]) - _median(half[:middle])

    def __str__(self) -> str:
        step = max(1, len(self.points) // 12)
        chosen = self.points[::step]
        if chosen and chosen[-1] != self.points[-1]:
            chosen.append(self.points[-1])
        return ", ".join(f"{n:,}: {mb:.0f} MB" for n, mb in chosen)


def _resident() -> int:
    """Bytes of this process in memory; the most so far where there is no /proc."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _median(points: list[tuple[int, float]]) -> float:
    return sorted(mb for _, mb in points)[len(points) // 2]
