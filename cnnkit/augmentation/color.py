"""Augmentations that change pixel values in place: contrast, brightness, colour, sharpness, histograms."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.augmentation.base import VALUE_RANGE, Augmentation, BitsFactor, SignedFactor, UnitFactor, ValueRange
from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import Fraction, NonNegativeNumber, Pair, is_whole, whole_schema
from cnnkit.format.shapes import Shape, ShapeError, format_shape


class RandomContrast(Augmentation):
    """Multiplies each image's distance from its channel means by its own random factor.

    A single number only raises the contrast in Keras 3.15; write [lower, upper] for both directions.
    """

    leading: ClassVar[str | None] = "factor"

    factor: UnitFactor = Field(
        description="Each 0 to 1: [lower, upper] draws the contrast factor from [1 - lower, 1 + upper], "
        "lower <= upper; a number f draws from [1, 1 + f]."
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class RandomBrightness(Augmentation):
    """Adds its own random constant to each image."""

    leading: ClassVar[str | None] = "factor"

    factor: SignedFactor = Field(
        description="What is added, as a share of the value range, -1 (black) to 1 (white); a number f draws "
        "from [-f, f]."
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class RandomHue(Augmentation):
    """Rotates the hue of each RGB image by its own random angle."""

    leading: ClassVar[str | None] = "factor"
    channels: ClassVar[tuple[int, ...] | None] = (3,)

    factor: UnitFactor = Field(
        description="Rotation as a share of half a turn, 0 to 1, with a random sign; a number f draws from [0, f]."
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class RandomSaturation(Augmentation):
    """Multiplies the saturation of each RGB image by its own random factor.

    Results are clipped to `value_range`; Keras 3.15 clips the saturation instead, to values far above 1,
    and returns pixels far below 0.
    """

    leading: ClassVar[str | None] = "factor"
    channels: ClassVar[tuple[int, ...] | None] = (3,)
    own_layer: ClassVar[bool] = True

    factor: SignedFactor = Field(
        description="f multiplies the saturation by f / (1 - f): 0 or less is grey, 0.5 no change, 1 full "
        "saturation. A number f draws from [-f, f], so that half of the images turn grey; write [low, high], "
        "such as [0.4, 0.6]."
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class RandomColorJitter(Augmentation):
    """Random brightness, contrast, saturation and hue, in this order, each image on its own."""

    needs_one_of: ClassVar[tuple[str, ...]] = (
        *("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor"),
    )

    own_layer: ClassVar[bool] = True

    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)
    brightness_factor: SignedFactor | None = Field(
        default=None, description="As `factor` of `RandomBrightness`; by default the brightness is kept."
    )
    contrast_factor: UnitFactor | None = Field(
        default=None, description="As `factor` of `RandomContrast`; by default the contrast is kept."
    )
    saturation_factor: SignedFactor | None = Field(
        default=None, description="As `factor` of `RandomSaturation`; by default the saturation is kept."
    )
    hue_factor: UnitFactor | None = Field(
        default=None, description="As `factor` of `RandomHue`; by default the hue is kept."
    )

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        factors = (self.brightness_factor, self.contrast_factor, self.saturation_factor, self.hue_factor)
        if all(factor is None for factor in factors):
            raise invalid(
                "needs at least one of `brightness_factor`, `contrast_factor`, `saturation_factor` and "
                "`hue_factor`: without them it changes nothing"
            )
        return self

    def allowed_channels(self) -> tuple[int, ...] | None:
        return None if self.saturation_factor is None and self.hue_factor is None else (3,)


class RandomColorDegeneration(Augmentation):
    """Mixes each RGB image with its grey version, by its own random share."""

    leading: ClassVar[str | None] = "factor"
    channels: ClassVar[tuple[int, ...] | None] = (1, 3)

    factor: SignedFactor = Field(
        description="Share of grey, 0 (no change) to 1 (grey), negative = more colour; a number f draws from [-f, f]."
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class RandomSharpness(Augmentation):
    """Blurs or sharpens each image by its own random amount."""

    leading: ClassVar[str | None] = "factor"

    factor: UnitFactor = Field(description="0 blurs, 0.5 changes nothing, 1 sharpens; a number f draws from [0, f].")
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class RandomPosterization(Augmentation):
    """Keeps only the highest bits of each 8-bit pixel value, their number drawn for each image."""

    leading: ClassVar[str | None] = "factor"

    factor: BitsFactor = Field(
        description="Bits to keep, 1 to 8: [low, high] draws low to high - 1, or low where both are equal; a "
        "number f is [1, f]."
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class RandomGrayscale(Augmentation):
    """Turns some of the RGB images grey; they keep their three channels."""

    leading: ClassVar[str | None] = "factor"
    channels: ClassVar[tuple[int, ...] | None] = (1, 3)

    factor: Fraction = Field(default=0.5, description="Probability of turning an image grey, 0 to 1.")


class RandomInvert(Augmentation):
    """Replaces the pixel values v of some images by 255 - v."""

    leading: ClassVar[str | None] = "factor"

    factor: UnitFactor = Field(
        default=1.0,
        description="Probability of inverting an image, 0 to 1, itself drawn for each image from [0, f] "
        "for a "
        "number f, or from [low, high]; [0.5, 0.5] inverts half of the images.",
    )
    value_range: ValueRange = Field(
        default=(0, 255), description="[low, high] of the pixel values; a value v becomes high - v."
    )


#: Pixels of a Gaussian whose standard deviation is at most 1.
_LARGEST_BLUR = 999


def _odd(value: Any) -> int:
    if is_whole(value, 1, _LARGEST_BLUR) and value % 2:
        return int(value)
    raise invalid(f"expected an odd whole number from 1 to {_LARGEST_BLUR}, got {describe(value)}")


class RandomGaussianBlur(Augmentation):
    """Blurs some of the images with a Gaussian of random width, drawn for each image and axis.

    Keras' layer draws one width per batch.
    """

    leading: ClassVar[str | None] = "factor"
    own_layer: ClassVar[bool] = True

    factor: UnitFactor = Field(
        default=1.0,
        description="Probability of blurring an image, 0 to 1, itself drawn for each image from [0, f] for a "
        "number f, or from [low, high]; [1, 1] blurs every image.",
    )
    kernel_size: Annotated[
        int, PlainValidator(_odd), WithJsonSchema(whole_schema(1, _LARGEST_BLUR) | {"not": {"multipleOf": 2}})
    ] = Field(default=3, description="Side of the square kernel in pixels, an odd number.")
    sigma: UnitFactor = Field(
        default=1.0,
        description="Standard deviation of the Gaussian in pixels, 0 to 1; a number s draws from [0, s].",
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class Solarization(Augmentation):
    """Adds a constant to each image, then inverts the values at or above a threshold.

    With Keras' defaults (both factors 0) every image is inverted.
    """

    leading: ClassVar[str | None] = "addition_factor"

    addition_factor: UnitFactor = Field(
        default=0.0,
        description="What is added, as a share of 255, 0 to 1, drawn for each image; a number f draws from [0, f].",
    )
    threshold_factor: UnitFactor = Field(
        default=0.0,
        description="The threshold as a share of 255, 0 to 1, drawn likewise; lower values are not inverted.",
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class AutoContrast(Augmentation):
    """Stretches each channel of each image to the whole value range. Draws nothing."""

    random: ClassVar[bool] = False

    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)


class Equalization(Augmentation):
    """Equalizes the histogram of each channel of each image. Draws nothing.

    Keras' layer takes one histogram over the whole batch.
    """

    random: ClassVar[bool] = False
    own_layer: ClassVar[bool] = True

    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)
    bins: int = Field(default=256, ge=1, le=65_536, description="Number of bins of the histogram.")


class ContrastLimitedAdaptiveHistogramEqualization(Augmentation):
    """Equalizes the histograms of tiles of each channel of each image (CLAHE). Draws nothing.

    Applied image by image: Keras' layer needs 1 KiB of memory per pixel and channel of its batch.
    """

    random: ClassVar[bool] = False
    own_layer: ClassVar[bool] = True

    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)
    clip_limit: NonNegativeNumber = Field(
        default=4.0, description="Highest histogram bin as a multiple of the mean bin; 0 for no limit."
    )
    tile_grid_size: Pair = Field(default=(8, 8), description="Number of tiles along [height, width].")

    def output_shape(self, input_shape: Shape, *, per_pixel: bool = False) -> Shape:
        output = super().output_shape(input_shape, per_pixel=per_pixel)
        for size, tiles in zip(input_shape, self.tile_grid_size, strict=False):
            if -size % tiles > size:
                raise ShapeError(
                    f"{self.tile_grid_size[0]}x{self.tile_grid_size[1]} tiles do not fit images of "
                    f"{format_shape(input_shape)}; write at most {size} for an axis of {size} pixels",
                    "tile_grid_size",
                )
        return output
