"""Colours of classes that people with any colour vision tell apart, and masks drawn in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The first two are of Okabe and Ito's palette. Each other one is, among the colours that are neither nearly black nor
#: nearly white, the farthest from all before it: in CIELAB, for normal vision and for the three kinds of dichromacy as
#: Machado, Oliveira and Fernandes (2009) simulate them, whichever distance is the smallest. Of the first 12, any two
#: are at least 23 apart for everybody, of all 24 at least 15.
COLOURS = (
    "#0078b4", "#d25a00", "#ffe1d2", "#5a2d2d", "#8700ff", "#a5ff00", "#b48769", "#3c2d5a", "#9696a5", "#69c3ff",
    "#872d0f", "#d24bff", "#00ff78", "#2d2db4", "#d2e1ff", "#785a69", "#f0a52d", "#f000c3", "#e10f3c", "#a50087",
    "#e1b496", "#69c35a", "#4b783c", "#5a0087",
)  # fmt: skip

#: What an ignored pixel is drawn in, and what a wrong and a right one is: the next colour by the rule above, so that no
#: class has it.
IGNORED = "#000000"
WRONG = "#ff0087"
RIGHT = "#f2f2f2"


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour such as `#0078b4` as its three numbers, 0..255."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


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
