"""How far a run has come: all that is counted, and goes into a checkpoint."""

from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Optional


@dataclass
class Progress:
    """Counters of a run.

    epoch, n_batches: The epoch, from 0, and the batches of it that are done.
    step, words: Updates and words so far.
    eval_every: Words between evaluations.
    evaluated_at: Words at the last evaluation.
    best, best_words: The lowest held-out loss, and the words at which it was reached.
    best_weights: What model-best.bin holds then.
    n_worse: Evaluations since.
    seconds: Time used, with that of earlier parts.
    losses: By head, sum of the loss and number of tokens since the last evaluation.
    rows: Lines of the log.
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
    losses: Dict[str, List[float]] = field(default_factory=dict)
    rows: List[Dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return all fields by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def add_loss(self, name: str, loss: float, n_tokens: int) -> None:
        """Count the loss of a batch."""
        known = self.losses.setdefault(name, [0.0, 0])
        known[0] += loss
        known[1] += n_tokens

    def take_losses(self) -> Dict[str, float]:
        """Return the loss per token by head since last taken, and start anew."""
        means = {name: total / max(1, n) for name, (total, n) in self.losses.items()}
        self.losses = {}
        return means
