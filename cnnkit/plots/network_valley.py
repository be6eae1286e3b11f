"""A network that goes down through smaller images and up again, drawn as a U: down on the left, up on the right."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cnnkit.plots.drawing import (
    FONT,
    LINE_HEIGHT,
    SIZE_FONT,
    Box,
    Circle,
    Drawn,
    Line,
    Placed,
    Point,
    Text,
    chain,
    text_width,
)
from cnnkit.plots.network_nodes import Level, Node, Valley, Volume

_LINE = FONT * LINE_HEIGHT

#: Points between levels, where lines run to the next one, and where none do; and between these lines and what they run
#: around.
_CHANNEL = 14.0
_APART = 4.0
_BESIDE = 9.0
#: Between labels beside each other, and how far below a skip one begins.
_SPACE = 8.0
_LABEL_BELOW = 5.0

_NOTHING = Box(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Parts:
    """How the parts of a drawing are made that are not of a U alone.

    Attributes:
        box: One node.
        chain: Nodes in order.
        label: What is written beside an arrow that stands for layers, in a box below its axis.
        sign: A merge's sign, around its middle.
        radius: That of the sign.
        gap: Between the boxes of a chain.
    """

    box: Callable[[Node], Box]
    chain: Callable[[Sequence[Node]], Box]
    label: Callable[[Sequence[Volume]], Box]
    sign: Callable[[str], Sequence[Drawn]]
    radius: float
    gap: float


@dataclass(frozen=True)
class _Side:
    """What stands on one side of a level, in order.

    Attributes:
        whole: All of it.
        first: Its first box.
        last: Its last box.
        nodes: How many nodes there are.
    """

    whole: Box
    first: Box
    last: Box
    nodes: int

    @classmethod
    def of(cls, nodes: Sequence[Node], parts: Parts, before: Sequence[Box] = ()) -> _Side:
        """Nodes, after boxes that are none."""
        boxes = [*before, *(parts.box(node) for node in nodes)]
        if not boxes:
            return cls(_NOTHING, _NOTHING, _NOTHING, 0)
        return cls(chain(boxes, parts.gap), boxes[0], boxes[-1], len(nodes))

    @property
    def crown(self) -> Point:
        """Where a line from above meets the last box."""
        x, y = self.last.crown
        return self.whole.width - self.last.width + x, y


@dataclass(frozen=True)
class _Row:
    """The boxes of a level.

    Attributes:
        level: What is drawn.
        left: The way down; at the lowest level all of it.
        across: What is on the skip.
        right: The way up, behind the merge if there is one.
        down: The label of the arrow to the next level.
        up: That of the arrow from there.
        radius: Of the merge's sign.
        is_lowest: Whether no other is below it, so that all of it is between the sides of the others.
    """

    level: Level
    left: _Side
    across: Box
    right: _Side
    down: Box
    up: Box
    radius: float
    is_lowest: bool

    @classmethod
    def of(cls, level: Level, below: Level | None, parts: Parts, goes_on: bool) -> _Row:
        """The boxes of a level with one below it; `goes_on` where a line leaves its right side."""
        skip, nodes = level.skip, level.right
        size = []
        if skip is not None:
            nodes = (replace(skip.tail, title=()), *nodes) if skip.tail.plates else nodes
            size = [_size(skip.tail.size, parts.radius, line=bool(nodes) or goes_on)]
        return cls(
            level,
            _Side.of(level.left, parts),
            parts.chain(skip.nodes) if skip is not None and skip.nodes else _NOTHING,
            _Side.of(nodes, parts, size),
            parts.label(below.down) if below is not None and below.down else _NOTHING,
            parts.label(level.up) if level.up else _NOTHING,
            parts.radius,
            below is None,
        )

    @property
    def words(self) -> list[str]:
        """What is written above the skip."""
        skip = self.level.skip
        return [] if skip is None else [*skip.notes, skip.merge]

    @property
    def heights(self) -> tuple[tuple[float, float], ...]:
        """How far its left side, its centre and its right side reach above and below its axis; a part may be empty."""
        words = self.across.up + 2 + len(self.words) * _LINE if self.words else 0
        labels = [
            one + gap for one, gap in ((self.down.height, _LABEL_BELOW), (self.up.height, self.radius + 2)) if one
        ]
        merge = self.radius if self.level.skip is not None else 0
        left, right = self.left.whole, self.right.whole
        middle = (max(words, self.across.up, merge), max([self.across.down, merge, *labels]))
        if self.is_lowest:
            return (0, 0), (max(left.up, middle[0]), max(left.down, middle[1])), (0, 0)
        return (left.up, left.down), middle, (max(right.up, merge), max(right.down, merge))

    @property
    def above(self) -> float:
        """How far it reaches above its axis."""
        return max(above for above, _ in self.heights)

    @property
    def below(self) -> float:
        """How far it reaches below its axis."""
        return max(below for _, below in self.heights)

    @property
    def centre(self) -> float:
        """The least width between the two sides."""
        words = max((text_width(word, FONT) for word in self.words), default=0)
        boxes = [box.width for box in (self.down, self.across, self.up) if box.width]
        return max(words + 2 * _SPACE, sum(boxes) + _SPACE * (len(boxes) + 1)) + 2 * self.radius


def valley_box(valley: Valley, parts: Parts) -> Box:
    """The levels below each other, the lowest one in the middle; the axis is that of the uppermost one."""
    levels = valley.levels
    last = next(number for number, level in enumerate(levels) if level.skip or level.right)
    rows = [
        _Row.of(level, under, parts, number == last)
        for number, (level, under) in enumerate(zip(levels, [*levels[1:], None], strict=True))
    ]
    drawing = _Drawing(rows)
    shapes = [*drawing.downwards(), *drawing.across(parts.sign), *drawing.upwards()]
    leave = drawing.end
    if valley.followed and drawing.last:
        # It ends on a lower level: what comes next is on the axis.
        axis, leave = drawing.axes[drawing.last], drawing.width
        shapes.append(Line(((drawing.end, axis), (leave, axis), (leave, 0.0))))
    left = rows[0].left
    enter, arrow = (drawing.lefts[0] + left.whole.enter, left.whole.arrow) if left.nodes else (drawing.fork, False)
    return Box(drawing.width, drawing.up, drawing.depth, enter, leave, (*shapes, *drawing.boxes()), arrow)


def _axes(rows: Sequence[_Row]) -> list[float]:
    """The height of each row's axis, that of the first is 0: as close as left sides, centres and right sides allow.

    Lines run between sides, and none between centres.
    """
    axes: list[float] = []
    bottoms: list[float | None] = [None, None, None]
    for row in rows:
        reached = [
            bottom - gap - above
            for bottom, gap, (above, _) in zip(bottoms, (_CHANNEL, _APART, _CHANNEL), row.heights, strict=True)
            if bottom is not None and above
        ]
        # No row is above another, whatever is in them.
        axes.append(min([axes[-1] - row.radius, *reached]) if axes else 0.0)
        for part, (above, below) in enumerate(row.heights):
            if above or below:
                bottoms[part] = min(axes[-1] - below, bottoms[part] or 0.0)
    return axes


class _Drawing:
    """Rows in their places.

    Attributes:
        axes: The height of each row's axis, that of the first is 0.
        lefts: Where each row's left side begins.
        fork: Where what leads down leaves the row, and a skip begins.
        merge: Where what comes up arrives, the middle of the merges' signs.
        rights: Where each row's right side begins.
        last: The row on which the way up ends.
        end: Where the line leaves its last box.
        width, up, depth: Of all, above and below the first axis.
    """

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows
        *upper, bottom = rows
        self.axes = _axes(rows)
        # The last boxes of all rows have one middle, so that what has but one is right below.
        widest = max(row.left.last.width for row in upper)
        begins = [-(row.left.whole.width - row.left.last.width / 2) for row in upper]
        middle = -min(begins)
        self.fork = middle + widest / 2 + _BESIDE
        self.lefts = [middle + begin for begin in begins]
        centre = max(bottom.left.whole.width + 2 * _BESIDE + bottom.radius, *(row.centre for row in upper))
        self.merge = self.fork + centre
        self.lefts.append((self.fork + self.merge - bottom.left.whole.width) / 2)
        self.rights = [self.merge + (row.radius if row.level.skip else _BESIDE) for row in rows]
        self.climbed = [n for n in range(len(upper) - 1, -1, -1) if rows[n].level.skip or rows[n].level.right]
        self.last = self.climbed[-1]
        self.end = self.rights[self.last] + rows[self.last].right.whole.leave
        self.width = max(self.rights[n] + rows[n].right.whole.width for n in self.climbed)
        self.up = max(row.above + axis for row, axis in zip(rows, self.axes, strict=True))
        self.depth = max(row.below - axis for row, axis in zip(rows, self.axes, strict=True))

    def boxes(self) -> list[Placed]:
        """The boxes of all rows."""
        placed = []
        for number, (row, axis) in enumerate(zip(self.rows, self.axes, strict=True)):
            placed.append(Placed(row.left.whole, self.lefts[number], axis))
            placed.append(Placed(row.right.whole, self.rights[number], axis))
            placed.append(Placed(row.down, self.fork + _SPACE / 2, axis - _LABEL_BELOW))
            placed.append(Placed(row.up, self.merge - _SPACE / 2 - row.up.width, axis - row.radius - 2))
        return [part for part in placed if part.box.shapes]

    def _channel(self, number: int, part: int) -> float:
        """The height of the lines above a part of a row, see `_Row.heights`."""
        return self.axes[number] + self.rows[number].heights[part][0] + _CHANNEL / 2

    def _is_below(self, number: int) -> bool:
        """Whether a row has a single box on its left, to which a line leads straight down from the row before it."""
        row = self.rows[number]
        bottom = number == len(self.rows) - 1
        return row.left.nodes == 1 and not bottom and not row.level.down and self.rows[number - 1].left.nodes > 0

    def downwards(self) -> list[Drawn]:
        """The lines from each row to the next."""
        shapes: list[Drawn] = []
        for number, row in enumerate(self.rows[:-1], start=1):
            axis, under, low = self.axes[number - 1], self.rows[number], self.axes[number]
            left, start = row.left.whole, self.lefts[number]
            x, y = under.left.first.crown
            crown = start + x, low + y
            if self._is_below(number):
                shapes.append(Line(((crown[0], axis - row.left.last.down - 1), crown), arrow=True))
                continue
            if left.shapes:
                shapes.append(Line(((self.lefts[number - 1] + left.leave, axis), (self.fork, axis))))
            if not under.left.nodes:
                shapes.append(Line(((self.fork, axis), (self.fork, low))))
            elif number == len(self.rows) - 1:
                enter = start + under.left.whole.enter
                shapes.append(Line(((self.fork, axis), (self.fork, low), (enter, low)), under.left.whole.arrow))
            else:
                channel = self._channel(number, 0)
                points = ((self.fork, axis), (self.fork, channel), (crown[0], channel), crown)
                shapes.append(Line(points, arrow=True))
        return shapes

    def across(self, sign: Callable[[str], Sequence[Drawn]]) -> list[Drawn | Placed]:
        """The skips, what is on them and above them, and the merges' signs."""
        shapes: list[Drawn | Placed] = []
        for number, (row, axis) in enumerate(zip(self.rows, self.axes, strict=True)):
            skip = row.level.skip
            if skip is None:
                continue
            start, end = self.fork, self.merge - row.radius
            if self._is_below(number + 1):
                start = self.lefts[number] + row.left.whole.leave
            else:
                shapes.append(Circle(((self.fork, axis),), 1.8, filled=True))
            middle = (self.fork + row.down.width + self.merge - row.up.width) / 2
            if row.across.shapes:
                left = middle - row.across.width / 2
                shapes.append(Line(((start, axis), (left + row.across.enter, axis)), row.across.arrow))
                shapes.append(Placed(row.across, left, axis))
                start = left + row.across.leave
            else:
                middle = (self.fork + end) / 2
            shapes.append(Line(((start, axis), (end, axis)), arrow=True))
            height = axis + row.across.up + 2 + len(row.words) * _LINE
            for word in row.words:
                height -= _LINE
                shapes.append(Text(((middle, height + _LINE / 2),), word, FONT, align="center"))
            shapes += [replace(part, points=_moved(part.points, self.merge, axis)) for part in sign(skip.merge)]
        return shapes

    def upwards(self) -> list[Drawn]:
        """The lines from the lowest row up, from the end of each one to the merge, or the first box, of the next."""
        shapes: list[Drawn] = []
        bottom = len(self.rows) - 1
        for here, target in itertools.pairwise([bottom, *self.climbed]):
            row, axis, after, arrives = self.rows[here], self.axes[here], self.rows[target], self.axes[target]
            if here == bottom:
                points: tuple[Point, ...] = ((self.lefts[here] + row.left.whole.leave, axis), (self.merge, axis))
            elif row.right.nodes:
                x, y = self.rights[here] + row.right.crown[0], axis + row.right.crown[1]
                channel = self._channel(here, 2)
                points = ((x, y), (x, channel), (self.merge, channel))
            else:
                points = ((self.merge, axis + row.radius),)
            if after.level.skip is not None:
                shapes.append(Line((*points, (self.merge, arrives - after.radius)), arrow=True))
            else:
                enter = self.rights[target] + after.right.whole.enter
                shapes.append(Line((*points, (self.merge, arrives), (enter, arrives)), after.right.whole.arrow))
        return shapes


def _size(size: str, radius: float, line: bool) -> Box:
    """What a merge outputs, below the line that leaves its sign, or, where none does, beside the sign."""
    width = text_width(size, SIZE_FONT, bold=True) + 6
    if not line:
        return Box(width, radius, radius, 0, 0, (Text(((4.0, 0.0),), size, SIZE_FONT, True),), arrow=False)
    text = Text(((width / 2, -_LINE / 2 - 3),), size, SIZE_FONT, True, "center")
    return Box(width, 1, _LINE + 4, 0, width, (Line(((0.0, 0.0), (width, 0.0))), text), arrow=False)


def _moved(points: Sequence[Point], x: float, y: float) -> tuple[Point, ...]:
    return tuple((px + x, py + y) for px, py in points)
