"""What every augmentation knows about itself without TensorFlow, and the field types that they share."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from cnnkit.format.base import NamedObject, describe, invalid
from cnnkit.format.fields import NUMBER_SCHEMA, is_number, is_whole, list_schema
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape


class TargetError(ValueError):
    """An augmentation cannot do to what comes with images what it does to them.

    Args:
        message: Why, and what to write instead.
        argument: The argument to blame, where there is one.
    """

    def __init__(self, message: str, argument: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument


class MaskError(TargetError):
    """It cannot do to masks what it does to their images."""


class BoxError(TargetError):
    """It cannot do to boxes what it does to their images."""


class Augmentation(NamedObject):
    """One entry of `augmentation`: a Keras image layer's arguments, with Keras' names and defaults.

    A subclass is named as its Keras layer. Keras' `seed` comes from the run, `data_format` is always
    `channels_last` (which is what the data pipeline holds), and the arithmetic is always float32.
    """

    #: Whether the layer draws anything; a deterministic one changes every image by the same rule.
    random: ClassVar[bool] = True
    #: Whether the layer mixes the labels of two images along with the images.
    mixes_labels: ClassVar[bool] = False
    #: Whether `keras_layers` has a version that draws per image, where Keras' own draws once per batch.
    own_layer: ClassVar[bool] = False
    #: The numbers of channels that the layer can take; None for any.
    channels: ClassVar[tuple[int, ...] | None] = None
    #: What happens to the masks of images, for the reference.
    of_masks: ClassVar[str] = "Masks stay as they are."
    #: What happens to boxes, likewise.
    of_boxes: ClassVar[str] = "Boxes stay as they are."
    #: How messages begin to name a size that it gives images, and what to write to keep theirs.
    resized_to: ClassVar[str] = "crops of"
    to_keep_size: ClassVar[str] = "leave out `height` and `width`"
    #: The function of `box_layers` that moves boxes with their images; None where they stay as they are.
    box_mover: ClassVar[str | None] = None

    def for_masks(self, ignore: int | None) -> "Augmentation | None":
        """What moves masks as this moves their images, given the same draws; None where masks stay as they are.

        It takes masks as images of one channel, and gives class ids of theirs, or `ignore`.

        Args:
            ignore: The class id of pixels that do not count, 0 to 255, which fills what comes from outside an image;
                None where every id is a class.

        Raises:
            MaskError: if nothing could do so.
        """
        return None

    def check_boxes(self) -> None:
        """Holds it against boxes around objects.

        Raises:
            BoxError: if nothing keeps boxes as tight as they were.
        """

    def resized(self, input_shape: Shape) -> Shape:
        """The shape of images (height, width, channels) of a given shape afterwards, in the last epoch."""
        return input_shape

    def shapes(self, input_shape: Shape) -> tuple[Shape, ...]:
        """The shapes that they have in the course of a training, no epoch's larger than the last one's."""
        return (self.resized(input_shape),)

    @property
    def least_epochs(self) -> int:
        """The epochs that a training with it has at least."""
        return 1

    def over(self, epochs: int) -> "Augmentation | None":
        """The same for a training of so many epochs, where something in it is a share of them; None if none is left."""
        return self

    def output_shape(self, input_shape: Shape, *, per_pixel: bool = False) -> Shape:
        """The same, where the layer can take such images.

        Args:
            per_pixel: Whether there is something to be learned of every pixel, such as its class. A network may then
                be trained on parts of images and evaluated on whole ones; otherwise all images have one size.

        Raises:
            ShapeError: if the layer cannot take `input_shape`, or would change it and may not.
        """
        if len(input_shape) != 3:
            raise ShapeError(
                f"`{type(self).__name__}` needs images (height, width, channels), "
                f"but the data are {format_shape(input_shape)}"
            )
        allowed = self.allowed_channels()
        if allowed is not None and input_shape[-1] not in allowed:
            expected = " or ".join(str(count) for count in allowed)
            raise ShapeError(
                f"`{type(self).__name__}` needs images with {expected} channels, but the data have "
                f"{input_shape[-1]} (here: {format_shape(input_shape)}); leave it out"
            )
        output = self.resized(input_shape)
        if output != input_shape and not per_pixel:
            raise ShapeError(
                f"a crop to {format_shape(output[:2])} would change the images, which are "
                f"{format_shape(input_shape)}, and validation images are never cropped; "
                "resize all images with `data.image_size`, or leave out `height` and `width` and write "
                "`padding`",
                "height" if output[0] != input_shape[0] else "width",
            )
        return output

    def allowed_channels(self) -> tuple[int, ...] | None:
        """The numbers of channels that the layer, with these arguments, can take; None for any."""
        return self.channels

    def leaves_bytes(self) -> bool:
        """Whether the layer, with these arguments, moves or replaces pixels only, so that uint8 images stay uint8."""
        return False

    def keras_arguments(self) -> dict[str, Any]:
        """The constructor arguments of the Keras layer."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def call(self) -> Call:
        """What a plain Keras script writes; a class that Keras lacks is one of `keras_layers`."""
        kind = type(self).__name__
        if self.own_layer:
            # Ours have no defaults of their own.
            values = {**self.keras_arguments(), "data_format": "channels_last"}
            return Call(kind, tuple(Argument(name, value) for name, value in values.items()))
        written = tuple(Argument(name, getattr(self, name)) for name in self.arguments())
        return Call(f"layers.{kind}", written, self.leading)

    def build(self) -> Any:
        """The Keras layer, in float32 whatever the run's dtype policy is."""
        import keras

        from cnnkit.augmentation import keras_layers

        module: Any = keras_layers if self.own_layer else keras.layers
        cls = getattr(module, type(self).__name__)
        return cls(**self.keras_arguments(), data_format="channels_last", dtype="float32")


def shapes_in_training(augmentations: Iterable[Augmentation], shape: Shape) -> tuple[Shape, ...]:
    """The shapes that images (height, width, channels) have in the course of a training, the last epoch's last."""
    shapes: tuple[Shape, ...] = (shape,)
    for augmentation in augmentations:
        shapes = tuple(dict.fromkeys(changed for one in shapes for changed in augmentation.shapes(one)))
    return shapes


class MovingAugmentation(Augmentation):
    """One that moves pixels: a mask goes through the same layer, where no class ids are blended."""

    of_masks: ClassVar[str] = "Masks move along."
    of_boxes: ClassVar[str] = "Refused where there are boxes."

    def check_boxes(self) -> None:
        raise BoxError(
            f"`{type(self).__name__}` moves objects such that no box around them is known: a box that holds the old "
            "one is too large; write `RandomFlip`, `RandomCrop`, `RandomTranslation` or `RandomZoom`, or leave it out"
        )

    def for_masks(self, ignore: int | None) -> Augmentation:
        if ignore is None:
            self.check_filling()
        exact: dict[str, Any] = {"interpolation": "nearest", "value_range": (0, 255)}
        if ignore is not None:
            exact["fill_value"] = float(ignore)
        return self.model_copy(update={name: value for name, value in exact.items() if name in type(self).model_fields})

    def check_filling(self) -> None:
        """Holds it against masks without an ignored class id.

        Raises:
            MaskError: if it fills what comes from outside an image with one value.
        """
        if getattr(self, "fill_mode", None) == "constant":
            raise MaskError(
                "`fill_mode: constant` moves pixels of no class into the mask, and no class id is ignored; write "
                "`fill_mode: reflect`, which repeats image and mask, or name an ignored id with `data.ignore: 255`",
                "fill_mode",
            )


class ShiftingAugmentation(MovingAugmentation):
    """One that keeps the axes of images: the boxes around objects stay boxes."""

    of_boxes: ClassVar[str] = (
        "Boxes move along, cut off at the image's edges; of what has less than a quarter of its area left, nothing is "
        "learned. `fill_mode` has to be `constant`, or objects would be mirrored into the border, without boxes."
    )

    def check_boxes(self) -> None:
        mode = getattr(self, "fill_mode", "constant")
        if mode != "constant":
            raise BoxError(
                f"`fill_mode: {mode}` fills the border with parts of objects, around which there are no boxes; write "
                "`fill_mode: constant`",
                "fill_mode" if "fill_mode" in self.model_fields_set else None,
            )


def _interval(low: float, high: float, *, above: bool = False, whole: bool = False) -> Callable[[Any], Any]:
    """A validator of a number or [low, high] between two bounds.

    Args:
        above: Whether the lower bound itself is excluded.
        whole: Whether only whole numbers are valid.
    """
    is_valid = is_whole if whole else is_number

    def inside(value: Any) -> bool:
        return is_valid(value) and (low < value if above else low <= value) and value <= high

    def validate(value: Any) -> Any:
        if inside(value):
            return value
        if isinstance(value, list | tuple) and len(value) == 2 and all(inside(item) for item in value):
            if value[0] <= value[1]:
                return (value[0], value[1])
            raise invalid(f"expected [low, high] with the lower bound first, got {describe(value)}")
        bounds = f"{'above' if above else 'from'} {low:g} {'and up to' if above else 'to'} {high:g}"
        kind = "whole number" if whole else "number"
        raise invalid(f"expected a {kind} {bounds}, or a list [low, high] of two, got {describe(value)}")

    return validate


def _interval_schema(low: float, high: float, *, above: bool = False, whole: bool = False) -> dict[str, Any]:
    item = {
        "type": "integer" if whole else "number",
        "exclusiveMinimum" if above else "minimum": low,
        "maximum": high,
    }
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 2, "maxItems": 2}]}


def _value_range(value: Any) -> tuple[float, float]:
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(is_number(item) for item in value)
    if is_pair and value[0] < value[1]:
        return (value[0], value[1])
    raise invalid(f"expected a list [low, high] of two numbers, the lower one first, got {describe(value)}")


#: A number from 0 to 1, or [low, high].
UnitFactor = Annotated[
    float | tuple[float, float], PlainValidator(_interval(0, 1)), WithJsonSchema(_interval_schema(0, 1))
]
#: A number from -1 to 1, or [low, high].
SignedFactor = Annotated[
    float | tuple[float, float], PlainValidator(_interval(-1, 1)), WithJsonSchema(_interval_schema(-1, 1))
]
#: A number above -1 and up to 1, or [low, high].
ZoomFactor = Annotated[
    float | tuple[float, float],
    PlainValidator(_interval(-1, 1, above=True)),
    WithJsonSchema(_interval_schema(-1, 1, above=True)),
]
#: A whole number of bits from 1 to 8, or [low, high].
BitsFactor = Annotated[
    int | tuple[int, int],
    PlainValidator(_interval(1, 8, whole=True)),
    WithJsonSchema(_interval_schema(1, 8, whole=True)),
]
#: [low, high] of the pixel values.
ValueRange = Annotated[
    tuple[float, float],
    PlainValidator(_value_range),
    WithJsonSchema(list_schema(NUMBER_SCHEMA, 2, 2)),
]
#: The value of a pixel.
Pixel = Annotated[float, Field(ge=0, le=255)]
FillMode = Literal["reflect", "wrap", "constant", "nearest"]
Interpolation = Literal["nearest", "bilinear"]

VALUE_RANGE = "[low, high] of the pixel values; images are 0 to 255 here. Results are clipped to it."
FILL_MODE = (
    "What fills the points outside the image: `reflect` (d c b a | a b c d | d c b a), `wrap` "
    "(a b c d | a b c d), `constant` (`fill_value`) or `nearest` (a a a a | a b c d | d d d d)."
)
FILL_VALUE = "Pixel value, 0 to 255, outside the image where `fill_mode` is `constant`."
INTERPOLATION = "How pixels between pixels are found: `bilinear` or `nearest`."
