"""Registered schedules."""

from itertools import count
from typing import Iterable, Iterator

from .checks import check_not_negative, check_positive


def build_unfreeze_v1(frozen_steps: int, steps_per_layer: int = 1) -> Iterable[int]:
    """Yield how many layers of a transformer learn, from the top, at each update.

    For `trained_layers` of TransformerModel.v1: none for frozen_steps updates, then
    one, and one more after every steps_per_layer updates.

    frozen_steps (int): Updates in which no layer learns, 0 or more.
    steps_per_layer (int): Updates from one layer to the next, 1 or more.
    Raises: ValueError on a number that is not allowed.
    Source: Howard and Ruder 2018, arXiv:1801.06146.
    """
    check_not_negative("unfreeze.v1", frozen_steps=frozen_steps)
    check_positive("unfreeze.v1", steps_per_layer=steps_per_layer)
    return _unfreeze(frozen_steps, steps_per_layer)


def _unfreeze(frozen_steps: int, steps_per_layer: int) -> Iterator[int]:
    for step in count(-frozen_steps):
        yield max(0, step // steps_per_layer + 1)
