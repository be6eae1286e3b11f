"""A network as the rules of `inspect --lint` walk through it: layers in order, and merges with their paths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.format.explain import Path, format_path
from cnnkit.format.shapes import Shape
from cnnkit.layers.geometry import channels_last
from cnnkit.layers.pooling import GlobalPooling, Pooling
from cnnkit.layers.receptive_field import receptive_field
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step
from cnnkit.layers.window import WindowedLayer

#: Where height (0), width (1) and channels (2) lie in an image.
Order = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Item:
    """A layer in the order in which an image passes; a merge of several paths counts as one.

    Blocks and repetitions are written out: they are no items.

    Attributes:
        place: Where it is, as error messages write it.
        before: The order of the axes as the layer takes them.
        after: The order of the axes in its output.
        written: Whether the config writes it; not so a shortcut that follows from the shapes.
        read_beside: Whether another path reads the pixels that it leaves out.
        paths: The paths of a merge.
    """

    place: str
    layer: Any
    input_shape: Shape
    output_shape: Shape
    before: Order
    after: Order
    written: bool
    read_beside: bool
    paths: tuple[Chain, ...] = ()

    @property
    def input_size(self) -> tuple[int, ...]:
        """Height and width of what arrives, or the sizes along as many axes as there are; (1, 1) for a vector."""
        return _size(self.input_shape, self.before)

    @property
    def output_size(self) -> tuple[int, ...]:
        """Height and width of what leaves, or the sizes along as many axes as there are; (1, 1) for a vector."""
        return _size(self.output_shape, self.after)

    @property
    def covers_image(self) -> bool:
        """Whether one output position reads all that arrives, as Flatten, global pooling and large windows do."""
        if isinstance(self.layer, WindowedLayer):
            sizes = zip(self.layer.window, self.input_size, strict=True)
            return set(self.output_size) == {1} and all(window >= size for window, size in sizes)
        return all(self.sees_all_along)

    @property
    def sees_all_along(self) -> tuple[bool, ...]:
        """Whether an output position depends on all rows, and on all columns, of what arrives."""
        axes = range(len(self.input_shape) - 1)
        seen = tuple(self.layer.sees_everything(self.before.index(axis), self.input_shape) for axis in axes)
        return seen or (False,)

    @property
    def pools_globally(self) -> bool:
        """Whether it makes one value per channel of the whole image, wherever in it a feature was."""
        return isinstance(self.layer, GlobalPooling) or (isinstance(self.layer, Pooling) and self.covers_image)


#: Items one after another.
Chain = tuple[Item, ...]


def _size(shape: Shape, order: Order) -> tuple[int, ...]:
    return tuple(shape[order.index(axis)] for axis in range(len(shape) - 1)) or (1, 1)


def _fitting(order: Order, shape: Shape) -> Order:
    """The order of a tensor's axes, given what is known of one with as many; else the channels come last."""
    return order if len(order) == len(shape) else channels_last(len(shape))


def walk(steps: Sequence[Step], place: Path = ("model", "layers")) -> Chain:
    """The items of a network.

    Args:
        place: Where the config has its layers.
    """
    labels = [format_path((*place, index, step.layer.kind)) for index, step in enumerate(steps)]
    return tuple(_items(steps, labels, channels_last(3), written=True, read_beside=False))


def _items(
    steps: Sequence[Step], labels: Sequence[str], order: Order, *, written: bool, read_beside: bool
) -> Iterator[Item]:
    for step, label in zip(steps, labels, strict=True):
        layer = step.layer
        paths: tuple[Chain, ...] = ()
        order = _fitting(order, step.input_shape)
        if isinstance(layer, Resolved):
            paths = tuple(
                tuple(
                    _items(
                        part.steps,
                        [f"{label}, {name}" for name in part.labels],
                        order,
                        written=written and not part.implied,
                        read_beside=read_beside or layer.loses_nothing_in(part),
                    )
                )
                for part in layer.parts
            )
            before, after = order, paths[0][-1].after if paths[0] else order
        else:
            before = layer.arriving_order(order)
            after = layer.output_order(before)
        after = _fitting(after, step.output_shape)
        order = after
        if isinstance(layer, Resolved) and layer.merge is None:
            yield from paths[0]
        else:
            yield Item(label, layer, step.input_shape, step.output_shape, before, after, written, read_beside, paths)


def leaves(chain: Chain) -> Iterator[Item]:
    """All items that are no merges, at any depth."""
    for item in chain:
        if item.paths:
            for path in item.paths:
                yield from leaves(path)
        else:
            yield item


def trunks(chain: Chain) -> Iterator[Chain]:
    """The chain, and those inside it that lead from an image to a vector: towers whose results are merged."""
    yield chain
    for item in chain:
        if len(item.output_shape) < len(item.input_shape):
            for path in item.paths:
                yield from trunks(path)


def features(chain: Chain) -> tuple[list[Item], Item | None]:
    """The layers before the global pooling, along the path that sees most, and that pooling where there is one."""
    route = _route(chain, widest=True)
    pooling = next((number for number, item in enumerate(route) if item.pools_globally), None)
    return (route, None) if pooling is None else (route[:pooling], route[pooling])


def shortest(chain: Chain) -> list[Item]:
    """The layers along the path that sees least."""
    return _route(chain, widest=False)


def _route(chain: Chain, *, widest: bool) -> list[Item]:
    route: list[Item] = []
    for item in chain:
        if not item.paths:
            route.append(item)
            continue
        # What has one row or column is stretched to the size of the others: a factor per channel, no feature.
        whole = [path for path in item.paths if (path[-1].output_size if path else item.input_size) == item.output_size]
        choose = max if widest else min
        route += choose((_route(path, widest=widest) for path in whole or item.paths), key=_seen(widest))
    return route


def _seen(widest: bool) -> Any:
    def area(route: list[Item]) -> int:
        pooling = next((number for number, item in enumerate(route) if item.pools_globally), None)
        return math.prod(field(route[:pooling] if widest else route))

    return area


def field(items: Sequence[Item]) -> tuple[int, ...]:
    """The part of the image, signal or volume that one output position of layers in order sees by their windows.

    The statistics of a normalization over the whole image tell nothing of where something is; they do not count.
    """
    return receptive_field(
        [
            (item.layer, item.input_shape)
            for item in items
            if item.input_shape != item.output_shape or not any(item.sees_all_along)
        ]
    )
