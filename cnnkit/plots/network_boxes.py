"""The parts of a drawing of a network as boxes: volumes to scale with their labels, forks and groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cnnkit.format.shapes import Shape
from cnnkit.plots.drawing import (
    FONT,
    LINE_HEIGHT,
    SIZE_FONT,
    Box,
    Circle,
    Drawn,
    Line,
    Outline,
    Placed,
    Point,
    Polygon,
    Text,
    balanced,
    chain,
    text_width,
)
from cnnkit.plots.network_nodes import Fork, Group, Node, Structure, Tree, Valley, Volume, all_nodes, extents
from cnnkit.plots.network_valley import Parts, valley_box
from cnnkit.plots.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW

#: Each kind of layer: its colour and what the legend calls it.
FAMILIES = {
    "input": ("#a8a8a8", "input"),
    "convolution": (BLUE, "convolution"),
    "pooling": (VERMILION, "pooling"),
    "dense": (GREEN, "fully connected"),
    "reshape": (YELLOW, "size or shape changed"),
    "block": ("#e4e4e4", "block, drawn apart"),
    "normalization": (PURPLE, "normalization"),
    "activation": (ORANGE, "activation"),
    "dropout": (SKY, "dropout or noise"),
}

TITLE_FONT = 8.0

#: Points between the volumes of a chain, for the arrow.
GAP = 13.0
#: Lines of a label are broken where they get longer than this.
_LABEL_WIDTH = 92.0
_LINE = FONT * LINE_HEIGHT

_LARGEST_SIDE = 84.0
_SMALLEST_SIDE = 5.0
#: The largest side in blocks that are drawn apart, and the largest factor on the sizes there.
_SMALL_SIDE = 32.0
_LARGEST_ZOOM = 0.6
_THICKEST = 52.0
_THINNEST = 2.0
_LONGEST_BAR = 84.0
_SHORTEST_BAR = 8.0
_BAR = 5.0
_PLATE = 2.6
#: How far a row of pixels goes to the right and up, as shares of its length: the depth of a volume.
_DEPTH = (0.30, 0.24)
#: To scale, the smallest image still has this many points; else sizes are drawn as square roots.
_READABLE = 7.0

_SYMBOLS = {"add": "+", "multiply": "×", "concatenate": "∥", "subtract": "−", "dot": "·"}
_RADIUS = 6.5


@dataclass(frozen=True)
class Scale:
    """Sizes of tensors as points.

    Attributes:
        side: The longest side of an image.
        root: Whether sides are drawn as their square roots.
        channels: The largest number of channels of an image.
        length: That of the longest vector.
    """

    side: int
    root: bool
    channels: int
    length: int

    @classmethod
    def of(cls, shapes: Sequence[tuple[Shape, bool]]) -> Scale:
        """The scale that fits shapes, each with whether its channels come first."""
        images = [extent for shape in shapes if (extent := extents(*shape)) is not None]
        sides = [size for height, width, _ in images for size in (height, width) if size > 1]
        largest, smallest = max(sides, default=1), min(sides, default=1)
        vectors = [math.prod(shape) for shape, _ in shapes if len(shape) != 3]
        return cls(
            largest,
            _LARGEST_SIDE * smallest / largest < _READABLE,
            max((channels for _, _, channels in images), default=1),
            max(vectors, default=1),
        )

    def points(self, size: int) -> float:
        """A side of an image."""
        share = size / self.side
        return max(_SMALLEST_SIDE, _LARGEST_SIDE * (math.sqrt(share) if self.root else share))

    def thickness(self, channels: int) -> float:
        each = min(1.5, _THICKEST / math.sqrt(self.channels))
        return max(_THINNEST, each * math.sqrt(channels))

    def bar(self, length: int) -> float:
        return max(_SHORTEST_BAR, _LONGEST_BAR * math.sqrt(length / self.length))

    def zoom(self, shapes: Sequence[tuple[Shape, bool]]) -> float:
        """The factor at which volumes of these shapes are small enough for lanes below each other."""
        images = [extent for shape in shapes if (extent := extents(*shape)) is not None]
        highest = max((self.points(image[0]) for image in images), default=1.0)
        return min(_LARGEST_ZOOM, round(_SMALL_SIDE / highest, 2))

    def text(self) -> str:
        """The scale in words."""
        sides = "grow with the square root of the height and width" if self.root else "are to scale"
        return (
            f"Front height and depth of a volume {sides} of its feature maps, its thickness with the square root of "
            "their number (channels). Thin bars are vectors, their height grows with the square root of the length."
        ).replace("are to scale of its", "are to scale with the height and width of its")


def shapes_of(nodes: Sequence[Node]) -> Iterator[tuple[Shape, bool]]:
    """The shapes of all volumes, each with whether its channels come first."""
    for node in all_nodes(nodes):
        if isinstance(node, Volume):
            yield node.shape, node.channels_first


def families_of(nodes: Sequence[Node]) -> Iterator[str]:
    """The kinds of layers that are drawn."""
    for node in all_nodes(nodes):
        for volume in [node] if isinstance(node, Volume) else node.labels:
            if volume.family is not None:
                yield volume.family
            yield from (plate.family for plate in volume.plates)


class Boxes:
    """Makes boxes of nodes.

    Args:
        panels: The names of blocks that are drawn elsewhere.
        zoom: A factor on the sizes of volumes.
    """

    def __init__(self, scale: Scale, panels: Mapping[Structure, str], zoom: float = 1.0) -> None:
        self._scale = scale
        self._panels = panels
        self._zoom = zoom

    @classmethod
    def of(cls, scale: Scale, extent: Tree, zoom: float = 1.0) -> Boxes:
        return cls(scale, {key: panel.title for key, panel in extent.panels.items()}, zoom)

    def box(self, node: Node) -> Box:
        if isinstance(node, Volume):
            return self._volume(node)
        if isinstance(node, Valley):
            return valley_box(node, Parts(self.box, self.chain, self._arrow_label, _sign, _RADIUS, GAP))
        return self._fork(node) if isinstance(node, Fork) else self._group(node)

    def chain(self, nodes: Sequence[Node]) -> Box:
        return chain([self.box(node) for node in nodes], GAP)

    def _volume(self, node: Volume) -> Box:
        """A cuboid, a bar or plates alone, and below it the label."""
        lines = self._label(node)
        body, width, height, top = self._body(node)
        wide = max([width, *(_line_width(line) for line in lines)])
        left = (wide - width) / 2
        down = height / 2
        shapes: list[Drawn | Placed] = [Placed(Box(width, down, down, 0, width, tuple(body)), left, 0)]
        y = -max(down, 3) - 3
        for line in lines:
            y -= _LINE / 2
            shapes += _line(line, wide / 2, y)
            y -= _LINE / 2
        crown = (wide / 2, top)
        return Box(wide, down, -y, left, left + width, tuple(shapes), arrow=bool(body), top=crown)

    def _body(self, node: Volume) -> tuple[list[Drawn], float, float, float]:
        """The slabs of a volume, centred on the axis, with their width and height, and the edge above their middle."""
        sizes = extents(node.shape, node.channels_first)
        if sizes is None:
            height, right, rise, thickness = self._scale.bar(math.prod(node.shape)) * self._zoom, 2.0, 1.6, _BAR
        else:
            height, width = (self._scale.points(size) * self._zoom for size in sizes[:2])
            right, rise = (share * width for share in _DEPTH)
            thickness = self._scale.thickness(sizes[2]) * self._zoom
        slabs = [] if node.family is None else [(node.family, thickness)]
        slabs += [(plate.family, _PLATE) for plate in node.plates]
        if not slabs:
            return [], 0, 0, 0
        shapes: list[Drawn] = []
        x, y = 0.0, -(height + rise) / 2
        # The large face on the right shows what the volume is.
        main = FAMILIES[slabs[0][0] if node.family is not None else slabs[-1][0]][0]
        for family, thick in slabs:
            shapes += _cuboid(x, y, thick, height, right, rise, (FAMILIES[family][0], main))
            x += thick
        # The edge rises from the front's upper left corner to the back's.
        edge = (height - rise) / 2 + rise * min(1, (x + right) / 2 / right)
        return shapes, x + right, height + rise, edge

    def _label(self, node: Volume) -> list[_Line]:
        """The lines below a volume."""
        has_size = node.family is not None or node.title
        lines = [_Line(node.size, bold=True)] if has_size else []
        if node.panel is not None:
            lines.append(_Line(self._panels[node.panel]))
        elif node.title:
            lines += [_Line(text) for text in balanced(node.title, ", ", FONT, _LABEL_WIDTH)]
        lines += [_Line(text) for text in node.notes]
        lines += [_Line(plate.text, plate.family) for plate in node.plates if plate.text]
        return lines

    def _arrow_label(self, nodes: Sequence[Volume]) -> Box:
        """What is written beside an arrow that stands for layers, below the axis."""
        lines = []
        for node in nodes:
            size, *further = self._label(node)
            lines += [size, *(replace(name, family=node.family) for name in further[:1]), *further[1:]]
        width = max(_line_width(line) for line in lines)
        shapes: list[Drawn] = []
        for number, line in enumerate(lines):
            shapes += _line(line, width / 2, -(number + 0.5) * _LINE)
        return Box(width, 0, len(lines) * _LINE, 0, width, tuple(shapes))

    def _group(self, node: Group) -> Box:
        """An outline around a chain, with its title and notes above."""
        inner = self.chain(node.nodes)
        times = f"×{node.times}" if node.times > 1 else ""
        head = " ".join(text for text in (node.title, times) if text)
        notes = list(node.notes)
        if node.outputs:
            notes += [f"output {node.outputs[0]}, ..., {node.outputs[1]}"]
        pad, space = 7.0, 6.0
        widths = [text_width(head, TITLE_FONT, bold=True), *(text_width(note, FONT) for note in notes)]
        # On one line where there is room for it, else below each other.
        one_line = sum(widths) + space * len(notes) <= max(inner.width, 110)
        width = (sum(widths) + space * len(notes)) if one_line else max(widths)
        width = max(width, inner.width) + 2 * pad
        left = (width - inner.width) / 2
        rows = 1 if one_line else len(widths)
        up, down = inner.up + rows * TITLE_FONT * LINE_HEIGHT + 8, inner.down + 5
        shapes: list[Drawn | Placed] = [Outline(((0.0, -down), (width, up)), dashed=not node.is_block)]
        x, y = pad, up - 4 - TITLE_FONT * LINE_HEIGHT / 2
        for number, text in enumerate([head, *notes]):
            bold = number == 0
            shapes.append(Text(((x, y),), text, TITLE_FONT if bold else FONT, bold))
            if one_line:
                x += widths[number] + space
            else:
                y -= TITLE_FONT * LINE_HEIGHT
        shapes.append(Placed(inner, left, 0))
        return Box(width, up, down, left + inner.enter, left + inner.leave, tuple(shapes), inner.arrow)

    def _fork(self, node: Fork) -> Box:
        """Lanes below each other between a dot and the merge's sign."""
        lanes = [self.chain(path) if path else _empty_lane() for path in node.paths]
        wide = max(lane.width for lane in lanes)
        middles, y = [], 0.0
        for number, lane in enumerate(lanes):
            y -= lane.up + (8 if number else 0)
            middles.append(y)
            y -= lane.down
        axis = _axis(node, middles)
        start, end = 12.0, 12.0 + wide + 12
        merge = end + _RADIUS
        tail = self._volume(node.tail)
        shapes: list[Drawn | Placed] = [Circle(((2.0, 0.0),), 1.8, filled=True)]
        for lane, middle in zip(lanes, middles, strict=True):
            level = middle - axis
            left = start + (wide - lane.width) / 2
            # To the merge's sign straight on, from above or from below.
            final: tuple[Point, ...] = ((end, 0.0),)
            if level:
                final = ((merge, level), (merge, math.copysign(_RADIUS, level)))
            shapes.append(Line(((2.0, 0.0), (2.0, level), (left + lane.enter, level)), lane.arrow))
            shapes.append(Line(((left + lane.leave, level), *final), arrow=True))
            shapes.append(Placed(lane, left, level))
        shapes += [replace(shape, points=((merge, 0.0),)) for shape in _sign(node.merge)]
        x = merge + _RADIUS + 2
        leave = x + tail.leave
        if tail.arrow:
            shapes.append(Line(((merge + _RADIUS, 0.0), (x + tail.enter, 0.0))))
        else:
            leave = merge + _RADIUS
        shapes.append(Placed(tail, x, 0))
        up = max(middle - axis + lane.up for lane, middle in zip(lanes, middles, strict=True))
        down = max(axis - middle + lane.down for lane, middle in zip(lanes, middles, strict=True))
        width = x + tail.width
        return Box(width, max(up, tail.up), max(down, tail.down), 2.0, leave, tuple(shapes), arrow=False)


@dataclass(frozen=True)
class _Line:
    """A line of a label; a kind of layer puts its colour in front."""

    text: str
    family: str | None = None
    bold: bool = False


def _sign(merge: str) -> list[Circle | Text]:
    """A merge's sign around a point."""
    circle = Circle(((0.0, 0.0),), _RADIUS)
    return [circle, Text(((0.0, 0.0),), _SYMBOLS[merge], 9, align="center")] if merge in _SYMBOLS else [circle]


_SWATCH = 7.0


def _line_width(line: _Line) -> float:
    font = SIZE_FONT if line.bold else FONT
    return text_width(line.text, font, line.bold) + (_SWATCH if line.family else 0) + 2


def _line(line: _Line, middle: float, y: float) -> list[Drawn]:
    """A line of a label around the middle of its volume."""
    font = SIZE_FONT if line.bold else FONT
    if line.family is None:
        return [Text(((middle, y),), line.text, font, line.bold, "center")]
    left = middle - _line_width(line) / 2
    return [swatch(left, y, line.family), Text(((left + _SWATCH, y),), line.text, font)]


def swatch(x: float, y: float, family: str, side: float = 4.6) -> Polygon:
    """A small square in the colour of a kind of layer, its left side's middle at a point."""
    low, high = y - side / 2, y + side / 2
    return Polygon(((x, low), (x + side, low), (x + side, high), (x, high)), FAMILIES[family][0], 0.4)


def _cuboid(
    x: float, y: float, thick: float, height: float, right: float, rise: float, colours: tuple[str, str]
) -> list[Drawn]:
    """A cuboid's top, right side and front, the front's lower left corner at a point.

    Args:
        right: How far the back is to the right of the front, and `rise`, how far above it.
        colours: That of the front and top, and that of the right side.
    """
    top, edge = y + height, x + thick
    front = ((x, y), (edge, y), (edge, top), (x, top))
    lid = ((x, top), (edge, top), (edge + right, top + rise), (x + right, top + rise))
    side = ((edge, y), (edge + right, y + rise), (edge + right, top + rise), (edge, top))
    return [
        Polygon(lid, _mixed(colours[0], 0.45)),
        Polygon(side, _mixed(colours[1], 0.2)),
        Polygon(front, colours[0]),
    ]


def _mixed(colour: str, white: float) -> str:
    """A colour with a share of white."""
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * white):02x}" for part in parts)


def _empty_lane() -> Box:
    """A line with its name above."""
    width = text_width("identity", FONT) + 8
    return Box(
        width, _LINE + 1, 2, 0, 0, (Text(((width / 2, _LINE / 2 + 1),), "identity", FONT, align="center"),), False
    )


def _axis(node: Fork, middles: Sequence[float]) -> float:
    """The height of the axis: on the only path with layers, else in the middle."""
    full = [middle for middle, path in zip(middles, node.paths, strict=True) if path]
    if len(full) == 1:
        return full[0]
    if len(node.paths) == 2:
        return middles[1]
    return (middles[0] + middles[-1]) / 2
