"""Test images with their hits, misses and false alarms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.boxes import BoxTargets
from cnnkit.errors import CnnkitError
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.detection.drawing import with_judgement
from cnnkit.tasks.detection.predictions import Judged, Predictions, judge, read_predictions
from cnnkit.tasks.detection.settings import Settings

#: Images that are looked at together.
_BATCH = 8

NOTE = "Hits are blue, misses orange and broken, false alarms magenta; overlap of at least 0.5."


def mistakes(settings: Settings, trained: TrainedRun, count: int, path: Path) -> None:
    """Draws the test images with most misses and false alarms.

    Raises:
        CnnkitError: if the run was not evaluated, if all is right, or if the images are not there as they were.
    """
    predictions = read_predictions(settings, trained)
    if not mistakes_sheet(predictions, f"Mistakes of {trained.run.name}, the worst first", count, path):
        raise CnnkitError(f"every object of the test images of `{trained.run.path}` is found; there is nothing to show")


def judged(predictions: Predictions, places: NDArray[np.int64]) -> Iterator[tuple[int, Any, Judged]]:
    """Images of a split, their places, and what became of their objects."""
    if not len(places):
        return
    split = predictions.open_split()
    targets = split.targets
    assert isinstance(targets, BoxTargets)
    truths = targets.each()
    for start in range(0, len(places), _BATCH):
        chosen = places[start : start + _BATCH]
        images = split.read(chosen)
        for place, image, found in zip(chosen.tolist(), images, predictions.detect(images), strict=True):
            yield place, image, judge(found, truths[place], predictions.threshold, len(predictions.class_names))


def mistakes_sheet(predictions: Predictions, title: str, count: int, path: Path) -> bool:
    """Draws what `mistakes` does for the images of any split; False where all is right."""
    places = predictions.worst[:count]
    if not len(places):
        return False
    pictures = [
        Picture(with_judgement(image, one, predictions.class_names), _caption(predictions, place))
        for place, image, one in judged(predictions, places)
    ]
    note = f"{NOTE} Boxes with a score of at least {predictions.threshold:g}."
    sheet(title, [Row("", pictures)], path, columns=4, note=note, cell=2.6)
    return True


def _caption(predictions: Predictions, place: int) -> str:
    _, hits, misses, alarms = predictions.counts[place].tolist()
    return f"{predictions.identities[place]}\n{hits} hits, {misses} misses, {alarms} false alarms"
