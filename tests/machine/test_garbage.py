"""Garbage is collected as before once everything is loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cnnkit.machine import garbage


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    garbage.look_as_usual()  # a command that another test ran in this process may have left them high
    gc.unfreeze()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize("before", [(700, 10, 10), (1234, 5, 6)])
def test_thresholds_come_back(before: tuple[int, int, int]) -> None:
    gc.set_threshold(*before)
    garbage.look_rarely()
    garbage.look_rarely()
    assert gc.get_threshold()[0] > 10 * before[0]
    garbage.look_as_usual()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() > 0


def test_thresholds_of_others_are_left_alone() -> None:
    gc.set_threshold(1234, 5, 6)
    garbage.look_as_usual()
    assert gc.get_threshold() == (1234, 5, 6)
    assert gc.get_freeze_count() == 0
