"""Images, their masks and what a network makes of them, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.images.padding import cropped
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.segmentation.colours import coloured, errors
from cnnkit.tasks.segmentation.predictions import Predictions, read_predictions

#: Images that are predicted together.
_BATCH = 8

_NOTE = "Each image with its mask, the network's, and where the two differ (pink); what is ignored is black."


def legend(class_names: Sequence[str]) -> Row:
    """A patch of each class' colour with its name."""
    patches = [
        Picture(coloured(np.full((6, 12), number), len(class_names), None), name)
        for number, name in enumerate(class_names)
    ]
    return Row("Classes", patches)


def mistakes(trained: TrainedRun, count: int, path: Path) -> None:
    """Draws the test images whose masks are worst, by mean IoU.

    Raises:
        CnnkitError: if the run was not evaluated, if every pixel is right, or if the images are not there as they were.
    """
    predictions = read_predictions(trained)
    if not mistakes_sheet(predictions, f"Masks of {trained.run.name}, the worst first", count, path):
        raise CnnkitError(f"every pixel of the test images of `{trained.run.path}` is right; there is nothing to show")


def compared(predictions: Predictions, places: NDArray[np.int64]) -> Iterator[tuple[int, Any, Any, Any]]:
    """Images of a split with their masks: the place of each, the image, the true mask, and what the network says.

    They have the network's border, if it has one.
    """
    if not len(places):
        return
    split = predictions.open_split()
    for start in range(0, len(places), _BATCH):
        chosen = places[start : start + _BATCH]
        images = split.read(chosen)
        yield from zip(chosen.tolist(), images, split.read_masks(chosen), predictions.predict(images), strict=True)


def mistakes_sheet(predictions: Predictions, title: str, count: int, path: Path) -> bool:
    """Draws what `mistakes` does for the images of any split; False where every pixel is right."""
    places = predictions.worst[:count]
    if not len(places):
        return False
    names, ignore = predictions.target.all_names, predictions.target.ignore
    pictures: list[Picture] = []
    for place, *bordered in compared(predictions, places):
        image, truth, guess = (cropped(one, predictions.padding) for one in bordered)
        iou = f"mean IoU {predictions.mean_iou[place]:.1%}\nworst: {predictions.worst_class[place]}"
        pictures += [
            Picture(image, predictions.identities[place]),
            Picture(coloured(truth, len(names), ignore), "truth"),
            Picture(coloured(guess, len(names), None), iou),
            Picture(errors(truth, guess, ignore), f"{predictions.pixel_accuracy[place]:.1%} right"),
        ]
    sheet(title, [Row("", pictures), legend(names)], path, columns=8, note=_NOTE)
    return True
