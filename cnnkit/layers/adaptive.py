"""Poolings that make an output of a given size, whatever arrives: windows that share the input among the positions."""

import math
from typing import Any, ClassVar

from pydantic import Field

from cnnkit.format.fields import DataFormat, Sizes1D, Sizes2D, Sizes3D
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape
from cnnkit.layers.base import Scope
from cnnkit.layers.receptive_field import Bounds
from cnnkit.layers.spatial import SpatialShapeLayer
from cnnkit.layers.submodel import functional
from cnnkit.layers.window import DATA_FORMAT, compute_dtype

_SIGNAL_FORMAT = "Order of the axes: channels_last (length, channels; the default) or channels_first."
_VOLUME_FORMAT = "Order of the axes: channels_last (depth, height, width, channels; the default) or channels_first."


class AdaptivePooling(SpatialShapeLayer):
    """What the adaptive poolings share: position o of W' sees floor(o W / W') to ceil((o + 1) W / W') - 1."""

    leading: ClassVar[str | None] = "output_size"
    any_size: ClassVar[bool] = False

    output_size: Sizes2D = Field(description="The output's [height, width], from 1.")
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    def output_shape(self, input_shape: Shape) -> Shape:
        self.sizes(input_shape)
        return self.shape_of(self.output_size, self.channels(input_shape))

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        size, output = self.sizes(input_shape)[axis], self.output_size[axis]
        return low * size // output, -(-(high + 1) * size // output) - 1

    def turn(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        size, output = self.sizes(input_shape)[axis], self.output_size[axis]
        common = math.gcd(size, output)
        return output // common, size // common

    def bounds(self, axis: int, input_shape: Shape) -> Bounds:
        scale = self.sizes(input_shape)[axis] / self.output_size[axis]
        return Bounds(scale, -1.0, scale)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        spatial_axis = self._spatial_axis(axis, input_shape)
        return spatial_axis is not None and self.output_size[spatial_axis] == 1

    @property
    def pools(self) -> str:
        """What is taken of each window: `Average` or `Max`."""
        return "Max" if "Max" in self.kind else "Average"

    def calls(self) -> tuple[Call, ...]:
        (call,) = super().calls()
        arguments = (Argument("kind", self.pools), *call.arguments)
        return (Call("adaptive_pooling", arguments, "kind", of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        """Keras' layer; where it would fail, a functional model, see `functions.adaptive_pooling`."""
        if 1 not in (*self.sizes(scope.input_shape), *self.output_size):
            return super().build(scope)
        from cnnkit.layers.functions import adaptive_pooling

        arguments = self.keras_arguments(scope)
        dtype = arguments["dtype"]

        def body(inputs: Any) -> Any:
            return adaptive_pooling(inputs, self.pools, self.output_size, self.data_format, dtype)

        return functional(arguments["name"], scope.keras_shape, compute_dtype(dtype), body)


class SignalAdaptivePooling(AdaptivePooling):
    """What the adaptive poolings of signals share."""

    axes: ClassVar[int] = 1

    output_size: Sizes1D = Field(description="The output's length, from 1.")
    data_format: DataFormat | None = Field(default=None, description=_SIGNAL_FORMAT)


class VolumeAdaptivePooling(AdaptivePooling):
    """What the adaptive poolings of volumes share."""

    axes: ClassVar[int] = 3

    output_size: Sizes3D = Field(description="The output's [depth, height, width], from 1.")
    data_format: DataFormat | None = Field(default=None, description=_VOLUME_FORMAT)


class AdaptiveAveragePooling1D(SignalAdaptivePooling):
    """Means of a signal, as many as are asked for, whatever its length."""


class AdaptiveAveragePooling2D(AdaptivePooling):
    """Means of windows, as many rows and columns as are asked for, whatever the image's size."""


class AdaptiveAveragePooling3D(VolumeAdaptivePooling):
    """Means of windows of a volume, as many as are asked for, whatever its size."""


class AdaptiveMaxPooling1D(SignalAdaptivePooling):
    """Maxima of a signal, as many as are asked for, whatever its length."""


class AdaptiveMaxPooling2D(AdaptivePooling):
    """Maxima of windows, as many rows and columns as are asked for, whatever the image's size."""


class AdaptiveMaxPooling3D(VolumeAdaptivePooling):
    """Maxima of windows of a volume, as many as are asked for, whatever its size."""
