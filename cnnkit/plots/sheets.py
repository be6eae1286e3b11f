"""Sheets of images: rows of pictures with a caption each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.plots.drawing import shortened, wrapped
from cnnkit.plots.style import figure_of, save
from cnnkit.terminal.printable import printable

#: Colours of maps: from dark blue to yellow, even in steps for any colour vision (Nuñez, Anderton and Renslow 2018).
MAP_COLOURS = "cividis"

_CELL = 1.25
_LINE = 0.17
_HEADING = 0.3
_HEADING_LINE = 0.19
_GAP = 0.15
_MARGIN = 0.1
_POINTS = 72

#: Sizes of letters, points.
_TITLE_SIZE, _NOTE_SIZE, _HEADING_SIZE, _CAPTION_SIZE = 12, 8.5, 9.5, 7.5


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
    width = max(widest * (cell + _GAP) + 2 * _MARGIN, 6.0)
    titles = _broken(title, _TITLE_SIZE, width, bold=True)
    notes = _broken(note, _NOTE_SIZE, width) if note else []
    broken = [(_broken(heading, _HEADING_SIZE, width) if heading else [], pictures) for heading, pictures in lines]
    heights = [_height(len(headings), pictures, cell) for headings, pictures in broken]
    head = 0.2 + 0.25 * len(titles) + 0.22 * len(notes)
    total = head + sum(heights)
    figure = figure_of(width, total, constrained=False)
    # One for all pictures, in inches: matplotlib needs longer for a hundred axes than for what is in them.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = total
    for line in titles:
        top -= 0.25
        _write(axes, _MARGIN, top, line, _TITLE_SIZE, weight="bold")
    for line in notes:
        top -= 0.22
        _write(axes, _MARGIN, top - 0.03, line, _NOTE_SIZE, color="#444444")
    top = total - head
    for (headings, pictures), height in zip(broken, heights, strict=True):
        for number, line in enumerate(headings):
            _write(axes, _MARGIN, top - 0.18 - number * _HEADING_LINE, line, _HEADING_SIZE)
        below = top - _heading_height(len(headings))
        for place, picture in enumerate(pictures):
            _draw(axes, picture, _MARGIN + place * (cell + _GAP), below - cell, cell)
        top -= height
    axes.set(xlim=(0, width), ylim=(0, total), aspect="auto")
    save(figure, path)


def _heading_height(lines: int) -> float:
    return _HEADING + (lines - 1) * _HEADING_LINE if lines else 0


def _height(headings: int, pictures: Sequence[Picture], cell: float) -> float:
    captions = max((len(picture.caption.splitlines()) for picture in pictures), default=0)
    return _heading_height(headings) + cell + captions * _LINE + 0.12


def _broken(text: str, size: float, width: float, bold: bool = False) -> list[str]:
    """Lines of a text that fit on a sheet of a width in inches."""
    room = (width - 2 * _MARGIN) * _POINTS
    words = printable(text).split(" ")
    return wrapped([shortened(word, size, room, bold) for word in words], " ", size, room, bold)


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
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent)
    else:
        axes.imshow(image, cmap=MAP_COLOURS, vmin=0, vmax=1, interpolation="nearest", extent=extent)
    if picture.overlay is not None:
        axes.imshow(
            picture.overlay, cmap="inferno", vmin=0, vmax=1, alpha=0.55, interpolation="bilinear", extent=extent
        )
    room = (cell + _GAP - 0.04) * _POINTS
    caption = "\n".join(shortened(line, _CAPTION_SIZE, room) for line in picture.caption.splitlines())
    options: Any = {"ha": "center", "va": "top", "fontsize": _CAPTION_SIZE}
    axes.text(left + cell / 2, bottom - 0.04, caption, parse_math=False, **options)
