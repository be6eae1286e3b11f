"""The layers that enlarge, pad, crop, resize or rescale an image."""

import contextlib
import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import NUMBER_SCHEMA, DataFormat, Number, Side, Sizes2D, is_number, list_schema
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers import geometry
from cnnkit.layers.base import Layer
from cnnkit.layers.receptive_field import Bounds
from cnnkit.layers.spatial import SpatialShapeLayer
from cnnkit.layers.window import DATA_FORMAT, Amounts2D

Interpolation = Literal["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"]


class UpSampling(SpatialShapeLayer):
    """What UpSampling1D, UpSampling2D and UpSampling3D share."""

    leading: ClassVar[str | None] = "size"

    size: Sizes2D = Field(default=(2, 2), description="Factors for [height, width], from 1.")

    @property
    def kernel(self) -> str:
        """How values between positions are found."""
        return getattr(self, "interpolation", "nearest")

    def output_shape(self, input_shape: Shape) -> Shape:
        sizes = [size * factor for size, factor in zip(self.sizes(input_shape), self.size, strict=True)]
        return self.shape_of(sizes, self.channels(input_shape))

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        size = self.sizes(input_shape)[axis]
        return geometry.resize_range(low, high, size, size * self.size[axis], self.kernel)

    def turn(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        return self.size[axis], 1

    def bounds(self, axis: int, input_shape: Shape) -> Bounds:
        return Bounds(*geometry.resize_bounds(1, self.size[axis], self.kernel))


class UpSampling2D(UpSampling):
    """Enlarges an image by whole factors."""

    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)
    interpolation: Interpolation = Field(default="nearest", description="How values between pixels are found.")


class ZeroPadding(SpatialShapeLayer):
    """What ZeroPadding1D, ZeroPadding2D and ZeroPadding3D share."""

    leading: ClassVar[str | None] = "padding"

    padding: Amounts2D = Field(
        default=((1, 1), (1, 1)),
        description="Rows and columns added: a number, [height, width] or [[top, bottom], [left, right]].",
    )
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    def output_shape(self, input_shape: Shape) -> Shape:
        sizes = [size + sum(amount) for size, amount in zip(self.sizes(input_shape), self.padding, strict=True)]
        return self.shape_of(sizes, self.channels(input_shape))

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        return low - self.padding[axis][0], high - self.padding[axis][0]


class ZeroPadding2D(ZeroPadding):
    """Adds rows and columns of zeros."""


class Cropping(SpatialShapeLayer):
    """What Cropping1D, Cropping2D and Cropping3D share."""

    leading: ClassVar[str | None] = "cropping"

    cropping: Amounts2D = Field(
        default=((0, 0), (0, 0)),
        description="Rows and columns cut: a number, [height, width] or [[top, bottom], [left, right]].",
    )

    def output_shape(self, input_shape: Shape) -> Shape:
        sizes = self.sizes(input_shape)
        kept = [size - sum(amount) for size, amount in zip(sizes, self.cropping, strict=True)]
        if min(kept) < 1:
            sides = [list(side) for side in self.cropping]
            raise ShapeError(
                f"cropping {sides if self.axes > 1 else sides[0]} leaves nothing of the {format_shape(sizes)} "
                f"input this layer receives (here: {format_shape(input_shape)})",
                argument="cropping",
            )
        return self.shape_of(kept, self.channels(input_shape))

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        return low + self.cropping[axis][0], high + self.cropping[axis][0]


class Cropping2D(Cropping):
    """Cuts rows and columns off."""

    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)


def _numbers(value: Any) -> float | list[float]:
    if is_number(value):
        return float(value)
    if isinstance(value, list | tuple) and value and all(is_number(item) for item in value):
        return [float(item) for item in value]
    hint = ""
    if isinstance(value, str):
        top, slash, bottom = value.partition("/")
        with contextlib.suppress(ValueError, ZeroDivisionError):
            hint = f"; write {float(top) / float(bottom)!r}" if slash else ""
    raise invalid(f"expected a number, or a list with one number per channel, got {describe(value)}{hint}")


_Numbers = Annotated[
    float | list[float],
    PlainValidator(_numbers),
    WithJsonSchema({"anyOf": [NUMBER_SCHEMA, list_schema(NUMBER_SCHEMA)]}),
]


class Rescaling(Layer):
    """x * scale + offset."""

    leading: ClassVar[str | None] = "scale"

    scale: _Numbers = Field(description="Factor: a number, or one per position of the last axis.")
    offset: _Numbers = Field(default=0.0, description="What is added: a number, or one per position of the last axis.")

    def output_shape(self, input_shape: Shape) -> Shape:
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if isinstance(value, list) and len(value) not in (1, input_shape[-1]):
                raise ShapeError(
                    f"`{name}` has {len(value)} values, but the input's last axis {input_shape[-1]} "
                    f"(here: {format_shape(input_shape)})",
                    argument=name,
                )
        return input_shape


class Resizing(SpatialShapeLayer):
    """Resizes an image to a fixed height and width."""

    leading: ClassVar[str | None] = "height"
    height: Side = Field(description="The output's height, in pixels, from 1.")
    width: Side = Field(description="The output's width, in pixels, from 1.")
    interpolation: Interpolation = Field(default="bilinear", description="How values between pixels are found.")
    crop_to_aspect_ratio: bool = Field(
        default=False, description="Whether to keep the aspect ratio by cropping the input first."
    )
    pad_to_aspect_ratio: bool = Field(
        default=False, description="Whether to keep the aspect ratio by padding the input first."
    )
    fill_mode: Literal["constant"] = Field(default="constant", description="How padding is filled; only `constant`.")
    fill_value: Number = Field(default=0.0, description="The value of padding.")
    antialias: bool = Field(default=False, description="Whether shrinking averages over all pixels it skips.")
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    @model_validator(mode="after")
    def _crop_or_pad(self) -> Self:
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise invalid("only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be true")
        return self

    def output_shape(self, input_shape: Shape) -> Shape:
        self.sizes(input_shape)
        return self.shape_of((self.height, self.width), self.channels(input_shape))

    def source(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        """Start and size of the part of the input that is resized; padding makes the start negative."""
        sizes = self.sizes(input_shape)
        targets = (self.height, self.width)
        size, fitting = sizes[axis], sizes[1 - axis] * targets[axis] // targets[1 - axis]
        if self.crop_to_aspect_ratio:
            part = max(min(size, fitting), 1)
            return (size - part) // 2, part
        if self.pad_to_aspect_ratio:
            # Keras adds the same on both sides, so that an odd difference loses one.
            added = (max(size, fitting) - size) // 2
            return -added, size + 2 * added
        return 0, size

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        start, size = self.source(axis, input_shape)
        output = (self.height, self.width)[axis]
        low, high = geometry.resize_range(low, high, size, output, self.interpolation, self.antialias)
        return low + start, high + start

    def turn(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        size, output = self.source(axis, input_shape)[1], (self.height, self.width)[axis]
        common = math.gcd(size, output)
        return output // common, size // common

    def bounds(self, axis: int, input_shape: Shape) -> Bounds:
        start, size = self.source(axis, input_shape)
        output = (self.height, self.width)[axis]
        scale, first, last = geometry.resize_bounds(size, output, self.interpolation, self.antialias)
        return Bounds(scale, first + start, last + start)
