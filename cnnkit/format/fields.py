"""Types of fields that the sections and the named objects of the format share, with the bounds of their numbers."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema
from pydantic.functional_validators import AfterValidator, PlainValidator

from cnnkit.format.base import describe, invalid

#: What is counted (filters, units, images of a batch, epochs) is no more than this: far beyond any network.
LARGEST_COUNT = 1_000_000
#: Rows or columns of an image, of a window, of padding. A JPEG file has 65,535 at most.
LARGEST_SIDE = 65_536
#: Optimizer updates.
LARGEST_STEPS = 1_000_000_000
#: What would be repeated, as operations of an augmentation are, without end.
MOST_REPEATED = 100
#: Numbers that are not whole; float32 ends at 3.4e38.
LARGEST_NUMBER = 1e30
#: Axes of a tensor without the batch, of which TensorFlow's operations take few.
MOST_AXES = 8


def is_whole(value: Any, low: int | None = None, high: int | None = None) -> bool:
    """Whether a value is a whole number, between two bounds (both included) where they are given."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return (low is None or low <= value) and (high is None or value <= high)


def is_number(value: Any) -> bool:
    """Whether a value is a number that the format takes anywhere: finite, and no larger than LARGEST_NUMBER."""
    return (isinstance(value, float) or is_whole(value)) and abs(value) <= LARGEST_NUMBER


def whole_schema(low: int, high: int) -> dict[str, Any]:
    """The JSON Schema of a whole number between two bounds, both included."""
    return {"type": "integer", "minimum": low, "maximum": high}


def list_schema(item: Mapping[str, Any], fewest: int = 1, most: int | None = None) -> dict[str, Any]:
    """The JSON Schema of a list."""
    return {"type": "array", "items": item, "minItems": fewest, **({"maxItems": most} if most is not None else {})}


#: The JSON Schema of what `is_number` takes.
NUMBER_SCHEMA = {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER}


#: What the sizes along so many spatial axes are called, in order.
AXES_NAMES = {1: "[length]", 2: "[height, width]", 3: "[depth, height, width]"}
COUNTS = {1: "one", 2: "two", 3: "three"}


def not_blank(value: str) -> str:
    """A name, or the path of a file; with nothing but blanks it is neither."""
    if value.strip():
        return value
    raise invalid(f"expected a name, got {describe(value)}")


#: What a name is in a JSON Schema.
NAME_SCHEMA = {"type": "string", "minLength": 1}

#: Text that is not empty.
Text = Annotated[str, AfterValidator(not_blank), WithJsonSchema(NAME_SCHEMA)]


def _sizes(axes: int) -> Callable[[Any], tuple[int, ...]]:
    """The validator of a size from 1 for each of so many axes, where one number stands for all."""

    def check(value: Any) -> tuple[int, ...]:
        items = [value] * axes if is_whole(value) else value
        fits = isinstance(items, list | tuple) and len(items) == axes
        if fits and all(is_whole(one, 1, LARGEST_SIDE) for one in items):
            return tuple(items)
        hint = ""
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            hint = "; remove the quotes"
        elif isinstance(value, str) and "," in value and axes > 1:
            hint = f"; write a list: [{value.strip('() ')}]"
        alternative = f", or a list {AXES_NAMES[axes]} of {COUNTS[axes]}" if axes > 1 else ""
        raise invalid(f"expected a whole number from 1 to {LARGEST_SIDE:,}{alternative}, got {describe(value)}{hint}")

    return check


_SIDE_SCHEMA = whole_schema(1, LARGEST_SIDE)


def _sizes_schema(axes: int) -> WithJsonSchema:
    if axes == 1:
        return WithJsonSchema(_SIDE_SCHEMA)
    return WithJsonSchema({"anyOf": [_SIDE_SCHEMA, list_schema(_SIDE_SCHEMA, axes, axes)]})


#: One whole number for both axes, or [height, width]; held as (height, width).
Pair = Annotated[tuple[int, int], PlainValidator(_sizes(2)), _sizes_schema(2)]
#: The same for a layer whose kin have other numbers of axes.
Sizes2D = Annotated[tuple[int, ...], PlainValidator(_sizes(2)), _sizes_schema(2)]
#: A whole number; held as (length,).
Sizes1D = Annotated[tuple[int, ...], PlainValidator(_sizes(1)), _sizes_schema(1)]
#: One whole number for all axes, or [depth, height, width]; held as (depth, height, width).
Sizes3D = Annotated[tuple[int, ...], PlainValidator(_sizes(3)), _sizes_schema(3)]


#: The names for numbers that the data set gives, which layers may have in the place of a number.
DATA_NAMES = ("classes", "targets", "image_channels", "words")
#: Those of them that are numbers of outputs.
_OUTPUT_NAMES = ("classes", "targets", "image_channels")


def _dimension(value: Any) -> int | str:
    if isinstance(value, str) and value in _OUTPUT_NAMES:
        return value
    if is_whole(value, 1, LARGEST_COUNT):
        return int(value)
    hint = "; remove the quotes" if isinstance(value, str) and value.strip().isdigit() else ""
    raise invalid(
        f"expected a whole number from 1 to {LARGEST_COUNT:,}, or `classes` (the data set's number of classes), "
        f"got {describe(value)}{hint}"
    )


#: A number of units or filters: a whole number, `classes` or `targets`.
Dimension = Annotated[
    int | Literal["classes", "targets", "image_channels"],
    PlainValidator(_dimension),
    WithJsonSchema({"anyOf": [whole_schema(1, LARGEST_COUNT), {"enum": list(_OUTPUT_NAMES)}]}),
]


def _vocabulary_size(value: Any) -> Any:
    if value == "words" or is_whole(value, 1, LARGEST_COUNT):
        return value
    hint = "; remove the quotes" if isinstance(value, str) and value.strip().isdigit() else ""
    raise invalid(
        f"expected a whole number from 1 to {LARGEST_COUNT:,}, or `words` (the size of the data set's vocabulary), "
        f"got {describe(value)}{hint}"
    )


#: How many ids there are: a whole number, or `words`.
VocabularySize = Annotated[
    int | Literal["words"],
    PlainValidator(_vocabulary_size),
    WithJsonSchema({"anyOf": [whole_schema(1, LARGEST_COUNT), {"const": "words"}]}),
]

PositiveInteger = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
NonNegativeInteger = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
#: Rows or columns.
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
#: Optimizer updates, or batches.
Steps = Annotated[int, Field(ge=1, le=LARGEST_STEPS)]
#: Epochs as a number that need not be whole.
Epochs = Annotated[float, Field(gt=0, le=LARGEST_COUNT)]
#: How often something is repeated inside one operation.
Repetitions = Annotated[int, Field(ge=1, le=MOST_REPEATED)]
Number = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
PositiveNumber = Annotated[float, Field(gt=0, le=LARGEST_NUMBER)]
NonNegativeNumber = Annotated[float, Field(ge=0, le=LARGEST_NUMBER)]
#: An axis of a weight or a tensor, counted from the end where negative.
Axis = Annotated[int, Field(ge=-MOST_AXES, le=MOST_AXES)]
#: A share or a rate that may not reach 1.
Rate = Annotated[float, Field(ge=0, lt=1)]
#: A share or a factor from 0 to 1, both included.
Fraction = Annotated[float, Field(ge=0, le=1)]
#: A threshold of probabilities: at 0 or 1, everything or nothing would lie above it.
Threshold = Annotated[float, Field(gt=0, lt=1)]


def _class_axis(value: Any) -> int:
    if is_whole(value) and value in (-1, 1):
        return int(value)
    raise invalid(f"expected -1 or 1, the axis of the classes in [batch, classes], got {describe(value)}")


#: The axis of the classes where losses and metrics see outputs of shape [batch, classes].
ClassAxis = Annotated[int, PlainValidator(_class_axis), WithJsonSchema({"enum": [-1, 1]})]
DataFormat = Literal["channels_last", "channels_first"]
DtypeName = Literal["float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"]
