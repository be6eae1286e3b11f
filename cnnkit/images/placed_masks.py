"""Masks of what a network takes, brought back to the image files that it was made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnkit.images.boxes import frame_of

#: The number in a mask of what a network has not seen, and of what is none of the image.
OUTSIDE = 255


def shown_part(size: tuple[int, int], shape: Sequence[int], resize: str) -> tuple[slice, slice]:
    """The rows and columns of a network's image whose pixels show the file, without the border that `pad` adds.

    A pixel shows what lies under its middle, as in a mask that is padded for training. Of an image so thin that it
    lies under none, the pixels in the middle count.

    Args:
        size: (height, width) of the file.
        shape: (height, width, ...) of what the network takes.
        resize: `stretch`, `pad` or `crop`.
    """
    left, top, across, down = frame_of(size, shape, resize)
    return _inside(top, down, size[0], shape[0]), _inside(left, across, size[1], shape[1])


def mask_in_file(mask: NDArray[np.uint8], size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """A mask of what a network takes as one of the image file: each pixel takes the number of the nearest one.

    Args:
        mask: [height, width] as the network takes it.
        size: (height, width) of the file.
        resize: `stretch`, `pad` or `crop`; what a crop leaves out becomes OUTSIDE.

    Returns:
        uint8 [height, width] of the file.
    """
    left, top, across, down = frame_of(size, mask.shape, resize)
    rows, columns = _nearest(top, down, size[0], mask.shape[0]), _nearest(left, across, size[1], mask.shape[1])
    if resize == "crop":
        framed = np.pad(mask, 1, constant_values=OUTSIDE)
        return framed[np.clip(rows + 1, 0, mask.shape[0] + 1)[:, None], np.clip(columns + 1, 0, mask.shape[1] + 1)]
    # At its edges, the nearest pixel may have its middle in the border.
    shown = [
        part.indices(length) for part, length in zip(shown_part(size, mask.shape, resize), mask.shape, strict=True)
    ]
    rows, columns = (
        np.clip(places, start, stop - 1) for places, (start, stop, _) in zip((rows, columns), shown, strict=True)
    )
    return mask[rows[:, None], columns]


def _inside(start: int, length: int, file_length: int, pixels: int) -> slice:
    """Which of a network's pixels along one axis have their middle in the file.

    Args:
        start, length: Of the frame that the pixels divide, in those of the file.
    """
    middles = start + (2 * np.arange(pixels) + 1) * length // (2 * pixels)
    (inside,) = np.nonzero((middles >= 0) & (middles < file_length))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice((pixels - 1) // 2, pixels // 2 + 1)


def _nearest(start: int, length: int, file_length: int, pixels: int) -> NDArray[np.int64]:
    """In which of a network's pixels the middle of each of the file's lies, along one axis; see `_inside`."""
    places: NDArray[np.int64] = (2 * (np.arange(file_length) - start) + 1) * pixels // (2 * length)
    return places
