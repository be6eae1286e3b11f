"""The kernels of the first layer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.plots.style import figure_of, save

# Around each grey kernel, which may hold white and black: sky blue of the palette.
_FRAME = (0.337, 0.706, 0.914)

#: More are not drawn.
MOST_FILTERS = 256


def filters(before: Any, after: Any, path: Path) -> None:
    """Draws the kernels of the first layer before and after training, side by side.

    Each kernel is scaled by its own largest weight; middle grey is zero, brighter is positive. Kernels with
    three channels are shown in colour; with one in grey; with any other number, the mean of the first three.

    Args:
        before: Kernels as they were initialised, [height, width, channels, filters].
        after: The trained kernels, the same shape.
        path: The PNG file to write; of more than 256 filters, it shows the first 256.

    Raises:
        CnnkitError: if the shapes are not those of kernels, or differ.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if before.ndim != 4 or before.shape != after.shape or 0 in before.shape:
        raise CnnkitError(
            "expected kernels of one shape (height, width, channels, filters) before and after training, "
            f"got {before.shape} and {after.shape}"
        )
    height, width, channels, number = before.shape
    shown = min(number, MOST_FILTERS)
    pictures = [kernel_tiles(kernels[..., :shown]) for kernels in (before, after)]
    panel_height, panel_width = pictures[0].shape[:2]
    columns = math.ceil(math.sqrt(shown))
    inches = min(5 / panel_width, 7 / panel_height, 1.2 * columns / max(panel_width, panel_height))
    figure = figure_of(2 * max(panel_width * inches, 2.5) + 0.4, panel_height * inches + 0.8)
    part = f"the first {shown} of " if shown < number else ""
    note = f"{part}{number} filter{'s' if number > 1 else ''}"
    figure.suptitle(f"First-layer kernels, {height}x{width}x{channels}, {note} (mid-grey is 0)", fontsize=11)
    for place, picture in enumerate(pictures):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(("before training", "after training")[place], fontsize=10)
        axes.set_axis_off()
    save(figure, path)


def kernel_tiles(kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernels in one RGB picture, in rows of about the square root of their number, as `filters` draws them.

    Args:
        kernels: [height, width, channels, filters].

    Returns:
        [rows, columns, 3], 0..1.
    """
    height, width, channels, number = kernels.shape
    if channels != 3:
        kernels = kernels[:, :, :3].mean(axis=2, keepdims=True)
    # Weights that are not finite (a run that diverged) and kernels of zeros are shown as zero.
    kernels = np.where(np.isfinite(kernels), kernels, 0)
    edge = 1.0 if channels == 3 else _FRAME
    largest = np.abs(kernels).max(axis=(0, 1, 2))
    scaled = 0.5 + 0.5 * kernels / np.where(largest > 0, largest, 1)
    # Several picture elements per weight, so that the frame around a kernel can be thinner than a weight.
    zoom = max(4, 48 // max(height, width))
    frame = max(1, zoom // 8)
    tall, wide = height * zoom + 2 * frame, width * zoom + 2 * frame
    columns = math.ceil(math.sqrt(number))
    picture = np.ones((math.ceil(number / columns) * tall, columns * wide, 3))
    for index in range(number):
        top, left = index // columns * tall, index % columns * wide
        picture[top : top + tall, left : left + wide] = edge
        tile = scaled[..., index].repeat(zoom, axis=0).repeat(zoom, axis=1)
        picture[top + frame : top + tall - frame, left + frame : left + wide - frame] = tile
    return picture


def kernel_picture(kernels: Any) -> NDArray[np.uint8]:
    """All kernels in one picture for a page, as `kernel_tiles` has them; nothing where the last row has no kernel.

    Args:
        kernels: [height, width, channels, filters].

    Returns:
        uint8 [rows, columns, 4], the last of them opacity: on a dark page, what is left would be a white block.
    """
    tiles = kernel_tiles(np.asarray(kernels, np.float64))
    number = kernels.shape[-1]
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    height, width = tiles.shape[0] // rows, tiles.shape[1] // columns
    opacity = (np.arange(rows * columns) < number).reshape(rows, columns).repeat(height, axis=0).repeat(width, axis=1)
    return np.rint(255 * np.dstack([tiles, opacity])).astype(np.uint8)
