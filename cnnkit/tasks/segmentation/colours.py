"""Colours of classes that people with any colour vision tell apart, and masks drawn in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.images.colours import COLOURS, rgb

#: What an ignored pixel is drawn in, and what a wrong and a right one is: the next colour by the rule above, so that no
#: class has it.
IGNORED = "#000000"
WRONG = "#ff0087"
RIGHT = "#f2f2f2"


def palette(classes: int, ignore: int | None) -> NDArray[np.uint8]:
    """The colour of each number that a mask may have, uint8 [256, 3]; with more than 24 classes, colours come again."""
    table = np.zeros((256, 3), np.uint8)
    for number in range(classes):
        table[number] = rgb(COLOURS[number % len(COLOURS)])
    if ignore is not None:
        table[ignore] = rgb(IGNORED)
    return table


def coloured(mask: NDArray[Any], classes: int, ignore: int | None) -> NDArray[np.uint8]:
    """A mask [height, width] as a picture, uint8 [height, width, 3]."""
    return palette(classes, ignore)[mask]


def overlay(image: NDArray[np.uint8], mask: NDArray[Any], classes: int, opacity: float = 0.5) -> NDArray[np.uint8]:
    """An image, [height, width, 1 or 3], under its mask, uint8 [height, width, 3].

    Args:
        opacity: Of the mask, 0..1.
    """
    colours = coloured(mask, classes, None).astype(np.float32)
    return np.rint((1 - opacity) * image.astype(np.float32) + opacity * colours).astype(np.uint8)


def masked(image: NDArray[np.uint8], mask: NDArray[Any], classes: int, ignore: int | None) -> NDArray[np.uint8]:
    """An image under its mask, where ignored pixels show the image alone."""
    covered = overlay(image, np.where(mask == ignore, 0, mask) if ignore is not None else mask, classes)
    return covered if ignore is None else np.where((mask == ignore)[..., None], image, covered)


def errors(truth: NDArray[Any], predicted: NDArray[Any], ignore: int | None) -> NDArray[np.uint8]:
    """Where a prediction is wrong, uint8 [height, width, 3]; ignored pixels are black."""
    picture = np.where((truth == predicted)[..., None], np.array(rgb(RIGHT), np.uint8), np.array(rgb(WRONG), np.uint8))
    if ignore is not None:
        picture[truth == ignore] = rgb(IGNORED)
    return picture
