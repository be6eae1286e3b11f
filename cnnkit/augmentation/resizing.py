"""Training images that are small at first and grow from epoch to epoch."""

import math
from itertools import accumulate, pairwise
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.augmentation.base import Augmentation, BoxError, MaskError
from cnnkit.format.base import StrictModel, invalid
from cnnkit.format.fields import Pair, PositiveInteger
from cnnkit.format.shapes import Shape, ShapeError, format_shape


class SmallerSize(StrictModel):
    """Epochs whose images have one size."""

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("epochs", "share"),)

    size: Pair = Field(description="Of the images, in pixels: one number, or [height, width].")
    epochs: PositiveInteger | None = Field(default=None, description="How many epochs have it.")
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="In place of `epochs`: which share of all epochs has it, above 0 and below 1."
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is None and self.share is None:
            raise invalid("needs `epochs:`, how many have that size, or `share:`, which part of all, such as 0.25")
        if self.epochs is not None and self.share is not None:
            raise invalid("has both `epochs` and `share`; keep one of them")
        return self


class ProgressiveResizing(Augmentation):
    """Trains on smaller images first, which cost less, and on whole ones in the epochs that are left.

    `ProgressiveResizing: [{size: 20, epochs: 4}, {size: 26, epochs: 3}]` trains four epochs on images of 20x20 pixels,
    three on images of 26x26, and the rest on images as they are. `{size: 20, share: 0.4}` is four of ten epochs, two of
    five and none of one: a share takes whole epochs, and the last epoch has whole images. A smaller image's pixel is
    the mean of the area that it covers. Validation and test images keep their size, so the network has to take images
    of any: a global pooling in front of its `Dense` layers, not a `Flatten`. It comes last in the list. (Howard 2018,
    fast.ai's entry to DAWNBench; Tan and Le 2021, https://arxiv.org/abs/2104.00298, section 4.)
    """

    leading: ClassVar[str | None] = "sizes"
    random: ClassVar[bool] = False
    own_layer: ClassVar[bool] = True
    of_masks: ClassVar[str] = "Refused where there are masks, in favour of crops."
    of_boxes: ClassVar[str] = "Refused where there are boxes."
    resized_to: ClassVar[str] = "images of"
    to_keep_size: ClassVar[str] = "leave it out"

    sizes: Annotated[list[SmallerSize], Field(min_length=1)] = Field(
        description="In order, sizes below that of the data and how many epochs have each: `{size: 20, epochs: 4}`, "
        "`{size: [height, width], epochs: 4}`, or as a share of all, `{size: 20, share: 0.25}`."
    )

    @model_validator(mode="after")
    def _one_kind_of_length(self) -> Self:
        if len({part.share is None for part in self.sizes}) > 1:
            raise invalid("has `epochs` for one size and `share` for another; write the same for all")
        shares = [part.share for part in self.sizes if part.share is not None]
        if sum(shares) >= 1:
            raise invalid(
                f"the shares of the smaller sizes come to {sum(shares):g}; expected less than 1, since what is left "
                "has whole images"
            )
        return self

    @property
    def least_epochs(self) -> int:
        return sum(part.epochs or 0 for part in self.sizes) + 1

    def over(self, epochs: int) -> Augmentation | None:
        if self.sizes[0].share is None:
            return self
        shares = accumulate(part.share or 0.0 for part in self.sizes)
        # 0.1 + 0.2 of ten epochs are three.
        ends = [min(math.floor(share * epochs + 1e-6), epochs - 1) for share in shares]
        sizes = [
            part.model_copy(update={"epochs": end - start, "share": None})
            for part, (start, end) in zip(self.sizes, pairwise([0, *ends]), strict=True)
            if end > start
        ]
        return self.model_copy(update={"sizes": sizes}) if sizes else None

    def shapes(self, input_shape: Shape) -> tuple[Shape, ...]:
        return (*((*part.size, *input_shape[2:]) for part in self.sizes), input_shape)

    def output_shape(self, input_shape: Shape, *, per_pixel: bool = False) -> Shape:
        output = super().output_shape(input_shape, per_pixel=per_pixel)
        for place, part in enumerate(self.sizes):
            if part.size == output[:2] or part.size[0] > output[0] or part.size[1] > output[1]:
                raise ShapeError(
                    f"expected a size below {format_shape(output[:2])}, that of the images, which the epochs after "
                    f"these have, got {format_shape(part.size)}",
                    ("sizes", place, "size"),
                )
        return output

    def for_masks(self, ignore: int | None) -> Augmentation:
        raise MaskError(
            "`ProgressiveResizing` would shrink the mask, of which every pixel is to be learned; train on crops, such "
            "as `RandomCrop: {height: 64, width: 64}`, or leave it out"
        )

    def check_boxes(self) -> None:
        raise BoxError(
            "`ProgressiveResizing` would shrink the map in which objects are marked; write a smaller "
            "`data.image_size`, or leave it out"
        )

    def keras_arguments(self) -> dict[str, Any]:
        return {"sizes": [part.size for part in self.sizes], "epochs": [part.epochs for part in self.sizes]}
