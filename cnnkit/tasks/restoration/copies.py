"""Smaller copies of a picture, from which a network learns to enlarge it."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.tasks.restoration.lessons import Lessons, details, spread_of
from cnnkit.tasks.restoration.observation import shrunk
from cnnkit.tasks.restoration.smooth import enlarged

#: So near to a copy's border nothing is learned: the network sees what is beyond it.
_MARGIN = 4


def lessons_of_copies(pixels: NDArray[np.uint8], times: int) -> Lessons:
    """What can be learned of a picture by making it smaller, as by Shocher et al. 2018.

    The picture is the truth of its smaller copy, which is enlarged again by `enlarged`. There is a copy for each way
    in which the grid of the larger pixels can lie on the picture; all together are one lesson, tile beside tile.

    Args:
        pixels: uint8 [height, width, channels].
        times: How many times higher and wider the picture becomes.

    Raises:
        CnnkitError: if the picture is too small.
    """
    height, width, channels = pixels.shape
    # Wherever the grid lies, the copies are of the same size.
    rows, columns = ((side - times + 1) // times * times for side in (height, width))
    if min(rows, columns) <= 2 * _MARGIN:
        least = (2 * _MARGIN // times + 1) * times + times - 1
        raise CnnkitError(
            f"the picture is {height}x{width}, and nothing could be learned of smaller copies of it",
            f"It takes {least}x{least} pixels at least. `dip_superres` enlarges smaller ones.",
        )
    smooth = np.zeros((2, height * times, width * times, channels), np.float32)
    smooth[0] = enlarged(pixels / 255.0, times).clip(0, 1)
    finer = np.zeros_like(smooth)
    finer[0] = details(smooth[0])
    truth = np.zeros_like(smooth[0])
    counts = np.zeros(smooth.shape[:3], bool)
    for down, right in itertools.product(range(times), repeat=2):
        copied = pixels[down : down + rows, right : right + columns]
        top, left = down * height, right * width
        tile = (slice(top, top + rows), slice(left, left + columns))
        truth[tile] = copied / np.float32(255)
        smooth[1][tile] = enlarged(shrunk(copied, times) / 255.0, times).clip(0, 1)
        finer[1][tile] = details(smooth[1][tile])
        counts[1, top + _MARGIN : top + rows - _MARGIN, left + _MARGIN : left + columns - _MARGIN] = True
    spread = spread_of(finer[0])
    return Lessons(smooth, (finer / spread).astype(np.float32), truth, counts, spread)
