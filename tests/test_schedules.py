"""Settings that change from update to update."""

import pickle
from copy import deepcopy
from itertools import islice

import pytest

from spacy_embedkit.schedules import Scheduled, build_unfreeze_v1


def values(setting, n):
    """The values of n updates."""
    found = []
    for _ in range(n):
        found.append(setting.value)
        setting.advance()
    return found


def test_number_stays() -> None:
    assert Scheduled(0.5).is_constant
    assert values(Scheduled(0.5), 3) == [0.5] * 3


def test_last_value_of_a_schedule_stays() -> None:
    setting = Scheduled(iter([3, 1, 2]))
    assert not setting.is_constant
    assert values(setting, 5) == [3, 1, 2, 2, 2]


@pytest.mark.parametrize("copy", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copy_keeps_the_value_of_the_moment(copy) -> None:
    setting = Scheduled(iter([3, 1, 2]))
    setting.advance()
    assert values(copy(setting), 2) == [1, 1]
    assert values(setting, 2) == [1, 2]


def test_layers_thaw_one_by_one() -> None:
    found = list(islice(build_unfreeze_v1(2, steps_per_layer=3), 9))
    assert found == [0, 0, 1, 1, 1, 2, 2, 2, 3]
