"""Samples side by side, pixel by pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Grey between the images of a sheet, and pixels of it.
_BETWEEN, _GAP = 128, 1


def tiled(images: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Images as one picture, row by row, uint8 [height, width, channels].

    Args:
        images: uint8 [count, height, width, channels], at least one.
        columns: Of the picture; by default about as many as rows.
    """
    count, height, width, channels = images.shape
    columns = columns or math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    shape = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels)
    sheet: NDArray[Any] = np.full(shape, _BETWEEN, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = row * (height + _GAP), column * (width + _GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet
