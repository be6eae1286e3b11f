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
    three channels are shown in colour; with one in grey; with any other number, the mean of the first three. One of a
    signal has a row for each channel, and one of a volume its slices side by side.

    Args:
        before: Kernels as they were initialised, [height, width, channels, filters], [length, channels, filters] or
            [depth, height, width, channels, filters].
        after: The trained kernels, the same shape.
        path: The PNG file to write; of more than 256 filters, it shows the first 256.

    Raises:
        CnnkitError: if the shapes are not those of kernels, or differ.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if before.ndim not in (3, 4, 5) or before.shape != after.shape or 0 in before.shape:
        raise CnnkitError(
            "expected kernels of one shape (height, width, channels, filters) before and after training, "
            f"got {before.shape} and {after.shape}"
        )
    number = before.shape[-1]
    shown = min(number, MOST_FILTERS)
    pictures = [kernel_tiles(kernels[..., :shown]) for kernels in (before, after)]
    panel_height, panel_width = pictures[0].shape[:2]
    columns = _columns(before[..., :shown]) * (before.shape[0] if before.ndim == 5 else 1)
    inches = min(5 / panel_width, 7 / panel_height, 1.2 * columns / max(panel_width, panel_height))
    figure = figure_of(2 * max(panel_width * inches, 2.5) + 0.4, panel_height * inches + 0.8)
    part = f"the first {shown} of " if shown < number else ""
    lies = layout(before.ndim)
    note = f"{part}{number} filter{'s' if number > 1 else ''} (mid-grey is 0)" + (f"\n{lies}" if lies else "")
    size = "x".join(map(str, before.shape[:-1]))
    figure.suptitle(f"First-layer kernels, {size}, {note}", fontsize=11)
    for place, picture in enumerate(pictures):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(("before training", "after training")[place], fontsize=10)
        axes.set_axis_off()
    save(figure, path)


def layout(axes: int) -> str:
    """How a kernel with so many axes lies in a picture, where it is no image itself; else empty."""
    return {3: "a row for each channel", 5: "slices along the depth side by side"}.get(axes, "")


def kernel_tiles(kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernels in one RGB picture, in rows, as `filters` draws them.

    Args:
        kernels: [height, width, channels, filters], or those of signals or volumes.

    Returns:
        [rows, columns, 3], 0..1.
    """
    columns, number = _columns(kernels), kernels.shape[-1]
    kernels = _slices(kernels)
    slices, height, width, channels, _ = kernels.shape
    if channels != 3:
        kernels = kernels[:, :, :, :3].mean(axis=3, keepdims=True)
    # Weights that are not finite (a run that diverged) and kernels of zeros are shown as zero.
    kernels = np.where(np.isfinite(kernels), kernels, 0)
    edge = 1.0 if channels == 3 else _FRAME
    largest = np.abs(kernels).max(axis=(0, 1, 2, 3))
    scaled = 0.5 + 0.5 * kernels / np.where(largest > 0, largest, 1)
    zoom, frame, gap = _measures(kernels.shape)
    # Slices have one line between them.
    step = width * zoom + frame
    tall, wide = height * zoom + 2 * frame, slices * step + frame
    picture = np.ones((math.ceil(number / columns) * (tall + gap), columns * (wide + gap), 3))
    for index in range(number):
        top, left = index // columns * (tall + gap), index % columns * (wide + gap)
        picture[top : top + tall, left : left + wide] = edge
        for place in range(slices):
            tile = scaled[place, ..., index].repeat(zoom, axis=0).repeat(zoom, axis=1)
            begin = left + frame + place * step
            picture[top + frame : top + tall - frame, begin : begin + width * zoom] = tile
    return picture


def _slices(kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernels as slices that are images, [slices, height, width, channels, filters]."""
    if kernels.ndim == 3:
        # The channels of a signal are rows.
        return kernels.transpose(1, 0, 2)[None, :, :, None]
    return kernels[None] if kernels.ndim == 4 else kernels


def _measures(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Picture elements of a weight, of the frame around a kernel, and between kernels of several slices.

    Several per weight, so that the frame can be thinner than a weight.

    Args:
        shape: That of slices.
    """
    zoom = max(4, 48 // max(shape[1:3]))
    frame = max(1, zoom // 8)
    return zoom, frame, 4 * frame if shape[0] > 1 else 0


def _columns(kernels: NDArray[np.float64]) -> int:
    """Kernels side by side: about the square root of their number, more of tall ones, fewer of wide ones."""
    number = kernels.shape[-1]
    if kernels.ndim == 4:
        return math.ceil(math.sqrt(number))
    slices, height, width, _, _ = _slices(kernels).shape
    return min(number, math.ceil(math.sqrt(number * height / (slices * width))))


def kernel_picture(kernels: Any) -> NDArray[np.uint8]:
    """All kernels in one picture for a page, as `kernel_tiles` has them; nothing where the last row has no kernel.

    Args:
        kernels: [height, width, channels, filters], or those of signals or volumes.

    Returns:
        uint8 [rows, columns, 4], the last of them opacity: on a dark page, what is left would be a white block.
    """
    kernels = np.asarray(kernels, np.float64)
    tiles, number, columns = kernel_tiles(kernels), kernels.shape[-1], _columns(kernels)
    rows = math.ceil(number / columns)
    height, width = tiles.shape[0] // rows, tiles.shape[1] // columns
    opacity = (np.arange(rows * columns) < number).reshape(rows, columns).repeat(height, axis=0).repeat(width, axis=1)
    return np.rint(255 * np.dstack([tiles, opacity])).astype(np.uint8)
