"""Training images that are small at first and grow from epoch to epoch."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from cnnkit.augmentation.base import Augmentation, BoxError, MaskError
from cnnkit.format.base import StrictModel
from cnnkit.format.fields import Pair, PositiveInteger
from cnnkit.format.shapes import Shape, ShapeError, format_shape


class SmallerSize(StrictModel):
    """Epochs whose images have one size."""

    size: Pair = Field(description="Of the images, in pixels: one number, or [height, width].")
    epochs: PositiveInteger = Field(description="How many epochs have it.")


class ProgressiveResizing(Augmentation):
    """Trains on smaller images first, which cost less, and on whole ones in the epochs that are left.

    `ProgressiveResizing: [{size: 20, epochs: 4}, {size: 26, epochs: 3}]` trains four epochs on images of 20x20 pixels,
    three on images of 26x26, and the rest on images as they are. A smaller image's pixel is the mean of the area that
    it covers. Validation and test images keep their size, so the network has to take images of any: a global pooling
    in front of its `Dense` layers, not a `Flatten`. It comes last in the list. (Howard 2018, fast.ai's entry to
    DAWNBench; Tan and Le 2021, https://arxiv.org/abs/2104.00298, section 4.)
    """

    leading: ClassVar[str | None] = "sizes"
    random: ClassVar[bool] = False
    own_layer: ClassVar[bool] = True
    of_masks: ClassVar[str] = "Refused where there are masks, in favour of crops."
    of_boxes: ClassVar[str] = "Refused where there are boxes."
    resized_to: ClassVar[str] = "images of"
    to_keep_size: ClassVar[str] = "leave it out"

    sizes: Annotated[list[SmallerSize], Field(min_length=1)] = Field(
        description="In order, sizes below that of the data and how many epochs have each: `{size: 20, epochs: 4}`, or "
        "`{size: [height, width], epochs: 4}`."
    )

    @property
    def least_epochs(self) -> int:
        return sum(part.epochs for part in self.sizes) + 1

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
