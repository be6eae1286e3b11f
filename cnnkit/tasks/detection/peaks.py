"""Boxes of a network's outputs: the peaks of its heat maps, moved by the offsets, as large as the sizes there.

What the outputs mean is Zhou, Wang and Krähenbühl's ("Objects as Points", 2019, arXiv:1904.07850): for each place of a
coarse map a logit of every class, how far the centre of an object lies from the place, and its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError

#: Numbers of a place beside the logits: offset across and down, width and height, all in places.
BOX_OUTPUTS = 4


@dataclass(frozen=True, eq=False)
class Detections:
    """What a network has found in an image, the surest first.

    Attributes:
        boxes: Left, top, right, bottom in pixels, float64 [n, 4], cut off at the edges of the image.
        scores: How sure it is, 0..1, float64 [n].
        numbers: Of the classes, int64 [n].
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    numbers: NDArray[np.int64]

    def above(self, threshold: float) -> Detections:
        """Those that are at least so sure."""
        kept = self.scores >= threshold
        return Detections(self.boxes[kept], self.scores[kept], self.numbers[kept])


def detections_of(outputs: Any, classes: int, stride: int, most: int) -> list[Detections]:
    """What outputs say of each image.

    A place is a peak of a class where no neighbour, diagonal ones included, has a larger logit of that class; no other
    suppression is needed.

    Args:
        outputs: [images, rows, columns, classes + 4].
        stride: Pixels from one place to the next.
        most: Detections of an image, at most.

    Raises:
        CnnkitError: if they are not of that form, or not finite.
    """
    values = np.asarray(outputs, np.float32)
    if values.ndim != 4 or values.shape[-1] != classes + BOX_OUTPUTS:
        raise CnnkitError(
            f"expected a model that outputs {classes} classes and {BOX_OUTPUTS} numbers for each place, got outputs of "
            f"shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise CnnkitError(
            "expected finite outputs, the model outputs NaN or infinity",
            "Its weights are not usable; train again with a lower learning rate.",
        )
    return [_of_image(image, classes, stride, most) for image in values]


def _of_image(values: NDArray[np.float32], classes: int, stride: int, most: int) -> Detections:
    rows, columns, _ = values.shape
    heat = values[..., :classes]
    logits = np.where(heat == _neighbours(heat), heat, -np.inf).ravel()
    # Of equal ones, the first.
    order = np.argsort(-logits, kind="stable")[:most]
    order = order[np.isfinite(logits[order])]
    row, column, number = np.unravel_index(order, heat.shape)
    numbers = values[row, column, classes:].astype(np.float64)
    x, y = column + numbers[:, 0], row + numbers[:, 1]
    half = np.maximum(numbers[:, 2:], 0) / 2
    edges = np.stack([x - half[:, 0], y - half[:, 1], x + half[:, 0], y + half[:, 1]], axis=1) * stride
    boxes = np.clip(edges, 0, [columns * stride, rows * stride] * 2)
    scores = 1 / (1 + np.exp(-logits[order].astype(np.float64)))
    return Detections(boxes, scores, number.astype(np.int64))


def _neighbours(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest value in the 3x3 places around each, [rows, columns, classes]."""
    padded = np.pad(heat, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    rows, columns, _ = heat.shape
    across = np.maximum(np.maximum(padded[:, :columns], padded[:, 1 : columns + 1]), padded[:, 2 : columns + 2])
    largest: NDArray[np.float32] = np.maximum(np.maximum(across[:rows], across[1 : rows + 1]), across[2 : rows + 2])
    return largest
