"""Augmentations that move pixels: flips, crops, affine and elastic transformations."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.augmentation.base import (
    FILL_MODE,
    FILL_VALUE,
    INTERPOLATION,
    VALUE_RANGE,
    FillMode,
    Interpolation,
    MaskError,
    MovingAugmentation,
    Pixel,
    ShiftingAugmentation,
    SignedFactor,
    UnitFactor,
    ValueRange,
    ZoomFactor,
)
from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import LARGEST_SIDE, Fraction, Side, is_whole, list_schema, whole_schema
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape


class RandomFlip(ShiftingAugmentation):
    """Mirrors an image with probability 0.5.

    With `horizontal_and_vertical`, Keras flips an image along both axes or along none.
    """

    leading: ClassVar[str | None] = "mode"
    own_layer: ClassVar[bool] = True
    of_boxes: ClassVar[str] = "Boxes move along."
    box_mover: ClassVar[str | None] = "flipped"

    mode: Literal["horizontal", "vertical", "horizontal_and_vertical"] = Field(
        default="horizontal_and_vertical",
        description="`horizontal` swaps left and right, `vertical` top and bottom; with "
        "`horizontal_and_vertical` an image is flipped along both axes or along none.",
    )
    alternate: bool = Field(
        default=False,
        description="Draw each image's side once for the whole run, and show the other side in every other epoch "
        "(Jordan 2024, arXiv:2404.00498), so that two epochs show both sides of every image.",
    )

    def leaves_bytes(self) -> bool:
        return True

    def call(self) -> Call:
        if self.alternate:
            return super().call()
        # Ours is only faster then.
        return Call("layers.RandomFlip", (Argument("mode", self.mode),), "mode")


_PIXELS = whole_schema(0, LARGEST_SIDE)


def _padding(value: Any) -> tuple[int, int]:
    items = [value, value] if is_whole(value) else value
    if isinstance(items, list | tuple) and len(items) == 2 and all(is_whole(v, 0, LARGEST_SIDE) for v in items):
        return (items[0], items[1])
    raise invalid(
        f"expected a whole number of pixels from 0 to {LARGEST_SIDE:,}, or a list [height, width] of two, "
        f"got {describe(value)}"
    )


class RandomCrop(ShiftingAugmentation):
    """Pads each image on all four sides, then cuts a window at a random position.

    Every image gets its own position, all positions being equally likely (Keras' `RandomCrop` draws one per
    batch and has no padding). This is the augmentation of the ResNet paper (He et al. 2015,
    https://arxiv.org/abs/1512.03385, section 4.2), there with `padding: 4`. The window is as large as the image, unless
    there is a class for each pixel: then a network can be trained on smaller windows, `RandomCrop: {height: 160,
    width: 160}`, and is evaluated on whole images all the same.
    """

    needs_one_of: ClassVar[tuple[str, ...]] = ("height", "width", "padding")

    own_layer: ClassVar[bool] = True
    box_mover: ClassVar[str | None] = "cropped"

    height: Side | None = Field(
        default=None,
        description="Height of the window in pixels, by default the images' own. Another one needs masks to learn.",
    )
    width: Side | None = Field(default=None, description="Width of the window in pixels, likewise.")
    padding: Annotated[
        tuple[int, int],
        PlainValidator(_padding),
        WithJsonSchema({"anyOf": [_PIXELS, list_schema(_PIXELS, 2, 2)]}),
    ] = Field(
        default=(0, 0),
        description="Pixels added on each side before cropping: one number, or [top and bottom, left and right].",
    )
    fill_mode: Literal["constant", "reflect", "mirror"] = Field(
        default="constant",
        description="What the padding holds: `constant` (`fill_value`), `reflect` (b a | a b c d | d c) or "
        "`mirror` (c b | a b c d | c b).",
    )
    fill_value: Pixel = Field(default=0.0, description=FILL_VALUE)

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.height is None and self.width is None and self.padding == (0, 0):
            raise invalid(
                "needs `padding`: without it the window is the whole image; `padding: 4` is usual for 32x32 images"
            )
        return self

    def resized(self, input_shape: Shape) -> Shape:
        return (self.height or input_shape[0], self.width or input_shape[1], *input_shape[2:])

    def output_shape(self, input_shape: Shape, *, per_pixel: bool = False) -> Shape:
        output = super().output_shape(input_shape, per_pixel=per_pixel)
        for size, padding in zip(input_shape, self.padding, strict=False):
            limit = {"constant": padding, "reflect": size, "mirror": size - 1}[self.fill_mode]
            if padding > limit:
                raise ShapeError(
                    f"`fill_mode: {self.fill_mode}` can pad {size} pixels by at most {limit}, got {padding}; "
                    "write a smaller `padding`, or `fill_mode: constant`",
                    "padding",
                )
        for axis, name in enumerate(("height", "width")):
            room = input_shape[axis] + 2 * self.padding[axis]
            if output[axis] > room:
                padded = ", with their padding" if self.padding[axis] else ""
                raise ShapeError(
                    f"a window of {format_shape(output[:2])} does not fit into images of "
                    f"{format_shape(input_shape[:2])}: their {name}{padded} is {room}; write `{name}: {room}` or less",
                    name,
                )
        return output

    def check_boxes(self) -> None:
        if self.padding != (0, 0):
            super().check_boxes()

    def leaves_bytes(self) -> bool:
        return self.fill_value in range(256)

    def check_filling(self) -> None:
        if self.padding != (0, 0) and self.fill_mode == "constant":
            raise MaskError(
                "the `padding` of a mask would be of no class, and no class id is ignored; write `fill_mode: reflect`, "
                "which repeats image and mask, or name an ignored id with `data.ignore: 255`",
                "padding",
            )


class RandomRotation(MovingAugmentation):
    """Rotates each image about its centre by its own random angle."""

    leading: ClassVar[str | None] = "factor"

    factor: SignedFactor = Field(
        description="Angle as a share of a full turn, -1 to 1, positive = counter-clockwise; a number f "
        "draws "
        "from [-f, f]. 0.1 is up to 36 degrees either way."
    )
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: Pixel = Field(default=0.0, description=FILL_VALUE)


class RandomTranslation(ShiftingAugmentation):
    """Shifts each image by its own random amount along both axes."""

    box_mover: ClassVar[str | None] = "translated"

    height_factor: SignedFactor = Field(
        description="Shift as a share of the height, -1 to 1, positive = down; a number f draws from [-f, f]."
    )
    width_factor: SignedFactor = Field(
        description="Shift as a share of the width, -1 to 1, positive = right; a number f draws from [-f, f]."
    )
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: Pixel = Field(default=0.0, description=FILL_VALUE)


class RandomZoom(ShiftingAugmentation):
    """Zooms each image about its centre by its own random factor."""

    leading: ClassVar[str | None] = "height_factor"
    box_mover: ClassVar[str | None] = "zoomed"

    height_factor: ZoomFactor = Field(
        description="Zoom of the height, above -1 and up to 1: 0.2 shows 20% more than the image (zooms "
        "out), "
        "-0.2 20% less (zooms in); a number f draws from [-f, f]."
    )
    width_factor: ZoomFactor | None = Field(
        default=None,
        description="Zoom of the width, likewise; by default that of the height (same aspect ratio).",
    )
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: Pixel = Field(default=0.0, description=FILL_VALUE)


class RandomShear(MovingAugmentation):
    """Shears each image by its own random amount, with the top left corner fixed (as Keras does)."""

    needs_one_of: ClassVar[tuple[str, ...]] = ("x_factor", "y_factor")

    leading: ClassVar[str | None] = "x_factor"

    x_factor: UnitFactor = Field(
        default=0.0,
        description="Horizontal shift per row, in pixels, 0 to 1; a number f draws from [-f, f], a list from "
        "[low, high] with a random sign.",
    )
    y_factor: UnitFactor = Field(
        default=0.0, description="Vertical shift per column, in pixels, 0 to 1, drawn likewise."
    )
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    fill_value: Pixel = Field(default=0.0, description=FILL_VALUE)

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not {"x_factor", "y_factor"} & self.model_fields_set:
            raise invalid("needs `x_factor` or `y_factor`: with Keras' default of 0 for both it changes nothing")
        return self


class RandomPerspective(MovingAugmentation):
    """Moves the corners of each image by random amounts (Keras keeps the top left corner)."""

    leading: ClassVar[str | None] = "factor"

    factor: UnitFactor = Field(
        default=1.0,
        description="Probability of changing an image, 0 to 1, itself drawn for each image from [0, f] for a "
        "number f, or from [low, high]; [1, 1] changes every image.",
    )
    scale: Fraction = Field(
        default=1.0,
        description="Largest displacement of a corner, 0 to 1, as a share of half its coordinate.",
    )
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: Pixel = Field(default=0.0, description="Pixel value, 0 to 255, outside the image.")

    def output_shape(self, input_shape: Shape, *, per_pixel: bool = False) -> Shape:
        output = super().output_shape(input_shape, per_pixel=per_pixel)
        if min(input_shape[:2]) < 2:
            raise ShapeError(
                f"`RandomPerspective` needs images of at least 2x2 pixels, whose corners differ, but the data are "
                f"{format_shape(input_shape)}; leave it out"
            )
        return output

    def check_filling(self) -> None:
        raise MaskError(
            "`RandomPerspective` moves pixels of no class into the mask, and no class id is ignored; name an ignored "
            "id with `data.ignore: 255`, or leave it out"
        )


class RandomElasticTransform(MovingAugmentation):
    """Displaces the pixels of each image by a smooth random field.

    Keras' layer draws one strength per batch, and in a data pipeline, where the batch size is not known
    beforehand, replaces every image by the first one; so it is applied image by image. As in Keras 3.15, the
    displacement of a pixel is the same along both axes.
    """

    leading: ClassVar[str | None] = "factor"
    own_layer: ClassVar[bool] = True

    factor: UnitFactor = Field(
        default=1.0,
        description="Probability of changing an image, 0 to 1, itself drawn for each image from [0, f] for a "
        "number f, or from [low, high]; [1, 1] changes every image.",
    )
    scale: UnitFactor = Field(
        default=1.0,
        description="Strength, 0 to 1, drawn for each image from [0, s] for a number s, or from [low, high].",
    )
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    fill_value: Pixel = Field(default=0.0, description=FILL_VALUE)
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)
