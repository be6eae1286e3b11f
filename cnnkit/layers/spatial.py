"""Layers that act along the axes of signals (length), images (height, width) or volumes (depth, height, width)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Scope, ShapeLayer

#: What a tensor with so many spatial axes and one of channels is called, and the shape that messages name.
THINGS = {1: "signal", 2: "image", 3: "volume"}
EXPECTED = {1: "(length, channels)", 2: "(height, width, channels)", 3: "(depth, height, width, channels)"}
#: What lies along each of so many axes, as in "the last 2 rows".
LINES = {1: ("position",), 2: ("row", "column"), 3: ("slice", "row", "column")}


def spatial(shape: Shape, data_format: str | None, axes: int = 2, kind: str = "") -> tuple[int, ...]:
    """The sizes along the spatial axes of a tensor with channels: height and width of an image.

    Args:
        axes: How many there are.
        kind: What the config calls the layer, for the message.

    Raises:
        ShapeError: if the shape has another number of axes.
    """
    if len(shape) != axes + 1:
        article = "an" if axes == 2 else "a"
        raise ShapeError(
            f"this layer needs {article} {THINGS[axes]} {EXPECTED[axes]}, but receives "
            f"{format_shape(shape)}{_instead(shape, axes, kind)}"
        )
    return shape[1:] if data_format == "channels_first" else shape[:-1]


def _instead(shape: Shape, axes: int, kind: str) -> str:
    """What to write for a tensor with another number of axes; nothing where that is unknown."""
    other = kind.replace(f"{axes}D", f"{len(shape) - 1}D")
    if other != kind and other in LAYERS.names():
        return f"; for {EXPECTED[len(shape) - 1]}, use `{other}`"
    if axes == 1 and len(shape) == 1:
        return (
            "; `Embedding` turns word ids into (length, channels), and `Reshape: [-1, 1]` numbers into a signal of "
            "one channel"
        )
    return ""


def channels(shape: Shape, data_format: str | None) -> int:
    """The number of channels of a tensor with spatial axes."""
    return shape[0] if data_format == "channels_first" else shape[-1]


def shape_of(sizes: Sequence[int], filters: int, data_format: str | None) -> Shape:
    """A shape from its sizes along the spatial axes and its channels, in the order of `data_format`."""
    return (filters, *sizes) if data_format == "channels_first" else (*sizes, filters)


class SpatialLayer(Layer):
    """A layer for tensors with a fixed number of spatial axes.

    Class attributes:
        axes: How many there are: 1 for signals, 2 for images, 3 for volumes.
    """

    axes: ClassVar[int] = 2

    @property
    def channel_order(self) -> str | None:
        """Where the channels lie; None, as in Keras, for last."""
        order: str | None = getattr(self, "data_format", None)
        return order

    def sizes(self, input_shape: Shape) -> tuple[int, ...]:
        """The sizes along the spatial axes.

        Raises:
            ShapeError: if there are more of them, or fewer.
        """
        return spatial(input_shape, self.channel_order, self.axes, self.kind)

    def channels(self, input_shape: Shape) -> int:
        return channels(input_shape, self.channel_order)

    def shape_of(self, sizes: Sequence[int], filters: int) -> Shape:
        return shape_of(sizes, filters, self.channel_order)

    def arguments(self) -> dict[str, Any]:
        arguments = super().arguments()
        if self.axes == 1:
            # One number as it is usually written, and [before, after] of padding.
            single = {
                name: value[0] for name, value in arguments.items() if isinstance(value, list) and len(value) == 1
            }
            arguments |= single
        return arguments

    def arguments_drawn(self, scope: Scope, key: str) -> dict[str, Any]:
        arguments = super().arguments_drawn(scope, key)
        if self.axes == 1:
            # Keras takes one number for one axis, and (before, after) for padding.
            single = {
                name: value[0] for name, value in arguments.items() if isinstance(value, tuple) and len(value) == 1
            }
            arguments |= single
        return arguments


class SpatialShapeLayer(ShapeLayer, SpatialLayer):
    """The same where it only moves or drops values."""
