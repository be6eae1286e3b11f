"""Which positions of the input each output position of a stack of layers sees: receptive fields, with numbers alone.

A stack is followed from the input on. Behind each layer, a `View` knows for each axis of the input which axis of the
tensor holds it, and a *pattern*: what the positions along that axis see. One pattern is composed with the next layer's,
so that a layer costs the same however many come before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from cnnkit.format.shapes import Shape

#: First and last position, neither clipped to the input: padding counts. First above last where nothing is seen.
Range = tuple[int, int]

NOTHING: Range = (0, -1)

#: Output positions that `View.field` looks at where they differ: so many, around the centre.
_CENTRAL_POSITIONS = 64

#: Positions after which a pattern has to repeat; otherwise its bounds are kept.
LONGEST_PATTERN = 32

#: What lies further away is as far: strides beyond any image multiply to numbers that nobody can read.
_FARTHEST = 2**40

#: Patterns that move at different speeds beside each other; beyond so many, all of the image counts.
_MOST_PATTERNS = 8


@dataclass(frozen=True)
class Pattern:
    """What the positions along an axis see, again and again.

    Attributes:
        ranges: What positions 0, 1, ... see, until it repeats.
        step: How much further the next ones see the same; 0 where all positions see the same.
    """

    ranges: tuple[Range, ...]
    step: int = 1

    @property
    def period(self) -> int:
        return len(self.ranges)

    @property
    def scale(self) -> float:
        return self.step / self.period

    def at(self, position: int) -> Range:
        turns, rest = divmod(position, len(self.ranges))
        first, last = self.ranges[rest]
        return (first + turns * self.step, last + turns * self.step) if first <= last else NOTHING

    def hull(self, low: int, high: int) -> Range:
        """What positions low..high see together."""
        if low == high or low > high:
            return self.at(low) if low == high else NOTHING
        if self.grows:
            return self.at(low)[0], self.at(high)[1]
        # Behind a whole period, the same comes again, further on.
        some = range(low, min(high, low + self.period - 1) + 1)
        others = range(max(low, high - self.period + 1), high + 1)
        firsts = [first for first, last in map(self.at, some) if first <= last]
        lasts = [last for first, last in map(self.at, others) if first <= last]
        return (min(firsts), max(lasts)) if firsts and lasts else NOTHING

    @cached_property
    def grows(self) -> bool:
        """Whether each position sees no less far than the one before it, and none sees nothing."""
        following = [*self.ranges[1:], self.at(self.period)]
        return all(
            one[0] <= one[1] and one[0] <= other[0] and one[1] <= other[1]
            for one, other in zip(self.ranges, following, strict=True)
        )

    def bounds(self) -> Bounds:
        return self._bounds

    @cached_property
    def _bounds(self) -> Bounds:
        seen = [(place, *bounds) for place, bounds in enumerate(self.ranges) if bounds[0] <= bounds[1]]
        first = min((first - place * self.scale for place, first, _ in seen), default=0.0)
        last = max((last - place * self.scale for place, _, last in seen), default=0.0)
        return Bounds(self.scale, first, last)


@dataclass(frozen=True)
class Bounds:
    """Position p sees nothing outside p * scale + first .. p * scale + last."""

    scale: float
    first: float
    last: float

    def at(self, position: int) -> Range:
        # What binary fractions lose must not add a position.
        tiny = 1e-6
        return (
            math.ceil(position * self.scale + self.first - tiny),
            math.floor(position * self.scale + self.last + tiny),
        )

    def bounds(self) -> Bounds:
        return self


SAME = Pattern(((0, 0),))


def _behind(old: Pattern | Bounds, new: Pattern | Bounds) -> Pattern | Bounds:
    """What the output of a layer sees of the input of a stack, given what the stack's output does."""
    if isinstance(old, Pattern) and isinstance(new, Pattern):
        turns = old.period // math.gcd(old.period, new.step)
        if turns * new.period <= LONGEST_PATTERN:
            step = turns * new.step * old.step // old.period
            ranges = _composed(old, new, turns * new.period)
            if min(map(min, ranges)) < -_FARTHEST or max(map(max, ranges)) > _FARTHEST:
                ranges = [(_near(first), _near(last)) for first, last in ranges]
            return Pattern(tuple(ranges), _near(step))
    one, other = old.bounds(), new.bounds()
    return Bounds(
        _near(one.scale * other.scale),
        _near(one.scale * other.first + one.first),
        _near(one.scale * other.last + one.last),
    )


def _composed(old: Pattern, new: Pattern, positions: int) -> list[Range]:
    """What the first positions of a layer's output see by the layer, and then by those before it."""
    if not old.grows or any(first > last for first, last in new.ranges):
        return _hulls(old, [new.at(position) for position in range(positions)])
    # What follows is the same, without a call for every position: in a network of thousands of layers they are many.
    period, step = old.period, old.step
    if (new.period, new.step, positions) == (1, 1, period):
        low, high = new.ranges[0]
        firsts, lasts = [first for first, _ in old.ranges], [last for _, last in old.ranges]
        return list(zip(_moved(firsts, low, step), _moved(lasts, high, step), strict=True))
    composed = []
    for turn in range(positions // new.period):
        for low, high in new.ranges:
            low_turns, low_rest = divmod(low + turn * new.step, period)
            high_turns, high_rest = divmod(high + turn * new.step, period)
            composed.append((old.ranges[low_rest][0] + low_turns * step, old.ranges[high_rest][1] + high_turns * step))
    return composed


def _hulls(old: Pattern, spans: list[Range]) -> list[Range]:
    """What each of several spans of positions sees together."""
    seen = [span for span in spans if span[0] <= span[1]]
    start, end = min((low for low, _ in seen), default=0), max((high for _, high in seen), default=0)
    if end - start > 16 * LONGEST_PATTERN:
        return [old.hull(*span) for span in spans]
    # Each position is looked at once, however many spans hold it. What sees nothing bounds nothing.
    turns = range(start // old.period, end // old.period + 1)
    once = [(first, last) if first <= last else (math.inf, -math.inf) for first, last in old.ranges]
    firsts = [first + turn * old.step for turn in turns for first, _ in once]
    lasts = [last + turn * old.step for turn in turns for _, last in once]
    start = turns[0] * old.period
    hulls = []
    for low, high in spans:
        first = min(firsts[low - start : high - start + 1], default=math.inf)
        last = max(lasts[low - start : high - start + 1], default=-math.inf)
        hulls.append((int(first), int(last)) if first <= last else NOTHING)
    return hulls


def _moved(ends: list[int], by: int, step: int) -> list[int]:
    """The ends of a pattern's ranges from another position on."""
    turns, rest = divmod(by, len(ends))
    return [end + turns * step for end in ends[rest:]] + [end + (turns + 1) * step for end in ends[:rest]]


_Number = TypeVar("_Number", int, float)


def _near(number: _Number) -> _Number:
    return max(-_FARTHEST, min(number, _FARTHEST))


def _together(one: Pattern | Bounds, other: Pattern | Bounds) -> Pattern | Bounds:
    """What positions see by either of two patterns that move at the same speed."""
    if isinstance(one, Pattern) and isinstance(other, Pattern):
        period = math.lcm(one.period, other.period)
        if period <= LONGEST_PATTERN:
            ranges = (_union(one.at(place), other.at(place)) for place in range(period))
            return Pattern(tuple(ranges), one.step * (period // one.period))
    first, second = one.bounds(), other.bounds()
    return Bounds(first.scale, min(first.first, second.first), max(first.last, second.last))


def _union(one: Range, other: Range) -> Range:
    if one[0] > one[1]:
        return other
    return one if other[0] > other[1] else (min(one[0], other[0]), max(one[1], other[1]))


#: What the positions along an axis see, by paths side by side.
Reach = tuple[Pattern | Bounds, ...]


def _all_of(reaches: Sequence[Reach], size: int) -> Reach:
    """What positions see by any of several paths.

    Args:
        size: Positions of the input.
    """
    patterns: dict[float, Pattern | Bounds] = {}
    for pattern in (pattern for reach in reaches for pattern in reach):
        known = patterns.get(pattern.scale)
        patterns[pattern.scale] = pattern if known is None else _together(known, pattern)
    return tuple(patterns.values()) if len(patterns) <= _MOST_PATTERNS else (Pattern(((0, size - 1),), 0),)


class Windowed(Protocol):
    """What is asked of a layer; `layers.base.Layer` says what each answers."""

    def output_shape(self, input_shape: Shape) -> Shape: ...
    def range_along(self, low: int, high: int, axis: int, input_shape: Shape) -> Range: ...
    def pattern(self, axis: int, input_shape: Shape) -> Pattern | Bounds: ...
    def sees_everything(self, axis: int, input_shape: Shape) -> bool: ...
    def carries(self, axis: int, input_shape: Shape) -> int | None: ...
    def paths_behind(self, view: View) -> tuple[View, ...]: ...


class View:
    """What is seen of the input after some layers of a stack.

    Attributes:
        before: The same before the last of these layers; None for the input itself.
        layer: That layer.
        input_shape: What arrives at it; of the input itself, its shape.
        image: The shape of the input.
        axes: For each axis of the input, the axis that holds it now; None where none does.
        whole: For each axis of the input, whether every position sees all of it.
        paths: What is seen after each path of a layer that is made of several.
    """

    def __init__(
        self,
        before: View | None,
        layer: Windowed | None,
        input_shape: Shape,
        axes: tuple[int | None, ...],
        whole: tuple[bool, ...],
        paths: tuple[View, ...] = (),
    ) -> None:
        self.before = before
        self.layer = layer
        self.input_shape = input_shape
        self.image: Shape = input_shape if before is None else before.image
        self.axes = axes
        self.whole = whole
        self.paths = paths
        self._reaches: dict[int, Reach] = {}
        #: Those of the layers before, for one layer often stands in many places; it is kept by the views.
        self._patterns: dict[tuple[int, int, Shape], Pattern | Bounds] = {} if before is None else before._patterns

    @classmethod
    def of(cls, input_shape: Shape) -> View:
        """An input itself."""
        rank = len(input_shape)
        return cls(None, None, input_shape, tuple(range(rank)), (False,) * rank)

    def behind(self, layer: Windowed, input_shape: Shape, paths: tuple[View, ...] | None = None) -> View:
        """The same after one more layer.

        Args:
            input_shape: What arrives at the layer.
            paths: What is seen after each of its paths, where that is known already.
        """
        if paths is None:
            paths = layer.paths_behind(self)
        if paths:
            tracked = range(len(self.axes))
            mixed = getattr(layer, "mixes_axes", False)
            axes = tuple(None if mixed else _agreed([path.axes[axis] for path in paths]) for axis in tracked)
            seen = tuple(any(path.whole[axis] for path in paths) for axis in tracked)
        else:
            axes = tuple(None if axis is None else layer.carries(axis, input_shape) for axis in self.axes)
            seen = tuple(axis is not None and layer.sees_everything(axis, input_shape) for axis in self.axes)
        # What no axis holds any more is in every value.
        whole = tuple(before or here or axis is None for before, here, axis in zip(self.whole, seen, axes, strict=True))
        return View(self, layer, input_shape, axes, whole, paths)

    def output_size(self, axis: int) -> int:
        """How many positions hold an axis of the input; 1 where none does."""
        shape = self.input_shape if self.layer is None else self.layer.output_shape(self.input_shape)
        place = self.axes[axis]
        return 1 if place is None else shape[place]

    def reach(self, axis: int) -> Reach:
        """What the positions see along an axis of the input."""
        waiting: list[View] = []
        view: View | None = self
        while view is not None and axis not in view._reaches:
            waiting.append(view)
            view = view.before
        for view in reversed(waiting):
            view._reaches[axis] = view._own_reach(axis)
        return self._reaches[axis]

    def _own_reach(self, axis: int) -> Reach:
        if self.before is None or self.layer is None:
            return (SAME,)
        before = self.before.reach(axis)
        if self.whole[axis]:
            if self.before.whole[axis]:
                return before
            return (Pattern((self.before.trace(axis, 0, self.before.output_size(axis) - 1, clip=True),), 0),)
        if self.paths:
            return _all_of([self._of_path(path, axis) for path in self.paths], self.image[axis])
        place = self.before.axes[axis]
        assert place is not None
        pattern = self._pattern_of(self.layer, place)
        if pattern == SAME:
            return before
        return _all_of([tuple(_behind(old, pattern) for old in before)], self.image[axis])

    def _pattern_of(self, layer: Windowed, place: int) -> Pattern | Bounds:
        key = (id(layer), place, self.input_shape)
        if key not in self._patterns:
            self._patterns[key] = layer.pattern(place, self.input_shape)
        return self._patterns[key]

    def _of_path(self, path: View, axis: int) -> Reach:
        """What is seen by a path; a merge stretches what has one row or column to the size of the others."""
        reach = path.reach(axis)
        if path.output_size(axis) == 1 < self.output_size(axis):
            return tuple(Pattern((one.at(0),), 0) for one in reach)
        return reach

    def trace(self, axis: int, low: int, high: int, *, clip: bool = False, until: View | None = None) -> Range:
        """Which input positions the positions low..high after these layers see along an axis of the input.

        Args:
            clip: Whether padding does not count. Before a layer that sees everything it never does.
            until: Where to stop: the positions asked for are those after this.
        """
        view = self
        while view is not until and view.before is not None and view.layer is not None:
            before = view.before
            size = before.output_size(axis)
            if view.whole[axis] and not before.whole[axis]:
                clip, low, high = True, 0, size - 1
            elif view.paths:
                low, high = _hull_of(view._path_range(path, axis, low, high, clip) for path in view.paths)
            elif (place := before.axes[axis]) is not None:
                low, high = view.layer.range_along(low, high, place, view.input_shape)
            if clip:
                low, high = max(low, 0), min(high, size - 1)
            if high < low:
                return NOTHING
            view = before
        return low, high

    def _path_range(self, path: View, axis: int, low: int, high: int, clip: bool) -> Range:
        if path.output_size(axis) == 1 < self.output_size(axis):
            low = high = 0
        return path.trace(axis, low, high, clip=clip, until=self.before)

    def field(self) -> tuple[int, ...]:
        """Height and width of the part of an image that one position sees; of a signal its length, of a volume three.

        Where positions differ, as after layers that enlarge, the largest of up to 64 central ones counts. It may
        exceed the image, as padding counts, except after what sees everything, such as Flatten or a global pooling.
        """
        # A text's ids have no axis of channels.
        return tuple(self._width(axis) for axis in range(max(len(self.image) - 1, 1)))

    def _width(self, axis: int) -> int:
        patterns = self.reach(axis)
        size = self.output_size(axis)
        around = 0 if all(isinstance(one, Pattern) and one.period == 1 for one in patterns) else _CENTRAL_POSITIONS // 2
        positions = range(max(size // 2 - around, 0), min(size // 2 + around, size - 1) + 1)
        if len(patterns) == 1 and isinstance(patterns[0], Pattern):
            positions = positions[: patterns[0].period]
        ranges = (_hull_of(pattern.at(position) for pattern in patterns) for position in positions)
        return max(last - first + 1 for first, last in ranges)


def _hull_of(ranges: Iterator[Range]) -> Range:
    hull = NOTHING
    for one in ranges:
        hull = _union(hull, one)
    return hull


def _agreed(axes: list[int | None]) -> int | None:
    """The axis that holds something after several paths: None where it is not the same in all that hold it."""
    known = {axis for axis in axes if axis is not None}
    return known.pop() if len(known) == 1 else None


def receptive_field(stack: Sequence[tuple[Windowed, Shape]]) -> tuple[int, ...]:
    """The part of the image, signal or volume that one output position of a stack sees, see `View.field`.

    Args:
        stack: The layers in order, each with the shape that arrives at it; all `classes` resolved.
    """
    if not stack:
        return 1, 1
    view = View.of(stack[0][1])
    for layer, input_shape in stack:
        view = view.behind(layer, input_shape)
    return view.field()
