"""A task of tests, whose figures, targets and answers are not those of any that cnnkit has."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import pytest

from cnnkit.config.target import OneClass, Target
from cnnkit.task import Figure, Task
from cnnkit.tasks import TASKS


class Brightness(Task):
    """How bright each image is, which a network may say of images of any classes."""

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("mean_error", "mean error", larger_is_better=False),
        Figure("close", "share of close ones", is_share=True),
    )
    target: ClassVar[type[Target]] = OneClass

    def check(self, *_: Any) -> None:
        """Any network will do."""


def add_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs may say `task: brightness` until the test ends."""
    monkeypatch.setitem(sys.modules, "cnnkit.tasks.brightness", sys.modules[__name__])
    monkeypatch.setitem(TASKS.modules, "brightness", ("Brightness",))
    monkeypatch.setitem(TASKS.aliases, "brightness", "Brightness")
