"""The activation layers. All keep the shape, except Maxout."""

from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from cnnkit.format.fields import Dimension, NonNegativeNumber, Number
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.axes import AxesField, as_list, covers, positions
from cnnkit.layers.base import Layer, Scope, Weight
from cnnkit.layers.initializers import ZEROS
from cnnkit.layers.submodel import functional
from cnnkit.layers.weights import (
    ACTIVATION_FUNCTIONS,
    ActivationField,
    ConstraintField,
    InitializerField,
    RegularizerField,
)
from cnnkit.layers.window import compute_dtype

#: Activations that do not look at each value by itself.
_OVER_THE_LAST_AXIS = ("softmax", "log_softmax", "sparsemax")


def _with_functions(schema: dict[str, Any]) -> None:
    """For the JSON Schema of Activation: a function in the place of its arguments."""
    names = ACTIVATION_FUNCTIONS.names()
    schema["properties"] |= {name: {} for name in names}
    del schema["required"]
    schema["anyOf"] = [{"required": [name]} for name in ("activation", *names)]


class Activation(Layer):
    """Applies an activation by Keras' name, or one with arguments: `Activation: {gelu: {approximate: true}}`.

    `glu` halves the channels. Functions with arguments, each as in `keras.activations`: celu and elu (alpha), gelu
    (approximate), hard_shrink and soft_shrink (threshold), leaky_relu (negative_slope), glu, softmax and log_softmax
    (axis), relu (negative_slope, max_value, threshold), squareplus (b), threshold (threshold, default_value).
    """

    model_config = ConfigDict(json_schema_extra=_with_functions)
    leading: ClassVar[str | None] = "activation"
    example: ClassVar[str] = """\
- Activation: hard_swish
- Activation: {gelu: {approximate: true}}
- Conv2D: {filters: $channels * 2, kernel_size: 1}
- Activation: glu
"""

    activation: ActivationField = Field(
        description="The activation's name, such as `relu`, or a function with its arguments."
    )

    @model_validator(mode="before")
    @classmethod
    def _function(cls, data: Any) -> Any:
        """A function in the place of the layer's arguments is the leading one."""
        if isinstance(data, dict) and len(data) == 1 and next(iter(data)) in ACTIVATION_FUNCTIONS.names():
            return {"activation": data}
        return data

    @property
    def _named(self) -> str:
        return self.activation if isinstance(self.activation, str) else str(self.activation.name)

    @property
    def _axis(self) -> int | None:
        """The axis along which values depend on each other; None where each value is by itself."""
        if isinstance(self.activation, str):
            return -1 if self.activation in _OVER_THE_LAST_AXIS else None
        return self.activation.axis if self.activation.over_axis else None

    def output_shape(self, input_shape: Shape) -> Shape:
        if self._axis is None:
            return input_shape
        (place,) = positions(self._axis, input_shape, "activation")
        if self._named != "glu":
            return input_shape
        if input_shape[place] % 2:
            raise ShapeError(
                f"glu halves an axis, but this one has {input_shape[place]} values (here: {format_shape(input_shape)})",
                argument="activation",
            )
        return (*input_shape[:place], input_shape[place] // 2, *input_shape[place + 1 :])

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return self._axis is not None and covers(self._axis, axis, input_shape)

    @property
    def output_activation(self) -> str | None:
        return None if self._named == "linear" else self._named

    def calls(self) -> tuple[Call, ...]:
        return super().calls() if isinstance(self.activation, str) else (self.activation.call(),)

    def build(self, scope: Scope) -> Any:
        """Keras' layer; for a function with arguments, a functional model of it."""
        if isinstance(self.activation, str):
            return super().build(scope)
        dtype = compute_dtype(self.dtype or scope.dtype)
        return functional(self.name or scope.name, scope.keras_shape, dtype, self.activation.apply)


class ReLU(Layer):
    """x above the threshold, and negative_slope * (x - threshold) below it."""

    leading: ClassVar[str | None] = "max_value"

    max_value: NonNegativeNumber | None = Field(default=None, description="The largest output, >= 0; null: none.")
    negative_slope: NonNegativeNumber = Field(default=0.0, description="Slope below the threshold, >= 0.")
    threshold: NonNegativeNumber = Field(default=0.0, description="Where the layer starts to pass x on, >= 0.")

    @property
    def output_activation(self) -> str | None:
        return "relu"


class LeakyReLU(Layer):
    """x above 0, and negative_slope * x below (Maas, Hannun and Ng 2013)."""

    leading: ClassVar[str | None] = "negative_slope"

    negative_slope: NonNegativeNumber = Field(default=0.3, description="Slope below 0, >= 0.")

    @property
    def output_activation(self) -> str | None:
        return "leaky_relu"


class PReLU(Layer):
    """x above 0, and alpha * x below, with a learned alpha (He et al. 2015, arXiv:1502.01852)."""

    leading: ClassVar[str | None] = "alpha_initializer"

    alpha_initializer: InitializerField = Field(default=ZEROS, description="How alpha starts.")
    alpha_regularizer: RegularizerField | None = Field(default=None, description="Penalty on alpha.")
    alpha_constraint: ConstraintField | None = Field(default=None, description="Constraint on alpha.")
    shared_axes: AxesField | None = Field(
        default=None,
        description="Axes along which alpha is shared, from 1: [1, 2] for one alpha per channel.",
    )

    def _shape(self, input_shape: Shape) -> Shape:
        shared = as_list(self.shared_axes) if self.shared_axes is not None else []
        if any(axis < 1 for axis in shared):
            raise ShapeError(f"`shared_axes` {shared} must count from 1", argument="shared_axes")
        axes = positions(shared, input_shape, "shared_axes")
        return tuple(1 if axis in axes else size for axis, size in enumerate(input_shape))

    def output_shape(self, input_shape: Shape) -> Shape:
        rank = len(self._shape(input_shape))
        for kind in ("initializer", "regularizer", "constraint"):
            value = getattr(self, f"alpha_{kind}")
            problem = value.misfit(rank) if value is not None else None
            if problem is not None:
                raise ShapeError(problem, argument=f"alpha_{kind}")
        return input_shape

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        return (Weight("alpha", self._shape(input_shape)),)

    @property
    def output_activation(self) -> str | None:
        return "leaky_relu"


class ELU(Layer):
    """x above 0, and alpha * (exp(x) - 1) below (Clevert et al. 2016, arXiv:1511.07289)."""

    leading: ClassVar[str | None] = "alpha"

    alpha: Number = Field(default=1.0, description="What the output tends to for very negative x, negated.")

    @property
    def output_activation(self) -> str | None:
        return "elu"


class Softmax(Layer):
    """exp(x) divided by its sum over the given axes."""

    leading: ClassVar[str | None] = "axis"

    axis: AxesField = Field(default=-1, description="The axes that sum to 1 in the output, such as -1 (the classes).")

    def output_shape(self, input_shape: Shape) -> Shape:
        positions(self.axis, input_shape)
        return input_shape

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return covers(self.axis, axis, input_shape)

    @property
    def output_activation(self) -> str | None:
        return "softmax"


class Maxout(Layer):
    """The maximum of each group of channels (Goodfellow et al. 2013, arXiv:1302.4389).

    C channels become `num_units`: output j is the maximum of the C / num_units neighbouring channels from
    j * C / num_units on. Takes images (channels last) and vectors. No parameters.
    """

    leading: ClassVar[str | None] = "num_units"
    any_size: ClassVar[bool] = False

    num_units: Dimension = Field(
        description="Channels that remain: a whole number that divides the input's channels, or `classes`."
    )

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape[-1] % int(self.num_units):
            raise ShapeError(
                f"num_units ({self.num_units}) must divide the {input_shape[-1]} channels this layer "
                f"receives (here: {format_shape(input_shape)})",
                argument="num_units",
            )
        return (*input_shape[:-1], int(self.num_units))

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return axis == len(input_shape) - 1

    def calls(self) -> tuple[Call, ...]:
        return (Call("maxout", (Argument("num_units", int(self.num_units)),), "num_units", of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        """A functional model of Keras' operations."""
        from cnnkit.layers.functions import maxout

        arguments = self.keras_arguments(scope)

        def body(inputs: Any) -> Any:
            return maxout(inputs, int(self.num_units))

        return functional(arguments["name"], scope.keras_shape, compute_dtype(arguments["dtype"]), body)
