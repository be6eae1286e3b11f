"""Drawings made of boxes: shapes in points, y upwards, that are moved, put side by side and painted on a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from cnnkit.plots.fonts import families, quiet
from cnnkit.plots.style import DPI

Point = tuple[float, float]

#: Points, the unit of fonts, in an inch.
POINTS = 72

#: Letters of what is written in a drawing, and of sizes, in points.
FONT, SIZE_FONT = 7.0, 7.5

#: A line of text is this many times as high as its font.
LINE_HEIGHT = 1.3

#: Lines are black, which `as_svg` turns to the colour of a page's text. That goes only for lines: matplotlib leaves
#: black out where it fills. Around filled shapes they are dark on any page.
_PEN = "black"
_EDGE = "#202020"

#: The length of an arrow's head, and the line that fills it, in points.
_HEAD, _HEAD_LINE = 3.8, 1.7

#: Half the height of a capital letter, in font sizes.
_HALF_CAPITAL = 0.36


@dataclass(frozen=True)
class Polygon:
    """A filled polygon with a dark edge."""

    points: tuple[Point, ...]
    fill: str
    edge: float = 0.5


@dataclass(frozen=True)
class Line:
    """A line through points; `arrow` puts a head at its end."""

    points: tuple[Point, ...]
    arrow: bool = False
    width: float = 0.9


@dataclass(frozen=True)
class Outline:
    """A rectangle with round corners, from its lower left to its upper right corner."""

    points: tuple[Point, ...]
    dashed: bool = False


@dataclass(frozen=True)
class Circle:
    """A circle around its one point."""

    points: tuple[Point, ...]
    radius: float
    filled: bool = False


@dataclass(frozen=True)
class Text:
    """One line of text; its one point is on its left or in its middle, at half its height."""

    points: tuple[Point, ...]
    text: str
    size: float
    bold: bool = False
    align: Literal["left", "center"] = "left"


Drawn = Polygon | Line | Outline | Circle | Text


@dataclass(frozen=True)
class Box:
    """A part of a drawing: shapes around a horizontal axis at y = 0, between x = 0 and `width`.

    Attributes:
        up: How far it reaches above the axis.
        down: How far it reaches below the axis.
        enter: Where the line from the box before meets it.
        leave: Where the line to the next box starts.
        arrow: Whether the line that meets it has a head.
        top: Where a line from above meets it; by default its middle.
    """

    width: float
    up: float
    down: float
    enter: float
    leave: float
    shapes: tuple[Drawn | Placed, ...] = field(default=(), repr=False)
    arrow: bool = True
    top: Point | None = None

    @property
    def height(self) -> float:
        return self.up + self.down

    @property
    def crown(self) -> Point:
        """`top`, or its default."""
        return (self.width / 2, self.up) if self.top is None else self.top


@dataclass(frozen=True)
class Placed:
    """A box inside a drawing, the left end of its axis at a point."""

    box: Box
    x: float
    y: float


def flattened(shapes: Iterable[Drawn | Placed], x: float = 0.0, y: float = 0.0) -> Iterator[Drawn]:
    """All shapes, those in boxes too, moved to where they belong."""
    for shape in shapes:
        if isinstance(shape, Placed):
            yield from flattened(shape.box.shapes, x + shape.x, y + shape.y)
        else:
            yield replace(shape, points=tuple((px + x, py + y) for px, py in shape.points))


@lru_cache(maxsize=1)
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(8, 8, DPI)


@lru_cache(maxsize=8192)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of text in points."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=families(text), size=size, weight="bold" if bold else "normal")
    with quiet():
        width: float = _renderer().get_text_width_height_descent(text, font, False)[0]
    return width * POINTS / DPI


def shortened(text: str, size: float, width: float, bold: bool = False) -> str:
    """A line of text without its middle, where that is wider than a width in points: both ends tell more."""
    if text_width(text, size, bold) <= width:
        return text
    fits, too_many = 0, len(text)
    while too_many - fits > 1:
        kept = (fits + too_many) // 2
        if text_width(_without_middle(text, kept), size, bold) <= width:
            fits = kept
        else:
            too_many = kept
    return _without_middle(text, fits)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def wrapped(words: Sequence[str], separator: str, size: float, width: float, bold: bool = False) -> list[str]:
    """Words on lines of at most a width in points, as far as single words are not wider.

    Args:
        separator: Between words; what of it is not space also ends a line.
    """
    between = text_width(separator.replace(" ", "\N{NO-BREAK SPACE}"), size, bold)
    lines: list[list[str]] = []
    room = 0.0
    for word in words:
        wide = text_width(word, size, bold) + between
        if not lines or wide > room:
            lines.append([])
            room = width + between
        lines[-1].append(word)
        room -= wide
    return [separator.join(line) + separator.rstrip() for line in lines[:-1]] + [separator.join(lines[-1])]


def balanced(words: Sequence[str], separator: str, size: float, width: float) -> list[str]:
    """As `wrapped`, in as few lines, but the longest of them as short as possible."""
    lines = wrapped(words, separator, size, width)
    for narrower in range(0, int(width), 2):
        narrow = wrapped(words, separator, size, narrower)
        if len(narrow) == len(lines):
            return narrow
    return lines


def chain(boxes: Sequence[Box], gap: float) -> Box:
    """Boxes one after the other on one axis, with lines between them."""
    shapes: list[Drawn | Placed] = []
    x = 0.0
    before: float | None = None
    places = []
    for box in boxes:
        if before is not None:
            shapes.append(Line(((before, 0), (x + box.enter, 0)), box.arrow))
        places.append(x)
        before = x + box.leave
        x += box.width + gap
    shapes += [Placed(box, place, 0) for box, place in zip(boxes, places, strict=True)]
    up, down = max(box.up for box in boxes), max(box.down for box in boxes)
    leave = places[-1] + boxes[-1].leave
    return Box(x - gap, up, down, boxes[0].enter, leave, tuple(shapes), boxes[0].arrow)


def paint(figure: Any, shapes: Iterable[Drawn | Placed]) -> None:
    """Puts shapes on a figure, whose lower left corner is at (0, 0)."""
    from matplotlib.transforms import Affine2D

    points = Affine2D().scale(1 / POINTS) + figure.dpi_scale_trans
    for order, shape in enumerate(flattened(shapes)):
        if isinstance(shape, Text):
            ((x, y),) = shape.points
            figure.text(
                x,
                y - _HALF_CAPITAL * shape.size,
                shape.text,
                fontsize=shape.size,
                weight="bold" if shape.bold else "normal",
                ha=shape.align,
                va="baseline",
                parse_math=False,
                transform=points,
                zorder=order,
            )
            continue
        for patch in _patches(shape):
            patch.set_transform(points)
            patch.set_zorder(order)
            figure.add_artist(patch)


def _patches(shape: Polygon | Line | Outline | Circle) -> list[Any]:
    from matplotlib import patches
    from matplotlib.path import Path

    from cnnkit.plots.style import GREY

    if isinstance(shape, Polygon):
        return [patches.Polygon(shape.points, fc=shape.fill, ec=_EDGE, lw=shape.edge, joinstyle="round")]
    if isinstance(shape, Circle):
        # Filled by a line twice as wide as its radius: see `_PEN`.
        radius, line = (shape.radius / 2, shape.radius) if shape.filled else (shape.radius, 1.0)
        return [patches.Circle(shape.points[0], radius, fc="none", ec=_PEN, lw=line)]
    if isinstance(shape, Outline):
        (left, bottom), (right, top) = shape.points
        style = patches.BoxStyle.Round(pad=0, rounding_size=5)
        dashes = (0, (4, 2)) if shape.dashed else "solid"
        corner, width, height = (left, bottom), right - left, top - bottom
        return [patches.FancyBboxPatch(corner, width, height, style, fc="none", ec=GREY, lw=0.8, ls=dashes)]
    drawn: list[Any] = [patches.PathPatch(Path(shape.points), fc="none", ec=_PEN, lw=shape.width, capstyle="butt")]
    if shape.arrow:
        drawn.append(patches.Polygon(_head(*shape.points[-2:]), fc="none", ec=_PEN, lw=_HEAD_LINE, joinstyle="round"))
    return drawn


def _head(start: Point, end: Point) -> list[Point]:
    """The triangle of an arrow's head; a line of `_HEAD_LINE` around it fills it, and touches the end."""
    length = math.dist(start, end) or 1.0
    right, up = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    along_and_across = ((-_HEAD_LINE / 2, 0.0), (-_HEAD, 1.2), (-_HEAD, -1.2))
    return [(end[0] + a * right - b * up, end[1] + a * up + b * right) for a, b in along_and_across]
