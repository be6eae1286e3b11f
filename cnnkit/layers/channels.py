"""Layers that move channels, or keep some of them."""

from typing import Any, ClassVar

from pydantic import Field

from cnnkit.format.fields import DataFormat, NonNegativeInteger, PositiveInteger
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.base import Scope, ShapeLayer
from cnnkit.layers.submodel import functional
from cnnkit.layers.window import DATA_FORMAT, compute_dtype


class ChannelLayer(ShapeLayer):
    """A layer that takes the channels in groups of equal size."""

    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    def channel_axis(self, input_shape: Shape) -> int:
        """Where the channels lie in a shape without the batch axis."""
        return 0 if self.data_format == "channels_first" else len(input_shape) - 1

    def count(self, groups: int, input_shape: Shape, argument: str) -> int:
        """The channels of each group.

        Raises:
            ShapeError: if the groups are not of equal size.
        """
        total = input_shape[self.channel_axis(input_shape)]
        if total % groups:
            raise ShapeError(
                f"{argument} ({groups}) must divide the {total} channels this layer receives "
                f"(here: {format_shape(input_shape)})",
                argument=argument,
            )
        return total // groups

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        # The channels are no rows of an image, unless a Permute put them there.
        return axis == self.channel_axis(input_shape)

    def keras_axis(self) -> int:
        """Where the channels lie, counted as Keras does."""
        return 1 if self.data_format == "channels_first" else -1

    def _build(self, scope: Scope, function: Any, *arguments: Any) -> Any:
        keras_arguments = self.keras_arguments(scope)

        def body(inputs: Any) -> Any:
            return function(inputs, *arguments, self.keras_axis())

        return functional(keras_arguments["name"], scope.keras_shape, compute_dtype(keras_arguments["dtype"]), body)


class ChannelShuffle(ChannelLayer):
    """Interleaves the channels of groups, so that the next grouped convolution mixes them (arXiv:1707.01083).

    Of C channels in g groups, output j * g + i is channel j of group i, input i * C / g + j. No parameters.
    """

    leading: ClassVar[str | None] = "groups"
    example: ClassVar[str] = """\
- Conv2D: {filters: 24, kernel_size: 1, groups: 3}
- ChannelShuffle: 3                       # each group of the next convolution sees all groups of this one
- Conv2D: {filters: 24, kernel_size: 1, groups: 3}
"""
    groups: PositiveInteger = Field(description="Number of groups, which divides the channels.")

    def output_shape(self, input_shape: Shape) -> Shape:
        self.count(self.groups, input_shape, "groups")
        return input_shape

    def calls(self) -> tuple[Call, ...]:
        arguments = (Argument("groups", self.groups), Argument("axis", self.keras_axis(), -1))
        return (Call("channel_shuffle", arguments, "groups", of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        """A functional model of Keras' operations."""
        from cnnkit.layers.functions import channel_shuffle

        return self._build(scope, channel_shuffle, self.groups)


class ChannelSplit(ChannelLayer):
    """Passes one part of the channels on, of several that are equally large (Ma et al. 2018, arXiv:1807.11164).

    As the first layer of a path of `Branches`: each path computes with its own channels. No parameters.
    """

    leading: ClassVar[str | None] = "part"
    example: ClassVar[str] = """\
- Branches:                               # of ShuffleNet V2: one half as it is, and one that is computed
    - [ChannelSplit: 0]
    - [ChannelSplit: 1, Conv2D: {filters: $channels, kernel_size: 3, padding: same, activation: relu}]
- ChannelShuffle: 2
"""

    part: NonNegativeInteger = Field(description="Which part, from 0.")
    parts: PositiveInteger = Field(default=2, description="Into how many parts the channels are divided, equally.")

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.part >= self.parts:
            raise ShapeError(
                f"part {self.part} is none of {self.parts}, which count from 0 to {self.parts - 1}", argument="part"
            )
        axis = self.channel_axis(input_shape)
        return (*input_shape[:axis], self.count(self.parts, input_shape, "parts"), *input_shape[axis + 1 :])

    def calls(self) -> tuple[Call, ...]:
        arguments = (
            Argument("part", self.part),
            Argument("parts", self.parts),
            Argument("axis", self.keras_axis(), -1),
        )
        return (Call("channel_split", arguments, "part", of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        """A functional model of Keras' operations."""
        from cnnkit.layers.functions import channel_split

        return self._build(scope, channel_split, self.part, self.parts)
