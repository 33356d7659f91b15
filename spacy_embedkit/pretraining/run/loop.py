"""The loop of a run: update, evaluate, save, stop."""

import time
from itertools import islice
from threading import Event
from typing import Any, Dict, List, Optional

from spacy.tokens import Doc

from ...checks import InputError
from .held_out import evaluate
from .random_state import get_rng_state, set_rng_state
from .run_folder import LAST, RunFolder
from .run_progress import RunProgress
from .run_report import Console
from .run_settings import RunParts
from .run_state import ModelState
from .training_data import ReadError, TrainingData
from .update import DIVERGED, ObjectiveAdapter, update


class Run:
    """A run, from its first or any later update to its end.

    facts: What else a checkpoint holds.
    started: Value of time.monotonic when this part of the run began.
    """

    def __init__(
        self,
        parts: RunParts,
        data: TrainingData,
        folder: RunFolder,
        progress: RunProgress,
        console: Console,
        facts: Dict[str, Any],
        started: float,
    ) -> None:
        self.parts = parts
        self.data = data
        self.folder = folder
        self.progress = progress
        self._console = console
        self._facts = facts
        self._objective = ObjectiveAdapter(parts.model)
        self._state = ModelState(parts.model, parts.optimizer)
        # As if earlier parts of the run had come right before this one.
        self._started = started - progress.seconds
        self._saved_at = started
        self._speed_from = (progress.words, self.seconds)
        # Generators are set when the data are where they were.
        self._rng: Optional[Dict[str, Any]] = None

    @property
    def seconds(self) -> float:
        """Time used, that of earlier parts included."""
        return time.monotonic() - self._started

    def restore(self, checkpoint: Dict[str, Any]) -> None:
        """Go to the state of a checkpoint; progress is set already.

        Raises: InputError if it is that of another model.
        """
        self._objective.check(checkpoint["objective"])
        self._state.from_dict(checkpoint["weights"], self.progress.step)
        self._objective.from_dict(checkpoint["objective"])
        self.data.from_dict(checkpoint["data"])
        self._rng = checkpoint["random"]
        # A kill may have left files that are newer than the checkpoint.
        self.folder.write_best(self.progress.best_weights)
        self.folder.write_log(self.progress.rows)

    def save(self) -> None:
        """Write a checkpoint; raise InputError if a weight is NaN or infinite."""
        if not self._state.is_finite():
            raise InputError(
                f"a weight is NaN or infinite after {self.progress.step} updates; "
                f"{DIVERGED}"
            )
        self.progress.seconds = self.seconds
        self.folder.save_checkpoint(
            {
                **self._facts,
                "progress": self.progress.to_dict(),
                "weights": self._state.to_dict(),
                "objective": self._objective.to_dict(),
                "data": self.data.to_dict(),
                # Those of a checkpoint wait for the first update.
                "random": self._rng or get_rng_state(),
            }
        )
        self._saved_at = time.monotonic()

    def train(self, stop: Event) -> str:
        """Train to the end; return why it ended: epochs, patience, time or signal."""
        progress, first = self.progress, self.progress.step
        reason = self._reason_to_stop(stop)
        while reason is None and progress.epoch < self.parts.pretraining["max_epochs"]:
            reason = self._train_epoch(stop)
            if reason is None:
                self._end_epoch()
        if progress.step > first:
            self.save()
        reason = reason or "epochs"
        if reason != "signal" and progress.words > progress.last_row_at:
            self._evaluate(at_end=True)
            self.save()
        self._write_weights(LAST)
        return reason

    def _train_epoch(self, stop: Event) -> Optional[str]:
        batches = self.data.epoch()
        for _ in islice(batches, self.progress.n_batches):
            if stop.is_set():
                return "signal"
        if self._rng is not None:
            set_rng_state(self._rng)
            self._rng = None
        while True:
            try:
                group = [*islice(batches, self.parts.settings.accumulate_gradient)]
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
        progress, parts, ops = self.progress, self.parts, self.parts.model.ops
        if ops.device_type == "gpu":
            # The state of cupy's generator can't be read, so it is set for each update.
            ops.xp.random.seed((parts.seed + progress.step) % 2**32)
        update(parts.model, self._objective, parts.optimizer, batches, progress.losses)
        progress.step += 1
        progress.n_batches += len(batches)
        progress.words += sum(len(doc) for docs in batches for doc in docs)
        self._console.show_progress(progress)
        if progress.words - progress.evaluated_at >= progress.eval_every:
            self._evaluate()
        every = parts.pretraining["n_save_every"]
        if every and progress.step % every == 0:
            self._write_weights(f"model{progress.epoch}.temp.bin")
        if time.monotonic() - self._saved_at >= 60 * parts.settings.checkpoint_minutes:
            self.save()

    def _end_epoch(self) -> None:
        progress, block = self.progress, self.parts.pretraining
        if not progress.n_batches:
            raise InputError(
                "the batcher made no batches; see discard_oversize and size in "
                "[pretraining.batcher]"
            )
        every, last = block["n_save_epoch"], block["max_epochs"] - 1
        if every and (progress.epoch % every == 0 or progress.epoch == last):
            self._write_weights(f"model{progress.epoch}.bin")
        progress.epoch += 1
        progress.n_batches = 0
        self.data.end_epoch()

    def _evaluate(self, *, at_end: bool = False) -> None:
        """Evaluate, and add a row to the log.

        at_end: Whether the run would go on without it if it had more time, so that a
            resumed one must not be changed by it.
        """
        progress, optimizer = self.progress, self.parts.optimizer
        held_out: Dict[str, float] = {}
        if self.data.held_out:
            model = self.parts.model
            with model.use_params(optimizer.averages or {}):
                held_out = evaluate(model, self._objective, self.data.held_out)
        total = self._objective.total(held_out) if held_out else None
        is_best = total is not None and (progress.best is None or total < progress.best)
        train_loss = progress.losses.means()
        seconds = self.seconds
        words_before, seconds_before = self._speed_from
        speed = (progress.words - words_before) / max(1e-9, seconds - seconds_before)
        row = {
            "words": progress.words,
            "epoch": progress.epoch,
            "step": progress.step,
            "minutes": round(seconds / 60, 3),
            "words_per_second": round(speed),
            "learn_rate": float(optimizer.learn_rate),
            "train_loss": train_loss,
            "train_total": self._objective.total(train_loss),
            "held_out_loss": held_out,
            "held_out_total": total,
            "is_best": is_best,
        }
        weights = self._state.tok2vec_to_bytes() if is_best else None
        progress.add_row(row, weights, at_end=at_end)
        if is_best:
            self.folder.write_best(progress.best_weights)
        self.folder.write_log(progress.rows)
        self._speed_from = progress.words, self.seconds
        self._console.show_row(row)

    def _write_weights(self, name: str) -> None:
        self.folder.write(name, self._state.tok2vec_to_bytes())

    def _reason_to_stop(self, stop: Event) -> Optional[str]:
        settings = self.parts.settings
        if stop.is_set():
            return "signal"
        if settings.patience and self.progress.n_worse >= settings.patience:
            return "patience"
        if settings.max_minutes and self.seconds >= 60 * settings.max_minutes:
            return "time"
        return None
