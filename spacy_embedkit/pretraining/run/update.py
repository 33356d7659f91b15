"""One update of the weights."""

import math
from typing import Any, List, Sequence

from spacy.tokens import Doc
from thinc.api import Model, Optimizer

from ...checks import InputError
from .objective_state import Losses, ObjectiveState


def update(
    model: Model,
    objective: ObjectiveState,
    optimizer: Optimizer,
    batches: Sequence[List[Doc]],
) -> Losses:
    """Learn from the mean gradient of some batches, and step the schedules.

    Raises: InputError if the loss is NaN or infinite; the weights are as before.
    """
    sums: Losses = {}
    for docs in batches:
        predictions, backprop = model.begin_update(docs)
        loss, gradients = model.attrs["loss"](model.ops, docs, predictions)
        value = float(loss)
        if not math.isfinite(value):
            raise InputError(
                f"the loss is {value}; begin anew with a lower learn_rate or grad_clip "
                "in [pretraining.optimizer], or use what was kept before"
            )
        if len(batches) > 1:
            gradients = _scaled(gradients, 1 / len(batches))
        backprop(gradients)
        n_words = sum(map(len, docs))
        for name, (part, n) in objective.take_losses(value, n_words).items():
            total, n_total = sums.get(name, (0.0, 0))
            sums[name] = total + float(part), n_total + n
    model.finish_update(optimizer)
    optimizer.step_schedules()
    return sums


def _scaled(gradients: Any, factor: float) -> Any:
    if isinstance(gradients, (list, tuple)):
        return type(gradients)(_scaled(part, factor) for part in gradients)
    return gradients * factor
