"""Metrics of the class probabilities as a whole."""

from typing import ClassVar, Literal

from pydantic import Field

from cnnkit.config.objectives.losses import FROM_LOGITS
from cnnkit.config.objectives.metrics import Metric, Misfit, too_many
from cnnkit.format.fields import ClassAxis, PositiveInteger, Rate


class CategoricalAccuracy(Metric):
    """Share of images whose most probable class is the true one."""


class TopKCategoricalAccuracy(Metric):
    """Share of images whose true class is among the k most probable."""

    leading: ClassVar[str | None] = "k"
    k: PositiveInteger = Field(default=5, description="How many classes count; fewer than there are.")

    def misfit(self, classes: int) -> Misfit | None:
        return too_many("k", self.k, classes)


class _Crossentropy(Metric):
    better: ClassVar[Literal["max", "min"]] = "min"

    from_logits: bool | None = Field(default=None, description=FROM_LOGITS)
    label_smoothing: Rate = Field(default=0, description="How far labels are moved towards uniform.")


class CategoricalCrossentropy(_Crossentropy):
    """Cross-entropy between one-hot labels and class probabilities."""

    axis: ClassAxis = Field(default=-1, description="The axis of the classes.")


class BinaryCrossentropy(_Crossentropy):
    """Cross-entropy of each class on its own."""
