"""Pictures for the page, as PNG data URLs: the network's input, Grad-CAM's overlay, sheets of feature maps."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnkit.images.pictures import data_url, picture_of
from cnnkit.inside.feature_maps import most_active, normalised

#: A stage's sheet shows no more feature maps, and so many side by side.
MOST_CHANNELS = 32
SHEET_COLUMNS = 8

#: Pixels between two feature maps, and the least height of one.
GAP = 2
LEAST_TILE = 32

#: The least height of an overlay, which is interpolated.
LEAST_OVERLAY = 224

#: From dark to bright, the same for everyone whatever their colour vision.
COLOURS = "inferno"

#: Of PNG files: a little larger, and sent sooner.
COMPRESSION = 3


def input_picture(image: NDArray[np.uint8]) -> str:
    """The image as the network sees it.

    Args:
        image: [height, width, channels], one or three channels.
    """
    return data_url(picture_of(image), compress_level=COMPRESSION)


def overlay_picture(heat: NDArray[np.float32], size: tuple[int, int]) -> str:
    """A map to lay over the image: the more a place speaks for the class, the brighter and the less transparent.

    Args:
        heat: [rows, columns], 0..1.
        size: (height, width) of the network's input; the picture is a multiple of it.
    """
    height, width = (length * max(1, math.ceil(LEAST_OVERLAY / size[0])) for length in size)
    smooth = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    picture = Image.fromarray(np.rint(np.clip(np.asarray(smooth), 0, 1) * 255).astype(np.uint8), "P")
    picture.putpalette(_colours())
    return data_url(picture, transparency=bytes(range(256)), compress_level=COMPRESSION)


def sheet_picture(maps: NDArray[np.float32]) -> tuple[str, list[int]]:
    """A stage's feature maps on one sheet, each from its least value (black) to its largest (white).

    Args:
        maps: [rows, columns, channels].

    Returns:
        The picture, and which channels it shows: those with the largest mean, in their own order.
    """
    rows, columns = maps.shape[:2]
    shown = sorted(most_active(maps, MOST_CHANNELS))
    across = min(SHEET_COLUMNS, len(shown))
    down = math.ceil(len(shown) / across)
    times = max(1, math.ceil(LEAST_TILE / max(rows, columns)))
    high, wide = rows * times + GAP, columns * times + GAP
    # Grey and opacity: the gaps are transparent.
    sheet = np.zeros((down * high - GAP, across * wide - GAP, 2), np.uint8)
    for index, channel in enumerate(shown):
        top, left = index // across * high, index % across * wide
        grey = np.rint(255 * normalised(maps[..., channel])).astype(np.uint8)
        tile = np.repeat(np.repeat(grey, times, axis=0), times, axis=1)
        sheet[top : top + rows * times, left : left + columns * times, 0] = tile
        sheet[top : top + rows * times, left : left + columns * times, 1] = 255
    return data_url(picture_of(sheet), compress_level=COMPRESSION), shown


@cache
def _colours() -> bytes:
    """Red, green and blue for each level."""
    from matplotlib import colormaps

    return bytes(np.rint(colormaps[COLOURS](np.arange(256))[:, :3] * 255).astype(np.uint8))
