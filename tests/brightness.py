"""A task of tests, whose figures, targets and answers are not those of any that cnnkit has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.config.target import OneClass, Target
from cnnkit.runs.interface import Interface
from cnnkit.task import AnswerPicture, Answers, Figure, Task
from cnnkit.tasks import TASKS


@dataclass(frozen=True)
class BrightnessAnswer:
    value: float

    def cells(self, top: int) -> Sequence[str]:
        return [f"{self.value:.1f}"]

    def fields(self) -> Sequence[str]:
        return [repr(self.value)]

    def entry(self, top: int | None = None) -> dict[str, Any]:
        return {"brightness": self.value}


class BrightnessAnswers(Answers):
    """A number for each image, and a picture of one colour that is as bright."""

    kind: ClassVar[str] = "brightness"
    header = ("brightness",)
    alignment = ">"
    columns = ("brightness",)
    pictures = ("plain",)
    note = "0 is black"

    def read(self, outputs: Any) -> Sequence[BrightnessAnswer]:
        return [BrightnessAnswer(float(value)) for value in outputs]

    def draw(
        self, images: Any, outputs: Any, sizes: Sequence[tuple[int, int]] | None = None
    ) -> Sequence[Sequence[AnswerPicture]]:
        return [
            [AnswerPicture("plain", np.full(image.shape, value, np.uint8))]
            for image, value in zip(images, outputs, strict=True)
        ]


class Brightness(Task):
    """How bright each image is, which a network may say of images of any classes."""

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("mean_error", "mean error", larger_is_better=False),
        Figure("close", "share of close ones", is_share=True),
    )
    target: ClassVar[type[Target]] = OneClass

    def check(self, *_: Any) -> None:
        """Any network will do."""

    def answers(self, interface: Interface) -> Answers:
        return BrightnessAnswers()


def add_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs may say `task: brightness` until the test ends."""
    monkeypatch.setitem(sys.modules, "cnnkit.tasks.brightness", sys.modules[__name__])
    monkeypatch.setitem(TASKS.modules, "brightness", ("Brightness",))
    monkeypatch.setitem(TASKS.aliases, "brightness", "Brightness")
