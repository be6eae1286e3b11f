"""The layers that enlarge, pad, crop, resize or rescale an image."""

import contextlib
import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import NUMBER_SCHEMA, DataFormat, Number, Pair, Side, is_number, list_schema
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers import geometry
from cnnkit.layers.base import Layer, ShapeLayer, channels, image_shape, spatial
from cnnkit.layers.receptive_field import Bounds
from cnnkit.layers.window import DATA_FORMAT, AmountsField

Interpolation = Literal["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"]


class UpSampling2D(ShapeLayer):
    """Enlarges an image by whole factors."""

    leading: ClassVar[str | None] = "size"
    size: Pair = Field(default=(2, 2), description="Factors for [height, width], from 1.")
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)
    interpolation: Interpolation = Field(default="nearest", description="How values between pixels are found.")

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width = spatial(input_shape, self.data_format)
        count = channels(input_shape, self.data_format)
        return image_shape(height * self.size[0], width * self.size[1], count, self.data_format)

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        size = spatial(input_shape, self.data_format)[axis]
        return geometry.resize_range(low, high, size, size * self.size[axis], self.interpolation)

    def turn(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        return self.size[axis], 1

    def bounds(self, axis: int, input_shape: Shape) -> Bounds:
        return Bounds(*geometry.resize_bounds(1, self.size[axis], self.interpolation))


class ZeroPadding2D(ShapeLayer):
    """Adds rows and columns of zeros."""

    leading: ClassVar[str | None] = "padding"

    padding: AmountsField = Field(
        default=((1, 1), (1, 1)),
        description="Rows and columns added: a number, [height, width] or [[top, bottom], [left, right]].",
    )
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width = spatial(input_shape, self.data_format)
        count = channels(input_shape, self.data_format)
        return image_shape(height + sum(self.padding[0]), width + sum(self.padding[1]), count, self.data_format)

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        return low - self.padding[axis][0], high - self.padding[axis][0]


class Cropping2D(ShapeLayer):
    """Cuts rows and columns off."""

    leading: ClassVar[str | None] = "cropping"

    cropping: AmountsField = Field(
        default=((0, 0), (0, 0)),
        description="Rows and columns cut: a number, [height, width] or [[top, bottom], [left, right]].",
    )
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width = spatial(input_shape, self.data_format)
        rows, columns = height - sum(self.cropping[0]), width - sum(self.cropping[1])
        if rows < 1 or columns < 1:
            raise ShapeError(
                f"cropping {[list(side) for side in self.cropping]} leaves nothing of the {height}x{width} "
                f"input this layer receives (here: {format_shape(input_shape)})",
                argument="cropping",
            )
        return image_shape(rows, columns, channels(input_shape, self.data_format), self.data_format)

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        return low + self.cropping[axis][0], high + self.cropping[axis][0]


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


class Resizing(ShapeLayer):
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
        spatial(input_shape, self.data_format)
        return image_shape(self.height, self.width, channels(input_shape, self.data_format), self.data_format)

    def source(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        """Start and size of the part of the input that is resized; padding makes the start negative."""
        sizes = spatial(input_shape, self.data_format)
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
