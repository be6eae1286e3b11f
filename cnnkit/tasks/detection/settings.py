"""The arguments of the task that its other modules need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What a network's map is like, and how it is learned.

    Attributes:
        stride: Pixels from one place of the map to the next.
        most: Detections of an image, at most.
        heat_weight, offset_weight, size_weight: Of the parts of the loss.
    """

    stride: int
    most: int
    heat_weight: float
    offset_weight: float
    size_weight: float
