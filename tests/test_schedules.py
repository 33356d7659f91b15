"""Schedules, and settings that take them."""

import pickle
from copy import deepcopy
from itertools import islice

import pytest

from spacy_embedkit.schedules import build_unfreeze_v1
from spacy_embedkit.transformer.scheduled import Scheduled


def values(setting, n):
    """The values of n updates."""
    found = []
    for _ in range(n):
        found.append(setting.value)
        setting.advance()
    return found


def test_number_is_constant() -> None:
    assert Scheduled(0.5).is_constant
    assert values(Scheduled(0.5), 3) == [0.5] * 3


def test_ended_schedule_keeps_its_last_value() -> None:
    setting = Scheduled(iter([3, 1, 2]))
    assert not setting.is_constant
    assert values(setting, 5) == [3, 1, 2, 2, 2]


@pytest.mark.parametrize("copy", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copy_keeps_the_current_value(copy) -> None:
    setting = Scheduled(iter([3, 1, 2]))
    setting.advance()
    assert values(copy(setting), 2) == [1, 1]
    assert values(setting, 2) == [1, 2]


def test_unfreeze_adds_one_layer_at_a_time() -> None:
    found = list(islice(build_unfreeze_v1(2, steps_per_layer=3), 9))
    assert found == [0, 0, 1, 1, 1, 2, 2, 2, 3]
