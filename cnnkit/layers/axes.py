"""Axes of a layer's input, as Keras counts them: 0 the batch, 1 the first axis of an image, -1 the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import MOST_AXES, is_whole, list_schema, whole_schema
from cnnkit.format.shapes import Shape, ShapeError, format_shape

_BATCH = "axis 0 is the batch, so that an image's result would depend on the images beside it; axes count from 1"


def check_axis(value: Any) -> int:
    """The validator of one axis of a layer's input."""
    if not is_whole(value, -MOST_AXES, MOST_AXES):
        raise invalid(
            f"expected an axis (a whole number from 1 to {MOST_AXES}, or from the end: -1), got {describe(value)}"
        )
    if value == 0:
        raise invalid(_BATCH)
    return int(value)


def _axes(value: Any) -> int | list[int]:
    if is_whole(value):
        return check_axis(value)
    if not isinstance(value, list | tuple) or not value:
        raise invalid(f"expected an axis (1, 2, ... or -1) or a list of axes, got {describe(value)}")
    axes = [check_axis(item) for item in value]
    if len(set(axes)) != len(axes):
        raise invalid(f"an axis is named twice in {describe(value)}")
    return axes


#: The JSON Schema of one axis.
AXIS_SCHEMA = whole_schema(-MOST_AXES, MOST_AXES) | {"not": {"const": 0}}

#: One axis of the input.
AxisField = Annotated[int, PlainValidator(check_axis), WithJsonSchema(AXIS_SCHEMA)]

#: One axis of the input, or several.
AxesField = Annotated[
    int | list[int],
    PlainValidator(_axes),
    WithJsonSchema({"anyOf": [AXIS_SCHEMA, list_schema(AXIS_SCHEMA)]}),
]


def as_list(axes: int | Sequence[int]) -> list[int]:
    return [axes] if isinstance(axes, int) else list(axes)


def positions(axes: int | Sequence[int], input_shape: Shape, argument: str = "axis") -> tuple[int, ...]:
    """Where the axes lie in a shape without the batch axis, in the order given.

    Raises:
        ShapeError: if an axis is outside the shape, or two are the same.
    """
    rank = len(input_shape)
    resolved = []
    for axis in as_list(axes):
        position = axis - 1 if axis > 0 else rank + axis
        if not 0 <= position < rank:
            raise ShapeError(
                f"axis {axis} is outside the input this layer receives, whose axes are 1..{rank} "
                f"(here: {format_shape(input_shape)})",
                argument=argument,
            )
        if position in resolved:
            raise ShapeError(
                f"two of the axes {as_list(axes)} are the same one of the input's {rank}", argument=argument
            )
        resolved.append(position)
    return tuple(resolved)


def covers(axes: int | Sequence[int], axis: int, input_shape: Shape) -> bool:
    """Whether an axis of a shape without the batch axis, counted from 0, is among the axes."""
    return axis in positions(axes, input_shape)
