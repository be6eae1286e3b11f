"""The normalization layers."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.format.base import StrictModel, describe, invalid
from cnnkit.format.fields import (
    LARGEST_COUNT,
    NUMBER_SCHEMA,
    Fraction,
    NonNegativeNumber,
    Number,
    PositiveNumber,
    is_number,
    is_whole,
    whole_schema,
)
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.axes import AxesField, AxisField, as_list, covers, positions
from cnnkit.layers.base import Layer, Scope, Weight
from cnnkit.layers.initializers import ONES, ZEROS
from cnnkit.layers.spatial import spatial
from cnnkit.layers.submodel import functional
from cnnkit.layers.weights import (
    ConstraintField,
    InitializerField,
    RegularizerField,
    check_weight_objects,
)
from cnnkit.layers.window import compute_dtype

_EPSILON = "Added to the variance, against division by 0; above or equal 0."


class ScaledNormalization(Layer):
    """What the normalizations with a learned scale (gamma) and offset (beta) share."""

    epsilon: NonNegativeNumber = Field(default=1e-3, description=_EPSILON)
    center: bool = Field(default=True, description="Whether to add a learned offset, beta.")
    scale: bool = Field(default=True, description="Whether to multiply by a learned factor, gamma.")
    beta_initializer: InitializerField = Field(default=ZEROS, description="How beta starts.")
    gamma_initializer: InitializerField = Field(default=ONES, description="How gamma starts.")
    beta_regularizer: RegularizerField | None = Field(default=None, description="Penalty on beta.")
    gamma_regularizer: RegularizerField | None = Field(default=None, description="Penalty on gamma.")
    beta_constraint: ConstraintField | None = Field(default=None, description="Constraint on beta.")
    gamma_constraint: ConstraintField | None = Field(default=None, description="Constraint on gamma.")

    @model_validator(mode="after")
    def _weight_objects(self) -> Self:
        rank = len(as_list(getattr(self, "axis")))  # noqa: B009 (declared by subclasses)
        check_weight_objects(self, dict.fromkeys(("beta", "gamma", "moving_mean", "moving_variance"), rank))
        return self

    def output_shape(self, input_shape: Shape) -> Shape:
        positions(getattr(self, "axis"), input_shape)  # noqa: B009 (declared by subclasses)
        return input_shape

    def scale_and_offset(self, shape: Shape) -> tuple[Weight, ...]:
        gamma = (Weight("gamma", shape),) if self.scale else ()
        return gamma + ((Weight("beta", shape),) if self.center else ())


class RenormClipping(StrictModel):
    """Bounds of batch renormalization's correction value * r + d."""

    rmin: NonNegativeNumber | None = Field(default=None, description="Lower bound of r, >= 0; by default 0.")
    rmax: NonNegativeNumber | None = Field(default=None, description="Upper bound of r, >= 0; by default none.")
    dmax: NonNegativeNumber | None = Field(default=None, description="Bound of |d|, >= 0; by default none.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.rmin is not None and self.rmax is not None and self.rmax < self.rmin:
            raise invalid(f"`rmax` ({self.rmax}) must be at least `rmin` ({self.rmin})")
        return self

    def build(self, seed: int) -> dict[str, float]:
        return {name: value for name, value in self.model_dump().items() if value is not None}


class BatchNormalization(ScaledNormalization):
    """Normalizes each channel over the batch (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Per channel: gamma, beta, and a moving mean and variance that training does not learn by gradient.
    """

    leading: ClassVar[str | None] = "axis"

    axis: AxisField = Field(default=-1, description="The axis that keeps its own statistics: the channels, -1.")
    momentum: Fraction = Field(default=0.99, description="Share of the old value in the moving averages, 0..1.")
    moving_mean_initializer: InitializerField = Field(default=ZEROS, description="How the moving mean starts.")
    moving_variance_initializer: InitializerField = Field(default=ONES, description="How the moving variance starts.")
    renorm: bool = Field(default=False, description="Batch renormalization (Ioffe 2017, arXiv:1702.03275).")
    renorm_clipping: RenormClipping | None = Field(
        default=None, description="Bounds {rmin, rmax, dmax} of the correction; with `renorm: true`."
    )
    renorm_momentum: Fraction = Field(default=0.99, description="As `momentum`, for the renorm statistics, 0..1.")
    synchronized: bool = Field(default=False, description="Whether all devices share the batch's statistics.")

    @model_validator(mode="after")
    def _clipping_needs_renorm(self) -> Self:
        if self.renorm_clipping is not None and not self.renorm:
            raise invalid("`renorm_clipping` has no effect without `renorm: true`")
        return self

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        shape = (input_shape[positions(self.axis, input_shape)[0]],)
        names = ["moving_mean", "moving_variance"]
        if self.renorm:
            names += ["moving_stddev", "renorm_mean", "renorm_stddev"]
        return self.scale_and_offset(shape) + tuple(Weight(name, shape, trainable=False) for name in names)

    def keras_arguments(self, scope: Scope) -> dict[str, Any]:
        arguments = super().keras_arguments(scope)
        arguments["synchronized"] = self.synchronized or scope.sharing.statistics
        return arguments

    def build(self, scope: Scope) -> Any:
        """Keras' layer; for images with their channels last a faster form of it, see `fused.py`."""
        images = len(scope.input_shape) == 3 and positions(self.axis, scope.input_shape) == (2,)
        # Other numbers of channels do not fill a CPU's vectors; on them the fused operation is the slower one.
        others = self.renorm or self.synchronized or scope.sharing.statistics
        if not images or scope.input_shape[2] % 8 or others:
            return super().build(scope)
        from cnnkit.layers.fused import FusedBatchNormalization

        return FusedBatchNormalization(**self.keras_arguments(scope))


class LayerNormalization(ScaledNormalization):
    """Normalizes each image over the given axes (Ba, Kiros and Hinton 2016, arXiv:1607.06450)."""

    leading: ClassVar[str | None] = "axis"

    axis: AxesField = Field(default=-1, description="The axes to normalize over, such as -1 or [1, 2, 3].")

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        # Keras sorts the axes as they are written.
        axes = positions(sorted(as_list(self.axis)), input_shape)
        return self.scale_and_offset(tuple(input_shape[axis] for axis in axes))

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return covers(self.axis, axis, input_shape)


class RMSNormalization(Layer):
    """Divides by the root mean square over the given axes, and multiplies by a learned scale (Zhang and Sennrich 2019).

    Layer normalization without mean and offset (arXiv:1910.07467).
    """

    leading: ClassVar[str | None] = "axis"

    axis: AxesField = Field(default=-1, description="The axes to normalize over: the last ones, -1 or [-2, -1].")
    epsilon: PositiveNumber = Field(default=1e-6, description=_EPSILON)

    def output_shape(self, input_shape: Shape) -> Shape:
        axes, rank = sorted(positions(self.axis, input_shape)), len(input_shape)
        if axes != list(range(rank - len(axes), rank)):
            raise ShapeError(
                f"Keras multiplies its scale along the last axes, so that it can normalize over no others; got "
                f"{self.axis} of {format_shape(input_shape)}",
                argument="axis",
            )
        return input_shape

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        return (Weight("scale", tuple(input_shape[axis] for axis in sorted(positions(self.axis, input_shape)))),)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return covers(self.axis, axis, input_shape)


def _groups(value: Any) -> int:
    if is_whole(value, 1, LARGEST_COUNT) or (value == -1 and is_whole(value)):
        return int(value)
    raise invalid(
        f"expected a whole number from 1 to {LARGEST_COUNT:,}, or -1 for one group per channel, got {describe(value)}"
    )


class GroupNormalization(ScaledNormalization):
    """Normalizes each image over groups of channels (Wu and He 2018, arXiv:1803.08494)."""

    leading: ClassVar[str | None] = "groups"

    groups: Annotated[
        int,
        PlainValidator(_groups),
        WithJsonSchema({"anyOf": [whole_schema(1, LARGEST_COUNT), {"const": -1}]}),
    ] = Field(
        default=32,
        description="Number of groups, which divides the channels; 1 is layer normalization, -1 (as many as "
        "channels) instance normalization.",
    )
    axis: AxisField = Field(default=-1, description="The axis that is divided into groups: the channels, -1.")

    def output_shape(self, input_shape: Shape) -> Shape:
        count = input_shape[positions(self.axis, input_shape)[0]]
        groups = count if self.groups == -1 else self.groups
        if count % groups:
            raise ShapeError(
                f"{groups} groups do not divide the {count} channels this layer receives "
                f"(here: {format_shape(input_shape)})",
                argument="groups",
            )
        return input_shape

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        return self.scale_and_offset((input_shape[positions(self.axis, input_shape)[0]],))

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        (grouped,) = positions(self.axis, input_shape)
        return axis != grouped or self.groups not in (-1, input_shape[grouped])


class UnitNormalization(Layer):
    """Scales each vector along the given axes to length 1 (L2 norm)."""

    leading: ClassVar[str | None] = "axis"

    axis: AxesField = Field(default=-1, description="The axes that form the vector, such as -1 or [1, 2, 3].")

    def output_shape(self, input_shape: Shape) -> Shape:
        positions(self.axis, input_shape)
        return input_shape

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return covers(self.axis, axis, input_shape)


#: A radius of as many channels as there are takes them all.
_LARGEST_RADIUS = 10_000


class LocalResponseNormalization(Layer):
    """AlexNet's normalization: x / (bias + alpha * sum of x^2 over 2r + 1 neighbouring channels)^beta.

    Krizhevsky, Sutskever and Hinton 2012, section 3.3, with the meaning and the argument names of
    `tf.nn.local_response_normalization`. The paper's n = 5 is `depth_radius: 2`, its k is `bias`. No
    parameters.
    """

    leading: ClassVar[str | None] = "depth_radius"
    any_size: ClassVar[bool] = False

    depth_radius: int = Field(
        default=2, ge=1, le=_LARGEST_RADIUS, description="Neighbouring channels on each side, r, from 1."
    )
    bias: PositiveNumber = Field(default=2.0, description="The constant below the power, above 0.")
    alpha: NonNegativeNumber = Field(default=1e-4, description="Factor on the sum of squares, >= 0.")
    beta: Number = Field(default=0.75, description="The power.")

    def output_shape(self, input_shape: Shape) -> Shape:
        spatial(input_shape, None)
        return input_shape

    def tensors(self, input_shape: Shape) -> Iterator[tuple[str, Shape]]:
        yield from super().tensors(input_shape)
        yield "image with its padded channels", (*input_shape[:-1], input_shape[-1] + 2 * self.depth_radius)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return axis == len(input_shape) - 1

    def calls(self) -> tuple[Call, ...]:
        values = tuple(Argument(name, getattr(self, name)) for name in ("depth_radius", "bias", "alpha", "beta"))
        return (Call("local_response_normalization", values, of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        """A layer for training; what is saved is `stock`."""
        arguments = self.keras_arguments(scope)
        name = arguments["name"]
        # Squares overflow in half precision: computed in float32 at least.
        dtype = "float64" if compute_dtype(arguments["dtype"]) == "float64" else "float32"
        from cnnkit.layers.fused import FusedLocalResponseNormalization

        return FusedLocalResponseNormalization(
            lambda: self.stock(name, scope.input_shape, dtype),
            depth_radius=self.depth_radius,
            bias=self.bias,
            alpha=self.alpha,
            beta=self.beta,
            name=name,
            dtype=dtype,
            trainable=self.trainable,
        )

    def stock(self, name: str, input_shape: Shape, dtype: str) -> Any:
        """A functional model of Keras' operations."""
        from cnnkit.layers.functions import local_response_normalization

        def body(inputs: Any) -> Any:
            return local_response_normalization(inputs, self.depth_radius, self.bias, self.alpha, self.beta)

        model = functional(name, input_shape, dtype, body)
        model.trainable = self.trainable
        return model


def _shape_of(value: Any) -> Shape | None:
    """The shape of a number or of nested lists of numbers; None for anything else."""
    if is_number(value):
        return ()
    if not isinstance(value, list | tuple) or not value:
        return None
    shapes = {_shape_of(item) for item in value}
    inner = shapes.pop()
    return None if shapes or inner is None else (len(value), *inner)


def _flat(value: Any) -> list[float]:
    return [value] if is_number(value) else [number for item in value for number in _flat(item)]


def _statistics(value: Any) -> Any:
    if _shape_of(value) is None:
        raise invalid(f"expected a number, or a list of numbers, got {describe(value)}")
    return value


_NUMBERS = {"anyOf": [NUMBER_SCHEMA, {"type": "array", "minItems": 1}]}
_Statistics = Annotated[float | list[Any], PlainValidator(_statistics), WithJsonSchema(_NUMBERS)]


class Normalization(Layer):
    """Subtracts a fixed mean and divides by the square root of a fixed variance.

    Without `mean` and `variance` Keras' layer holds three weights for a later `adapt()`, which cnnkit never
    calls. (`data.normalization` normalizes the images; this layer is for other places.)
    """

    leading: ClassVar[str | None] = "axis"

    axis: AxesField | None = Field(
        default=-1,
        description="The axes with their own mean and variance: -1 one per channel, null one for all.",
    )
    mean: _Statistics | None = Field(default=None, description="The mean: a number, or one per position of `axis`.")
    variance: _Statistics | None = Field(default=None, description="The variance, >= 0, with the shape of `mean`.")
    invert: bool = Field(default=False, description="Whether to undo the normalization instead.")

    @model_validator(mode="after")
    def _mean_and_variance(self) -> Self:
        if (self.mean is None) != (self.variance is None):
            raise invalid("`mean` and `variance` belong together: give both, or none")
        if self.mean is None:
            return self
        mean, variance = _shape_of(self.mean), _shape_of(self.variance)
        if mean is None or mean != variance:
            raise invalid("`mean` and `variance` must have the same shape")
        if len(mean) > len(self.kept_axes):
            raise invalid(f"`mean` has {len(mean)} axes, but `axis` names only {len(self.kept_axes)}")
        if min(_flat(self.variance)) < 0:
            raise invalid("`variance` must not be negative")
        return self

    @property
    def kept_axes(self) -> list[int]:
        return [] if self.axis is None else as_list(self.axis)

    def output_shape(self, input_shape: Shape) -> Shape:
        kept = tuple(input_shape[axis] for axis in sorted(positions(self.kept_axes, input_shape)))
        given = _shape_of(self.mean) if self.mean is not None else ()
        for ours, theirs in zip(reversed(given or ()), reversed(kept), strict=False):
            if ours not in (1, theirs):
                raise ShapeError(
                    f"`mean` and `variance` have shape {format_shape(given or ())}, but the axes "
                    f"{self.kept_axes} of the input this layer receives have {format_shape(kept)} "
                    f"(here: {format_shape(input_shape)})",
                    argument="mean",
                )
        return input_shape

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        if self.mean is not None:
            return ()
        kept = tuple(input_shape[axis] for axis in sorted(positions(self.kept_axes, input_shape)))
        return tuple(Weight(name, shape, trainable=False) for name, shape in
                     (("mean", kept), ("variance", kept), ("count", ())))  # fmt: skip

    def warnings(self, input_shape: Shape) -> tuple[str, ...]:
        if self.mean is None:
            return ("without `mean` and `variance` it changes nothing: cnnkit never calls Keras' `adapt()`",)
        return ()
