"""Augmentations that erase regions, mix images, or choose among other augmentations."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from cnnkit.augmentation.base import (
    INTERPOLATION,
    VALUE_RANGE,
    Augmentation,
    BoxError,
    Interpolation,
    MaskError,
    MovingAugmentation,
    UnitFactor,
    ValueRange,
)
from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import PositiveNumber, Repetitions, is_number, list_schema
from cnnkit.format.shapes import Shape, ShapeError, format_shape

_PIXEL = {"type": "number", "minimum": 0, "maximum": 255}


def _fill_value(value: Any) -> Any:
    def is_pixel(item: Any) -> bool:
        return is_number(item) and 0 <= item <= 255

    if value is None or is_pixel(value):
        return value
    if isinstance(value, list | tuple) and len(value) == 3 and all(is_pixel(item) for item in value):
        return tuple(value)
    raise invalid(
        f"expected a number from 0 to 255, a list [red, green, blue] of three, or null for noise, got {describe(value)}"
    )


class RandomErasing(Augmentation):
    """Fills a random rectangle of some of the images (Zhong et al. 2017, https://arxiv.org/abs/1708.04896)."""

    leading: ClassVar[str | None] = "factor"
    own_layer: ClassVar[bool] = True
    of_masks: ClassVar[str] = "Masks stay as they are: a network learns to tell what is hidden, as in Keras."

    factor: UnitFactor = Field(
        default=1.0,
        description="Probability of changing an image, 0 to 1, itself drawn for each image from [0, f] for a "
        "number f, or from [low, high]; [1, 1] changes every image.",
    )
    scale: UnitFactor = Field(
        default=(0.02, 0.33),
        description="The squares of the rectangle's sides as shares of the image's, 0 to 1, one drawn for each side; "
        "a number s draws from [0, s].",
    )
    fill_value: Annotated[
        float | tuple[float, float, float] | None,
        PlainValidator(_fill_value),
        WithJsonSchema({"anyOf": [_PIXEL, {"type": "null"}, list_schema(_PIXEL, 3, 3)]}),
    ] = Field(
        default=None,
        description="Pixel value of the rectangle, 0 to 255, or [red, green, blue]; null for normal noise of "
        "standard deviation 255, clipped.",
    )
    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)

    def leaves_bytes(self) -> bool:
        values = self.fill_value if isinstance(self.fill_value, tuple) else (self.fill_value,)
        return all(value in range(256) for value in values)

    def output_shape(self, input_shape: Shape, *, per_pixel: bool = False) -> Shape:
        output = super().output_shape(input_shape, per_pixel=per_pixel)
        if isinstance(self.fill_value, tuple) and input_shape[-1] != 3:
            raise ShapeError(
                f"a `fill_value` of three numbers needs images with 3 channels, but the data are "
                f"{format_shape(input_shape)}; write one number",
                "fill_value",
            )
        return output


class MixUp(Augmentation):
    """Replaces each image and its label by their weighted means with another image of the batch and its label.

    The weight is drawn for each image from Beta(alpha, alpha). Zhang et al. 2017,
    https://arxiv.org/abs/1710.09412 (there one weight per batch).
    """

    leading: ClassVar[str | None] = "alpha"
    own_layer: ClassVar[bool] = True
    mixes_labels: ClassVar[bool] = True
    of_masks: ClassVar[str] = "Refused where there are masks: class ids cannot be averaged."
    of_boxes: ClassVar[str] = "Refused where there are boxes."

    alpha: PositiveNumber = Field(
        default=0.2,
        description="Parameter of the Beta distribution, above 0; small values mix little, 1 makes all weights equally "
        "likely.",
    )

    def check_boxes(self) -> None:
        raise BoxError(
            "`MixUp` averages two images, and a box around something half there is neither one nor none; leave it out"
        )

    def for_masks(self, ignore: int | None) -> Augmentation:
        raise MaskError(
            "`MixUp` averages two images, and the class ids of their masks cannot be averaged; write `CutMix`, which "
            "pastes a part of image and mask, or leave it out"
        )


class CutMix(MovingAugmentation):
    """Pastes a random rectangle of another image of the batch into each image, and mixes the labels by area.

    The kept share is drawn for each image from Beta(a, a), with a drawn once per batch as `factor` says (as
    in Keras). Yun et al. 2019, https://arxiv.org/abs/1905.04899.
    """

    leading: ClassVar[str | None] = "factor"
    own_layer: ClassVar[bool] = True
    mixes_labels: ClassVar[bool] = True
    of_masks: ClassVar[str] = "Masks are pasted along."

    factor: UnitFactor = Field(
        default=1.0,
        description="Parameter of the Beta distribution, 0 to 1, drawn from [0, f] for a number f, or from "
        "[low, high]; [1, 1] is the paper's CIFAR setting.",
    )

    def check_boxes(self) -> None:
        raise BoxError(
            "`CutMix` pastes parts of objects, around which there are no boxes; write `RandomErasing`, which hides "
            "parts of them, or leave it out"
        )


class RandAugment(Augmentation):
    """Applies `num_ops` operations to each image, drawn from eleven.

    The operations: shear, translation, rotation, brightness, colour degeneration, contrast, sharpness,
    posterization, solarization, auto contrast, equalization, as in Keras 3.15. Each image has its own
    operations, as in the paper (Cubuk et al. 2019, https://arxiv.org/abs/1909.13719); Keras' layer draws
    them once per batch.
    """

    own_layer: ClassVar[bool] = True
    channels: ClassVar[tuple[int, ...] | None] = (1, 3)
    of_masks: ClassVar[str] = "Masks move along with shear, translation and rotation."
    of_boxes: ClassVar[str] = "Refused where there are boxes."

    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)
    num_ops: Repetitions = Field(default=2, description="Operations applied to an image, one after another.")
    factor: UnitFactor = Field(
        default=0.5,
        description="Strength of the operations, 0 to 1: the `factor` of each of them; a number f is [0, f]. "
        "0.5 rotates by up to half a turn.",
    )
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)

    def check_boxes(self) -> None:
        raise BoxError(
            "`RandAugment` shears and turns images, and a box that holds the old one is too large; write the changes "
            "of colour one by one, such as `RandomColorJitter`"
        )

    def for_masks(self, ignore: int | None) -> Augmentation:
        return RandAugmentOfMasks.model_validate({**self.keras_arguments(), "interpolation": "nearest"})


class RandAugmentOfMasks(RandAugment):
    """The operations of `RandAugment` that move pixels, drawn as there among all of them."""

    channels: ClassVar[tuple[int, ...] | None] = None


class AugMix(Augmentation):
    """Mixes each image with several chains of operations on it (Hendrycks et al. 2019,
    https://arxiv.org/abs/1912.02781).

    Operations, chain weights and the share of the original are drawn for each image, as in the paper. Keras'
    layer draws them once per batch, the operations once and for all when the data pipeline is made.
    """

    own_layer: ClassVar[bool] = True
    of_masks: ClassVar[str] = "Refused where there are masks: no mask fits copies that are moved differently."
    of_boxes: ClassVar[str] = "Refused where there are boxes."

    value_range: ValueRange = Field(default=(0, 255), description=VALUE_RANGE)
    num_chains: Repetitions = Field(default=3, description="Number of chains that are mixed.")
    chain_depth: Repetitions = Field(default=3, description="Operations in a chain; each may be drawn to do nothing.")
    factor: UnitFactor = Field(default=0.3, description="Strength of the operations, 0 to 1; a number f is [0, f].")
    alpha: PositiveNumber = Field(
        default=1.0, description="Parameter of the Beta and Dirichlet distributions of the weights, above 0."
    )
    all_ops: bool = Field(
        default=True,
        description="Whether brightness, colour degeneration, contrast and sharpness are among the operations.",
    )
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)

    def allowed_channels(self) -> tuple[int, ...] | None:
        return (1, 3) if self.all_ops else None

    def check_boxes(self) -> None:
        raise BoxError(
            "`AugMix` averages copies of an image that are moved differently, and no box fits them all; leave it out"
        )

    def for_masks(self, ignore: int | None) -> Augmentation:
        raise MaskError(
            "`AugMix` averages copies of an image that are moved differently, and no mask fits them all; write "
            "`RandAugment`, or leave it out"
        )
