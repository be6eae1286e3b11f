"""Networks that go down through smaller and smaller images and up again, as levels: U-Net, FCN, hourglasses.

Such a network is known by its structure: of two paths side by side, one goes through a smaller image and back up, and
the other, the skip, stays at the size that it comes from.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cnnkit.layers.block_calls import BlockCall
from cnnkit.layers.resolved import Part, Resolved
from cnnkit.layers.stack import Step
from cnnkit.layers.window import WindowedLayer
from cnnkit.plots.network_nodes import (
    Level,
    Node,
    Skip,
    Valley,
    Volume,
    channels_first_after,
    extents,
    merge_of,
    parameters_text,
)

#: Layers that cut or add rows and columns; they do not lead to another level.
_EDGES = ("Cropping2D", "ZeroPadding2D")

#: So many layers in a row are written beside an arrow that leads up, at most.
_MOST_ON_ARROW = 2


@dataclass(frozen=True)
class Place:
    """A layer in order.

    Attributes:
        channels_first: Whether the channels come first in what arrives.
        inside: The blocks that it was taken out of, from the outermost to the innermost.
        outermost: Whether no other layer holds it.
    """

    step: Step
    channels_first: bool
    inside: tuple[Step, ...] = ()
    outermost: bool = False

    @property
    def area(self) -> int | None:
        """How many positions its output has; None where it is no image."""
        after = channels_first_after(self.step.layer, self.channels_first)
        return _area(extents(self.step.output_shape, after))

    @property
    def change(self) -> int:
        """1 where it makes images larger, -1 where it makes them smaller, else 0."""
        layer, before = self.step.layer, _area(extents(self.step.input_shape, self.channels_first))
        if before is None or self.area is None or layer.kind in _EDGES or _valley(self) is not None:
            return 0
        if isinstance(layer, WindowedLayer) and max(layer.step) == 1:
            return 0
        if isinstance(layer, Resolved) and not any(place.change for place in _inside(self)):
            return 0
        return (self.area > before) - (self.area < before)


def _area(sizes: tuple[int, int, int] | None) -> int | None:
    return None if sizes is None else sizes[0] * sizes[1]


def _in_order(
    steps: Sequence[Step], channels_first: bool, inside: tuple[Step, ...] = (), outermost: bool = False
) -> Iterator[Place]:
    for step in steps:
        yield Place(step, channels_first, inside, outermost)
        channels_first = channels_first_after(step.layer, channels_first)


def _inside(place: Place) -> Iterator[Place]:
    """The layers of all paths inside a composite, at any depth, those that are not made of others."""
    for part in place.step.layer.parts:  # type: ignore[attr-defined]
        for inner in _in_order(part.steps, place.channels_first):
            if isinstance(inner.step.layer, Resolved):
                yield from _inside(inner)
            else:
                yield inner


def _valley(place: Place) -> tuple[Part, Part] | None:
    """The path that goes down and up again, and the one that skips it; None where a layer has no such paths."""
    layer = place.step.layer
    if not isinstance(layer, Resolved) or layer.merge is None or len(layer.parts) != 2:
        return None
    for deep, skip in (layer.parts, layer.parts[::-1]):
        changes, areas = [], []
        for part in (deep, skip):
            leaves = [leaf for inner in _in_order(part.steps, place.channels_first) for leaf in _leaves(inner)]
            changes.append([leaf.change for leaf in leaves])
            areas.append([leaf.area for leaf in leaves if leaf.area is not None])
        # A path through a single pixel, as in squeeze and excitation, only weighs.
        falls_and_rises = -1 in changes[0] and 1 in changes[0][changes[0].index(-1) :]
        if falls_and_rises and not any(changes[1]) and min(areas[0]) > 1:
            return deep, skip
    return None


def _leaves(place: Place) -> Iterator[Place]:
    return _inside(place) if isinstance(place.step.layer, Resolved) else iter([place])


def valleys(steps: Sequence[Step], channels_first: bool) -> int:
    """How often layers in order go down and up again, each of them itself or by one that it is a chain of.

    Args:
        channels_first: Whether the channels come first in what arrives.
    """
    return sum(_valleys(place) for place in _in_order(steps, channels_first))


def _valleys(place: Place) -> int:
    layer = place.step.layer
    if not isinstance(layer, Resolved):
        return 0
    if layer.merge is not None:
        return int(_valley(place) is not None)
    return valleys(layer.parts[0].steps, place.channels_first)


@dataclass
class _Level:
    """A `Level` that is being made, and how many positions its images have."""

    area: int
    left: tuple[Node, ...] = ()
    right: tuple[Node, ...] = ()
    skip: Skip | None = None
    up: tuple[Volume, ...] = ()

    def finished(self) -> Level:
        """The level; a pooling that leads to other layers of it is on the arrow that leads there."""
        first, *others = self.left or (None,)
        if others and isinstance(first, Volume) and first.family in ("pooling", "reshape"):
            return Level(tuple(others), self.right, self.skip, (first,), self.up)
        return Level(self.left, self.right, self.skip, (), self.up)


class Levels:
    """Puts layers that go down and up again once onto levels.

    Args:
        chain: From layers in order, and whether the channels come first in what arrives, to their nodes.
        folds: Whether a layer is drawn apart, so that nothing is taken out of it.
    """

    def __init__(self, chain: Callable[..., tuple[Node, ...]], folds: Callable[[Step], bool]) -> None:
        self._chain = chain
        self._folds = folds
        self._levels: list[_Level] = []

    def valley(
        self, steps: Sequence[Step], channels_first: bool, before: Sequence[Node], outermost: bool
    ) -> tuple[Valley, Sequence[Step], bool]:
        """The levels of layers in order, of which one goes down and up again.

        Args:
            before: Nodes that come before them.
            outermost: Whether no other layer holds them.

        Returns:
            The levels, the layers after them that are none of an image of their sizes, and whether the channels come
            first in what reaches these.
        """
        top, rest = self._descend(list(self._flat(_in_order(steps, channels_first, outermost=outermost))), before)
        inside = list(itertools.takewhile(lambda place: place.area is not None and place.change >= 0, rest))
        outside = rest[len(inside) :]
        self._climb(inside, top)
        bottom = self._levels[-1]
        bottom.left, bottom.right = bottom.left + bottom.right, ()
        levels = tuple(level.finished() for level in self._levels)
        after = channels_first_after(steps[-1].layer, channels_first)
        return (
            Valley(levels, bool(outside) or not outermost),
            [place.step for place in outside],
            outside[0].channels_first if outside else after,
        )

    def _flat(self, places: Iterable[Place]) -> Iterator[Place]:
        """Layers in order, and instead of those that are chains of others and change an image's size, the others."""
        for place in places:
            layer = place.step.layer
            is_chain = isinstance(layer, Resolved) and layer.merge is None
            if is_chain and (_valleys(place) or (_changes(place) and not self._folds(place.step))):
                inner = _in_order(layer.parts[0].steps, place.channels_first, (*place.inside, place.step))  # type: ignore[attr-defined]
                yield from self._flat(inner)
            else:
                yield place

    def _descend(self, places: list[Place], before: Sequence[Node] = ()) -> tuple[int, list[Place]]:
        """Makes levels of layers in order, from the next level down to the bottom and up again.

        Returns:
            The level on which the way down ends, or goes on as a skip, and the layers after that.
        """
        number = next((number for number, place in enumerate(places) if _valley(place) is not None), None)
        rises = (index for index, place in enumerate(places) if place.change > 0)
        end = next(rises, len(places)) if number is None else number
        parts = _cut(places[:end], -1)
        if not parts or (before and parts[0][0].change < 0):
            parts.insert(0, [])
        for index, part in enumerate(parts):
            area = part[-1].area if part else _area(extents(places[0].step.input_shape, places[0].channels_first))
            self._levels.append(_Level(area or 0, self._nodes(part, before if index == 0 else ())))
        here = len(self._levels) - 1
        if number is None:
            return here, places[end:]
        self._cross(places[number], here)
        return here, places[number + 1 :]

    def _cross(self, place: Place, here: int) -> None:
        """Makes the skip across a level, and the levels below it."""
        layer = place.step.layer
        paths = _valley(place)
        assert isinstance(layer, Resolved)
        assert paths is not None
        deep, skip = paths
        after = channels_first_after(layer, place.channels_first)
        tail = merge_of(place.step, after)
        nodes = self._chain(skip.steps, place.channels_first)
        self._levels[here].skip = Skip(nodes, layer.merge, tail, _notes(place))
        below, rest = self._descend(list(self._flat(_in_order(deep.steps, place.channels_first))))
        self._climb(rest, below, here)

    def _climb(self, places: list[Place], start: int, end: int | None = None) -> None:
        """Puts layers on the right of the levels that they reach.

        Args:
            start: The level on which they begin.
            end: The level on which they meet a skip; None where they do not.
        """
        here = start
        parts = _cut(places, 1)
        for index, part in enumerate(parts):
            nodes = self._nodes(part)
            rises = part[0].change > 0
            if rises and index == len(parts) - 1 and end is not None:
                volumes = tuple(node for node in nodes if isinstance(node, Volume))
                if len(volumes) == len(nodes) <= _MOST_ON_ARROW:
                    self._levels[end].up = volumes
                    return
            elif rises:
                here = self._reached(part[0].area or 0, here)
            self._pass(here, nodes)

    def _reached(self, area: int, below: int) -> int:
        """The lowest level above another whose images are as large as that, else the uppermost."""
        return next((index for index in range(below - 1, -1, -1) if self._levels[index].area >= area), 0)

    def _pass(self, here: int, nodes: Sequence[Node]) -> None:
        """Adds nodes to the right of a level; plates that come first go to the merge before them."""
        level = self._levels[here]
        first = nodes[0] if nodes else None
        if not level.right and level.skip and isinstance(first, Volume) and first.family is None:
            tail = replace(level.skip.tail, plates=level.skip.tail.plates + first.plates)
            level.skip = replace(level.skip, tail=tail)
            nodes = nodes[1:]
        level.right += tuple(nodes)

    def _nodes(self, places: Sequence[Place], before: Sequence[Node] = ()) -> tuple[Node, ...]:
        if not places:
            return tuple(before)
        first = places[0]
        return self._chain([place.step for place in places], first.channels_first, before, first.outermost)


def _changes(place: Place) -> bool:
    return any(leaf.change for leaf in _leaves(place))


def _cut(places: Sequence[Place], change: int) -> list[list[Place]]:
    """Layers in order, cut before each that changes the size so."""
    parts: list[list[Place]] = []
    for place in places:
        if not parts or place.change == change:
            parts.append([])
        parts[-1].append(place)
    return parts


def _notes(place: Place) -> tuple[str, ...]:
    """The blocks that a layer was taken out of, or itself where there is none, with their parameters."""
    blocks = [step for step in place.inside if isinstance(step.layer.written, BlockCall)]  # type: ignore[attr-defined]
    counted = [(step.layer.kind, parameters_text(step.layer, step.input_shape)) for step in blocks or [place.step]]
    return tuple(f"{kind}: {', '.join(counts)}" for kind, counts in counted if counts)
