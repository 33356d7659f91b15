"""The loop of a pretraining run: update, evaluate, keep, stop."""

import time
from itertools import islice
from typing import Any, Callable, Dict, List, Optional

from spacy.tokens import Doc

from ...checks import InputError
from . import checkpoint
from .build import Parts
from .data import TrainingData
from .held_out import evaluate
from .objective_state import ObjectiveState
from .outputs import LAST, Outputs
from .progress import Progress
from .random_state import put_states, seed_device, take_states
from .stopping import StopSignals
from .survey import Corpus, ReadError
from .update import update
from .weights import Weights


class Run:
    """A run from its first or any later update to its end.

    parts: Model, data and settings.
    say: Called with lines for the user.
    bar: A progress bar that counts words.
    started: Time by time.monotonic at which this part of the run began.
    facts: What else a checkpoint is to hold.
    """

    def __init__(
        self,
        parts: Parts,
        data: TrainingData,
        corpus: Corpus,
        outputs: Outputs,
        checkpoints: checkpoint.Checkpoints,
        progress: Progress,
        facts: Dict[str, Any],
        *,
        on_evaluation: Callable[[Dict[str, Any]], None],
        on_update: Callable[[Progress], None],
        started: float,
    ) -> None:
        self.parts = parts
        self.data = data
        self.corpus = corpus
        self.outputs = outputs
        self.progress = progress
        self._checkpoints = checkpoints
        self._facts = facts
        self._on_evaluation = on_evaluation
        self._on_update = on_update
        self._objective = ObjectiveState(parts.model)
        self._weights = Weights(parts.model, parts.optimizer)
        self._earlier = progress.seconds
        self._started = started
        self._saved_at = started
        self._speed_from = (progress.words, self.seconds)

    @property
    def seconds(self) -> float:
        """Time used, with that of earlier parts."""
        return self._earlier + time.monotonic() - self._started

    def restore(self, state: Dict[str, Any]) -> None:
        """Take over a checkpoint; its progress has been given already."""
        self._weights.from_dict(state["weights"], self.progress.step)
        self._objective.from_dict(state["objective"])
        self.data.from_dict(state["data"])
        self.outputs.write_best(self.progress.best_weights)
        self.outputs.write_log(self.progress.rows)

    def save(self) -> None:
        """Write a checkpoint.

        Raises: InputError if a weight is NaN or infinite, or the disk is full.
        """
        if not self._weights.is_finite():
            raise InputError(
                f"a weight is NaN or infinite after {self.progress.step} updates; "
                "begin anew with a lower learn_rate or grad_clip in "
                "[pretraining.optimizer], or use what was kept before"
            )
        self.progress.seconds = self.seconds
        self._checkpoints.save(
            {
                **self._facts,
                "progress": self.progress.to_dict(),
                "weights": self._weights.to_dict(),
                "objective": self._objective.to_dict(),
                "data": self.data.to_dict(),
                "random": take_states(),
            }
        )
        self._saved_at = time.monotonic()

    def train(self, stop: StopSignals, random: Optional[Dict[str, Any]]) -> str:
        """Train to the end; return why it ended: epochs, patience, time or signal.

        random: States to set once the data are where they were.
        """
        progress, step = self.progress, self.progress.step
        reason = self._reason_to_stop(stop)
        while reason is None and progress.epoch < self.parts.pretraining["max_epochs"]:
            reason = self._train_epoch(stop, random)
            random = None
            if reason is None:
                self._end_epoch()
        # Without an update there is nothing to keep, and the random states may not be
        # those of the run yet.
        if progress.step > step:
            self.save()
        return reason or "epochs"

    def finish(self) -> None:
        """Evaluate once more, and write the last weights."""
        if self.progress.words > self.progress.evaluated_at:
            self._evaluate()
        self.outputs.write(LAST, self._weights.saved_tok2vec())

    def write_last(self) -> None:
        """Write the last weights of a run that is to be resumed."""
        self.outputs.write(LAST, self._weights.saved_tok2vec())

    def _train_epoch(
        self, stop: StopSignals, random: Optional[Dict[str, Any]]
    ) -> Optional[str]:
        batches = self.data.epoch(self.corpus)
        for _ in islice(batches, self.progress.n_batches):
            if stop.number is not None:
                return "signal"
        if random is not None:
            put_states(random)
        size = self.parts.settings.accumulate_gradient
        while True:
            try:
                group = list(islice(batches, size))
            except ReadError:
                self.save()
                raise
            if not group:
                return None
            self._step(group)
            reason = self._reason_to_stop(stop)
            if reason is not None:
                return reason

    def _step(self, batches: List[List[Doc]]) -> None:
        progress, model = self.progress, self.parts.model
        seed_device(model.ops, self.parts.seed + progress.step)
        losses = update(model, self._objective, self.parts.optimizer, batches)
        for name, (loss, n) in losses.items():
            progress.add_loss(name, loss, n)
        progress.step += 1
        progress.n_batches += len(batches)
        progress.words += sum(len(doc) for docs in batches for doc in docs)
        self._on_update(progress)
        if progress.words - progress.evaluated_at >= progress.eval_every:
            self._evaluate()
        every = self.parts.pretraining["n_save_every"]
        if every and progress.step % every == 0:
            name = f"model{progress.epoch}.temp.bin"
            self.outputs.write(name, self._weights.saved_tok2vec())
        minutes = self.parts.settings.checkpoint_minutes
        if time.monotonic() - self._saved_at >= 60 * minutes:
            self.save()

    def _end_epoch(self) -> None:
        progress, block = self.progress, self.parts.pretraining
        if not progress.n_batches:
            raise InputError(
                "the batcher gave no batches; see discard_oversize and size in "
                "[pretraining.batcher]"
            )
        every, last = block["n_save_epoch"], block["max_epochs"] - 1
        if every and (progress.epoch % every == 0 or progress.epoch == last):
            name = f"model{progress.epoch}.bin"
            self.outputs.write(name, self._weights.saved_tok2vec())
        progress.epoch += 1
        progress.n_batches = 0
        self.data.end_epoch()

    def _evaluate(self) -> None:
        progress, parts = self.progress, self.parts
        held_out: Dict[str, float] = {}
        if self.corpus.held_out:
            with parts.model.use_params(parts.optimizer.averages or {}):
                held_out = evaluate(parts.model, self._objective, self.corpus.held_out)
        total = self._objective.total(held_out) if held_out else None
        is_best = total is not None and (progress.best is None or total < progress.best)
        seconds = self.seconds
        train_loss = progress.take_losses()
        words_before, seconds_before = self._speed_from
        row = {
            "words": progress.words,
            "epoch": progress.epoch,
            "step": progress.step,
            "minutes": round(seconds / 60, 3),
            "words_per_second": round(
                (progress.words - words_before) / max(1e-9, seconds - seconds_before)
            ),
            "learn_rate": float(parts.optimizer.learn_rate),
            "train_loss": train_loss,
            "train_total": self._objective.total(train_loss),
            "held_out_loss": held_out,
            "held_out_total": total,
            "is_best": is_best,
        }
        progress.evaluated_at = progress.words
        progress.rows.append(row)
        if is_best:
            progress.best, progress.best_words = total, progress.words
            progress.best_weights, progress.n_worse = self._weights.saved_tok2vec(), 0
            self.outputs.write_best(progress.best_weights)
        elif held_out:
            progress.n_worse += 1
        self.outputs.write_log(progress.rows)
        self._speed_from = progress.words, self.seconds
        self._on_evaluation(row)

    def _reason_to_stop(self, stop: StopSignals) -> Optional[str]:
        settings = self.parts.settings
        if stop.number is not None:
            return "signal"
        if settings.patience and self.progress.n_worse >= settings.patience:
            return "patience"
        if settings.max_minutes and self.seconds >= 60 * settings.max_minutes:
            return "time"
        return None
