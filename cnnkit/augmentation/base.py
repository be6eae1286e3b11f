"""What every augmentation knows about itself without TensorFlow, and the field types that they share."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from cnnkit.format.base import NamedObject, describe, invalid
from cnnkit.format.fields import NUMBER_SCHEMA, is_number, is_whole, list_schema
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape


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

    def output_shape(self, input_shape: Shape) -> Shape:
        """The images' shape (height, width, channels), which an augmentation never changes.

        Raises:
            ShapeError: if the layer cannot take `input_shape`, or would change it.
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
        return input_shape

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
