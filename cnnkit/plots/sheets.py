"""Sheets of images: rows of pictures with a caption each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.plots.style import figure_of, save

#: Colours of maps: from dark blue to yellow, even in steps for any colour vision (Nuñez, Anderton and Renslow 2018).
MAP_COLOURS = "cividis"

_CELL = 1.25
_LINE = 0.17
_HEADING = 0.3
_CAPTION_CHARACTERS = 19


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a sheet.

    Attributes:
        image: uint8 [height, width, channels], or a map, float [height, width], 0..1.
        caption: Lines below it.
        overlay: A map, float [rows, columns], 0..1, laid over the image and stretched to it; None for none.
    """

    image: NDArray[Any]
    caption: str = ""
    overlay: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """Pictures side by side below a heading; they go on in another line where they are too many."""

    heading: str
    pictures: Sequence[Picture]


def sheet(
    title: str, rows: Sequence[Row], path: Path, *, columns: int = 8, note: str = "", cell: float = _CELL
) -> None:
    """Draws rows of pictures.

    Args:
        path: The PNG file to write.
        columns: Pictures side by side, at most.
        note: A line below the title.
        cell: Width and height of a picture, inches.
    """
    lines = [
        (row.heading if start == 0 else "", row.pictures[start : start + columns])
        for row in rows
        for start in range(0, len(row.pictures), columns)
    ]
    widest = max((len(pictures) for _, pictures in lines), default=1)
    width = max(widest * (cell + 0.15) + 0.2, 6.0)
    heights = [_height(heading, pictures, cell) for heading, pictures in lines]
    head = 0.45 + (0.22 if note else 0)
    total = head + sum(heights)
    figure = figure_of(width, total, constrained=False)
    # One for all pictures, in inches: matplotlib needs longer for a hundred axes than for what is in them.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _write(axes, 0.1, total - 0.25, title, 12, weight="bold")
    if note:
        _write(axes, 0.1, total - 0.5, note, 8.5, color="#444444")
    top = total - head
    for (heading, pictures), height in zip(lines, heights, strict=True):
        if heading:
            _write(axes, 0.1, top - 0.18, heading, 9.5)
        below = top - (_HEADING if heading else 0)
        for place, picture in enumerate(pictures):
            _draw(axes, picture, 0.1 + place * (cell + 0.15), below - cell, cell)
        top -= height
    axes.set(xlim=(0, width), ylim=(0, total), aspect="auto")
    save(figure, path)


def _height(heading: str, pictures: Sequence[Picture], cell: float) -> float:
    captions = max((len(_lines(picture.caption)) for picture in pictures), default=0)
    return (_HEADING if heading else 0) + cell + captions * _LINE + 0.12


def _lines(caption: str) -> list[str]:
    return [
        line if len(line) <= _CAPTION_CHARACTERS else line[: _CAPTION_CHARACTERS - 1] + "…"
        for line in caption.splitlines()
    ]


def _write(axes: Any, left: float, bottom: float, text: str, size: float, **options: Any) -> None:
    # A class name may hold a dollar sign, which would start a formula.
    axes.text(left, bottom, text, fontsize=size, parse_math=False, **options)


def _draw(axes: Any, picture: Picture, left: float, bottom: float, cell: float) -> None:
    """One picture and its caption; the longer side of the image is as long as the cell."""
    image = picture.image
    rows, columns = image.shape[:2]
    width, height = cell * columns / max(rows, columns), cell * rows / max(rows, columns)
    x, y = left + (cell - width) / 2, bottom + (cell - height) / 2
    extent = (x, x + width, y, y + height)
    if image.ndim == 3:
        shown = image[..., 0] if image.shape[2] == 1 else image
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent)
    else:
        axes.imshow(image, cmap=MAP_COLOURS, vmin=0, vmax=1, interpolation="nearest", extent=extent)
    if picture.overlay is not None:
        axes.imshow(
            picture.overlay, cmap="inferno", vmin=0, vmax=1, alpha=0.55, interpolation="bilinear", extent=extent
        )
    caption = "\n".join(_lines(picture.caption))
    axes.text(left + cell / 2, bottom - 0.04, caption, fontsize=7.5, ha="center", va="top", parse_math=False)
