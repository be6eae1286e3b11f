"""The pooling layers: W' = (W - F + 2P)/S + 1, no parameters."""

import math
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.format.base import invalid
from cnnkit.format.fields import DataFormat, Sizes2D
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape
from cnnkit.layers.base import Scope
from cnnkit.layers.spatial import SpatialLayer
from cnnkit.layers.submodel import functional
from cnnkit.layers.window import DATA_FORMAT, Amounts, WindowedLayer, compute_dtype

_STRIDES = "The window's steps along [height, width], from 1; by default the window's size."


class Pooling(WindowedLayer):
    """What the windowed poolings share."""

    leading: ClassVar[str | None] = "pool_size"
    window_argument: ClassVar[str] = "pool_size"

    strides: Sizes2D | None = Field(default=None, description=_STRIDES)

    @model_validator(mode="after")
    def _padding_below_window(self) -> Self:
        if isinstance(self.padding, str):
            return self
        for amounts, window in zip(self.padding, self.window, strict=True):
            if max(amounts) >= window:
                raise invalid(
                    f"padding {max(amounts)} is not below the window's size {window}, so that a window would "
                    "see padding only"
                )
        return self

    @property
    def output_activation(self) -> str | None:
        return "keep"


class MaxPooling(Pooling):
    """What MaxPooling1D, MaxPooling2D and MaxPooling3D share."""

    def padded_calls(self, call: Call, amounts: Amounts) -> tuple[Call, ...]:
        values = Argument("pad_width", self._pad_width(amounts)), Argument("constant_values", -math.inf)
        return Call("keras.ops.pad", values, "pad_width", of_tensor=True), call

    def _pad_width(self, amounts: Amounts) -> list[list[int]]:
        """The padding of all axes, the batch in front."""
        pad_width = [[0, 0], *([list(amount) for amount in amounts])]
        pad_width.insert(1 if self.data_format == "channels_first" else self.axes + 1, [0, 0])
        return pad_width

    def build_padded(self, scope: Scope, arguments: dict[str, Any], amounts: Amounts) -> Any:
        """A functional model that pads with minus infinity (zeros would beat negative values), then pools."""
        import keras

        pad_width = self._pad_width(amounts)
        pool = self.keras_layer(arguments | {"name": "padded"})

        def body(inputs: Any) -> Any:
            padded = keras.ops.pad(inputs, pad_width, mode="constant", constant_values=float("-inf"))
            return pool(padded)

        return functional(arguments["name"], scope.keras_shape, compute_dtype(arguments["dtype"]), body)


class MaxPooling2D(MaxPooling):
    """The maximum of each window. Explicit padding never wins: it is minus infinity."""

    pool_size: Sizes2D = Field(default=(2, 2), description="The window's [height, width], from 1.")


class AveragePooling(Pooling):
    """What AveragePooling1D, AveragePooling2D and AveragePooling3D share."""


class AveragePooling2D(AveragePooling):
    """The mean of each window. `same` leaves padding out of the mean, explicit padding counts as zeros."""

    pool_size: Sizes2D = Field(description="The window's [height, width], from 1.")


class GlobalPooling(SpatialLayer):
    """What the global poolings share: one value per channel."""

    leading: ClassVar[str | None] = "data_format"

    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)
    keepdims: bool = Field(default=False, description="Whether height and width stay, with size 1.")

    def output_shape(self, input_shape: Shape) -> Shape:
        self.sizes(input_shape)
        count = self.channels(input_shape)
        return self.shape_of((1,) * self.axes, count) if self.keepdims else (count,)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return self._spatial_axis(axis, input_shape) is not None

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        if self.keepdims:
            return axis
        return None if self.sees_everything(axis, input_shape) else 0

    @property
    def output_activation(self) -> str | None:
        return "keep"


class GlobalMaxPooling2D(GlobalPooling):
    """The maximum of each channel."""


class GlobalAveragePooling2D(GlobalPooling):
    """The mean of each channel (Lin, Chen and Yan 2014, arXiv:1312.4400)."""
