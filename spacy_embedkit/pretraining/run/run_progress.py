"""How far a run is: its counters and the rows of its log."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from ..masked_model import LossMeter


@dataclass
class RunProgress:
    """Counters of a run.

    epoch, n_batches: The epoch, from 0, and the batches of it that are done.
    step, words: Updates and words so far.
    eval_every: Words between evaluations.
    evaluated_at: Words at the last evaluation.
    best, best_words: The lowest held-out loss, and the words at which it was reached.
    best_weights: What model-best.bin held then.
    n_worse: Evaluations since the lowest loss, those at the end of a part left out.
    seconds: Time used, that before a resume included.
    losses: Of the training since the last evaluation.
    rows: Lines of the log.
    at_end: Those of them, by number, that evaluate what the end of a part came to.
    """

    eval_every: int
    epoch: int = 0
    n_batches: int = 0
    step: int = 0
    words: int = 0
    evaluated_at: int = 0
    best: Optional[float] = None
    best_words: int = 0
    best_weights: Optional[bytes] = None
    n_worse: int = 0
    seconds: float = 0.0
    losses: LossMeter = field(default_factory=LossMeter)
    rows: List[Dict[str, Any]] = field(default_factory=list)
    at_end: List[int] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return all fields by name."""
        return {**vars(self), "losses": self.losses.sums}

    @classmethod
    def from_dict(cls, state: Dict[str, Any]) -> "RunProgress":
        """Return the progress that to_dict described."""
        return cls(**{**state, "losses": LossMeter(state["losses"])})

    @property
    def last_row_at(self) -> int:
        """Words at the last row of the log."""
        return self.rows[-1]["words"] if self.rows else 0

    def add_row(
        self, row: Dict[str, Any], best_weights: Optional[bytes], *, at_end: bool
    ) -> None:
        """Add an evaluation to the log.

        best_weights: What model-best.bin is to hold, if it is the best so far.
        at_end: Whether it is one that a run without interruption does not have; it
            counts for nothing but the log and the best weights.
        """
        if best_weights is not None:
            self.best, self.best_words = row["held_out_total"], self.words
            self.best_weights = best_weights
        if at_end:
            self.at_end.append(len(self.rows))
        else:
            self._count(row)
        self.rows.append(row)

    def _count(self, row: Dict[str, Any]) -> None:
        totals = [
            before["held_out_total"]
            for i, before in enumerate(self.rows)
            if before["held_out_loss"] and i not in self.at_end
        ]
        if row["held_out_loss"]:
            is_lower = row["held_out_total"] < min(totals, default=math.inf)
            self.n_worse = 0 if is_lower else self.n_worse + 1
        self.evaluated_at = self.words
        self.losses.take()
