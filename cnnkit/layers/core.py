"""Dense and the layers that only reshape."""

import math
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import MOST_AXES, DataFormat, Dimension, is_whole, list_schema, whole_schema
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.activated import with_function
from cnnkit.layers.base import MOST_VALUES, Layer, Names, ShapeLayer, Weight
from cnnkit.layers.geometry import channels_last
from cnnkit.layers.initializers import GLOROT_UNIFORM, ZEROS
from cnnkit.layers.weights import (
    ACTIVATION_OF_OUTPUT,
    ActivationField,
    ConstraintField,
    InitializerField,
    RegularizerField,
    check_weight_objects,
)
from cnnkit.layers.window import DATA_FORMAT


class Dense(Layer):
    """Connects every input to every unit: N inputs, K units, K(N + 1) parameters, the 1 being the bias.

    Acts on the last axis; an image is flattened first (`Flatten`).
    """

    leading: ClassVar[str | None] = "units"

    units: Dimension = Field(description="Number of outputs: a whole number from 1, or `classes`.")
    activation: ActivationField | None = Field(default=None, description=ACTIVATION_OF_OUTPUT)
    use_bias: bool = Field(default=True, description="Whether each unit adds a bias.")
    kernel_initializer: InitializerField = Field(default=GLOROT_UNIFORM, description="How the kernel starts.")
    bias_initializer: InitializerField = Field(default=ZEROS, description="How the bias starts.")
    kernel_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the kernel.")
    bias_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the bias.")
    activity_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the output.")
    kernel_constraint: ConstraintField | None = Field(default=None, description="Constraint on the kernel.")
    bias_constraint: ConstraintField | None = Field(default=None, description="Constraint on the bias.")

    @model_validator(mode="after")
    def _weight_objects(self) -> Self:
        check_weight_objects(self, {"kernel": 2, "bias": 1})
        return self

    def output_shape(self, input_shape: Shape) -> Shape:
        problem = self.activity_regularizer and self.activity_regularizer.misfit(len(input_shape) + 1)
        if problem:
            raise ShapeError(problem, argument="activity_regularizer")
        return (*input_shape[:-1], int(self.units))

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        kernel = Weight("kernel", (input_shape[-1], int(self.units)))
        return (kernel, Weight("bias", (int(self.units),))) if self.use_bias else (kernel,)

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        return with_function(super().resolve(names, input_shape), names, input_shape)

    def macs(self, input_shape: Shape) -> int:
        """N K, once per position of the other axes; the bias is not counted."""
        return math.prod(input_shape) * int(self.units)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return axis == len(input_shape) - 1

    @property
    def output_activation(self) -> str | None:
        return None if self.activation == "linear" else self.activation


class Flatten(ShapeLayer):
    """All values of an image as one vector."""

    leading: ClassVar[str | None] = "data_format"

    data_format: DataFormat | None = Field(
        default=None,
        description=f"{DATA_FORMAT} channels_first is turned to channels_last before flattening.",
    )

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return len(input_shape) > 1

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        return None if len(input_shape) > 1 else axis


def _target_shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, list | tuple) and 0 < len(value) <= MOST_AXES and all(map(_is_size, value)):
        if list(value).count(-1) > 1:
            raise invalid(f"at most one size may be -1, got {describe(value)}")
        return tuple(value)
    raise invalid(
        f"expected a list of at most {MOST_AXES} sizes from 1 to {MOST_VALUES:,}, one of which may be -1 (what "
        f"remains), got {describe(value)}"
    )


def _is_size(value: Any) -> bool:
    return is_whole(value, -1, MOST_VALUES) and value != 0


class Reshape(ShapeLayer):
    """The same values in another shape."""

    leading: ClassVar[str | None] = "target_shape"

    target_shape: Annotated[
        tuple[int, ...],
        PlainValidator(_target_shape),
        WithJsonSchema(list_schema({"anyOf": [whole_schema(1, MOST_VALUES), {"const": -1}]}, 1, MOST_AXES)),
    ] = Field(description="The new shape without the batch axis; one size may be -1, what remains.")

    def output_shape(self, input_shape: Shape) -> Shape:
        total, known = math.prod(input_shape), math.prod(size for size in self.target_shape if size != -1)
        fits = total % known == 0 if -1 in self.target_shape else total == known
        if not fits:
            raise ShapeError(
                f"{format_shape(self.target_shape)} does not hold the {total} values this layer receives "
                f"(here: {format_shape(input_shape)})",
                argument="target_shape",
            )
        return tuple(total // known if size == -1 else size for size in self.target_shape)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return self.carries(axis, input_shape) is None

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        # An axis stays one where as many values lie before and after it as did.
        target, before = self.output_shape(input_shape), math.prod(input_shape[:axis])
        carried = (
            place
            for place, size in enumerate(target)
            if size == input_shape[axis] and math.prod(target[:place]) == before
        )
        return next(carried, None)

    def output_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        return channels_last(len(self.target_shape))


def _dims(value: Any) -> tuple[int, ...]:
    whole = isinstance(value, list | tuple) and bool(value) and all(is_whole(v, 1, MOST_AXES) for v in value)
    if whole and sorted(value) == list(range(1, len(value) + 1)):
        return tuple(value)
    raise invalid(
        "expected a list that holds each axis once, counted from 1 without the batch axis, such as "
        f"[2, 1, 3], got {describe(value)}"
    )


class Permute(ShapeLayer):
    """The axes in another order: [3, 1, 2] turns channels_last into channels_first."""

    leading: ClassVar[str | None] = "dims"

    dims: Annotated[
        tuple[int, ...],
        PlainValidator(_dims),
        WithJsonSchema(list_schema(whole_schema(1, MOST_AXES), 1, MOST_AXES)),
    ] = Field(description="For each axis of the output, the input's axis, counted from 1 without the batch axis.")

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(self.dims) != len(input_shape):
            raise ShapeError(
                f"`dims` orders {len(self.dims)} axes, but the input this layer receives has "
                f"{len(input_shape)} (here: {format_shape(input_shape)})",
                argument="dims",
            )
        return tuple(input_shape[dim - 1] for dim in self.dims)

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        return self.dims.index(axis + 1)

    def output_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(order[dim - 1] for dim in self.dims) if len(self.dims) == len(order) else order
