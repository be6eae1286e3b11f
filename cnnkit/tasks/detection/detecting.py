"""A trained run as what finds boxes in images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnkit.runs.interface import Interface
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.detection.peaks import Detections, detections_of
from cnnkit.tasks.detection.settings import Settings

#: The score from which on boxes are said where nothing has been chosen on validation images.
USUAL_THRESHOLD = 0.3

#: Under which name the run keeps what has been chosen.
THRESHOLD = "threshold"


def threshold_of(interface: Interface) -> float:
    """The score from which on a run says a box."""
    return float(interface.concluded.get(THRESHOLD, USUAL_THRESHOLD))


def detector(trained: TrainedRun, settings: Settings) -> Callable[[Any], list[Detections]]:
    """What a run says of images, uint8 [batch, height, width, channels]: all its boxes."""
    classes = len(trained.interface.class_names)

    def detect(images: Any) -> list[Detections]:
        return detections_of(trained.network()[0](images), classes, settings.stride, settings.most)

    return detect
