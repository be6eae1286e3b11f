"""Images with boxes drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.images.colours import COLOURS
from cnnkit.tasks.detection.peaks import Detections
from cnnkit.tasks.detection.predictions import Judged

#: Images are enlarged by a whole number until their longer side has so many pixels, for texts need room.
_SIDE = 384
#: Lines and letters grow with images whose longer side has more than one and a half times as many.
_LARGE = 768

#: Hits, misses and false alarms: blue, orange and magenta, which people with any colour vision tell apart.
HIT, MISS, ALARM = "#0078b4", "#f0a52d", "#f000c3"

#: How thick lines are, and how high letters, in pixels.
_LINE, _TEXT = 2, 13


@dataclass(frozen=True)
class Drawn:
    """A box to draw: its edges in pixels, its colour, a text on it, and whether its line is broken."""

    edges: Sequence[float]
    colour: str
    text: str = ""
    broken: bool = False


def draw(image: NDArray[np.uint8], boxes: Sequence[Drawn]) -> NDArray[np.uint8]:
    """An image [height, width, 1 or 3] with boxes, enlarged where it is small: uint8 [height, width, 3].

    On a large one, lines are thicker and letters larger.
    """
    from PIL import Image, ImageDraw, ImageFont

    scale = max(1, -(-_SIDE // max(image.shape[:2])))
    thick = max(1, round(max(image.shape[:2]) / _LARGE))
    colours = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    picture = Image.fromarray(np.repeat(np.repeat(colours, scale, axis=0), scale, axis=1))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(_TEXT * thick)
    for box in boxes:
        left, top, right, bottom = (round(edge * scale) for edge in box.edges)
        right, bottom = max(left, right - 1), max(top, bottom - 1)
        if box.broken:
            _dashed(pen, (left, top, right, bottom), box.colour, thick)
        else:
            pen.rectangle((left, top, right, bottom), outline=box.colour, width=_LINE * thick)
    # Texts over all lines.
    for box in boxes:
        if box.text:
            _write(pen, font, box, scale, thick, picture.size)
    return np.asarray(picture)


def _dashed(pen: Any, edges: tuple[int, int, int, int], colour: str, thick: int) -> None:
    left, top, right, bottom = edges
    dash, width = 5 * thick, _LINE * thick
    for start in range(left, right, 2 * dash):
        for row in (top, bottom):
            pen.line((start, row, min(start + dash, right), row), fill=colour, width=width)
    for start in range(top, bottom, 2 * dash):
        for column in (left, right):
            pen.line((column, start, column, min(start + dash, bottom)), fill=colour, width=width)


def _write(pen: Any, font: Any, box: Drawn, scale: int, thick: int, size: tuple[int, int]) -> None:
    """A text above its box, or inside where there is no room."""
    left, top = round(box.edges[0] * scale), round(box.edges[1] * scale)
    margin = 2 * thick
    width, height = round(pen.textlength(box.text, font=font)) + 2 * margin, _TEXT * thick + 2 * margin
    left = max(0, min(left, size[0] - width))
    top = top - height if top >= height else top
    pen.rectangle((left, top, left + width, top + height), fill=box.colour)
    luminance = sum(
        weight * part for weight, part in zip((0.299, 0.587, 0.114), bytes.fromhex(box.colour[1:]), strict=True)
    )
    pen.text((left + margin, top), box.text, fill="black" if luminance > 140 else "white", font=font)


def with_detections(image: NDArray[np.uint8], found: Detections, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """An image with what was found in it, in the colours of the classes."""
    rows = zip(found.boxes.tolist(), found.numbers.tolist(), found.scores.tolist(), strict=True)
    boxes = [
        Drawn(edges, COLOURS[number % len(COLOURS)], f"{class_names[number]} {score:.0%}")
        for edges, number, score in rows
    ]
    return draw(image, boxes[::-1])


def with_truth(image: NDArray[np.uint8], truths: Any, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """An image with its true boxes, [boxes, 6], in the colours of the classes; those of crowds are broken."""
    boxes = [
        Drawn(true[:4], COLOURS[int(true[4]) % len(COLOURS)], class_names[int(true[4])], bool(true[5]))
        for true in np.asarray(truths).tolist()
        if true[4] >= 0
    ]
    return draw(image, boxes)


def with_judgement(image: NDArray[np.uint8], judged: Judged, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """An image with its hits, its misses (broken lines) and its false alarms."""
    missed = [Drawn(true[:4], MISS, class_names[int(true[4])], True) for true in judged.truths[judged.missed].tolist()]
    found = judged.found
    rows = zip(
        found.boxes.tolist(), found.numbers.tolist(), found.scores.tolist(), judged.right, judged.counts, strict=True
    )
    said = [
        Drawn(edges, HIT if right else ALARM, f"{class_names[number]} {score:.0%}")
        for edges, number, score, right, counts in rows
        if counts
    ]
    return draw(image, [*missed, *said[::-1]])
