"""How weights start, what their size costs and what they may become: Keras' initializers, regularizers and
constraints by name; and the names of Keras' activations."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.config.base import (
    Choice,
    Fraction,
    NamedObject,
    NonNegativeNumber,
    PositiveNumber,
    Table,
    describe,
    invalid,
    is_whole,
    suggestion,
)

SEED_IS_OF_THE_RUN = "`seed` comes from the run; write `seed:` at the top level of the file"


def refuse_seed(data: Any) -> Any:
    """A `before` validator: Keras' `seed` argument is not part of the format."""
    if isinstance(data, dict) and "seed" in data:
        raise invalid(SEED_IS_OF_THE_RUN, argument="seed")
    return data


def _axes(value: Any) -> Any:
    items = [value] if is_whole(value) else value
    if isinstance(items, list | tuple) and items and all(is_whole(item) for item in items):
        if len(set(items)) == len(items):
            return value if is_whole(value) else list(items)
        raise invalid(f"an axis is named twice in {describe(value)}")
    raise invalid(f"expected an axis (a whole number) or a list of axes, got {describe(value)}")


_AXES_SCHEMA = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}, "minItems": 1}]}

#: One axis of a weight tensor, or several; counted from 0, from the end where negative.
WeightAxes = Annotated[int | list[int], PlainValidator(_axes), WithJsonSchema(_AXES_SCHEMA)]


class WeightObject(NamedObject):
    """Something that Keras applies to a layer's weights.

    Class attributes:
        module: The module of `keras` that holds the class.
        takes_seed: Whether Keras' class draws at random.
        ranks: The fewest and the most axes of a weight that it can act on.
    """

    module: ClassVar[str]
    takes_seed: ClassVar[bool] = False
    ranks: ClassVar[tuple[int, int | None]] = (0, None)

    def build(self, seed: int) -> Any:
        """The Keras object; `seed` is used where it draws at random."""
        import keras

        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        if self.takes_seed:
            arguments["seed"] = seed
        return getattr(getattr(keras, self.module), type(self).__name__)(**arguments)

    def misfit(self, rank: int) -> str | None:
        """Why this cannot act on a weight with `rank` axes; None if it can."""
        fewest, most = self.ranks
        if rank < fewest or (most is not None and rank > most):
            needed = f"exactly {fewest}" if most == fewest else f"at least {fewest}"
            return f"`{type(self).__name__}` needs a weight with {needed} axes, but this one has {rank}"
        for name in ("axis", "input_axes", "output_axes"):
            axes: Any = getattr(self, name, None)
            for axis in [axes] if is_whole(axes) else axes or []:
                if not -rank <= axis < rank:
                    return f"`{name}` {axis} is outside the weight's axes {-rank}..{rank - 1}"
        return None


def check_weight_objects(layer: NamedObject, ranks: dict[str, int]) -> None:
    """Refuses initializers, regularizers and constraints that cannot act on their weight.

    Args:
        ranks: For each argument prefix (`kernel`, `bias`), the number of axes of its weight.
    """
    for prefix, rank in ranks.items():
        for kind in ("initializer", "regularizer", "constraint"):
            value = getattr(layer, f"{prefix}_{kind}", None)
            problem = value.misfit(rank) if isinstance(value, WeightObject) else None
            if problem is not None:
                raise invalid(f"`{prefix}_{kind}`: {problem}")


# --- Initializers -------------------------------------------------------------------------------------


class Initializer(WeightObject):
    module: ClassVar[str] = "initializers"


class SeededInitializer(Initializer):
    takes_seed: ClassVar[bool] = True

    _no_seed = model_validator(mode="before")(refuse_seed)


class Zeros(Initializer):
    """All weights 0."""


class Ones(Initializer):
    """All weights 1."""


class Constant(Initializer):
    """All weights one value."""

    leading: ClassVar[str | None] = "value"

    value: float = Field(default=0.0, description="The value of every weight.")


class Identity(Initializer):
    """The identity matrix; for weights with two axes (Dense kernels)."""

    leading: ClassVar[str | None] = "gain"
    ranks: ClassVar[tuple[int, int | None]] = (2, 2)

    gain: float = Field(default=1.0, description="Factor on the identity matrix.")


class Orthogonal(SeededInitializer):
    """A random orthogonal matrix (Saxe et al. 2014, arXiv:1312.6120)."""

    leading: ClassVar[str | None] = "gain"
    ranks: ClassVar[tuple[int, int | None]] = (2, None)

    gain: float = Field(default=1.0, description="Factor on the orthogonal matrix.")


class RandomNormal(SeededInitializer):
    """Normally distributed weights."""

    leading: ClassVar[str | None] = "mean"

    mean: float = Field(default=0.0, description="Mean of the weights.")
    stddev: NonNegativeNumber = Field(default=0.05, description="Standard deviation of the weights, >= 0.")


class TruncatedNormal(RandomNormal):
    """Normally distributed weights; values beyond two standard deviations are drawn again."""


class RandomUniform(SeededInitializer):
    """Uniformly distributed weights."""

    leading: ClassVar[str | None] = "minval"

    minval: float = Field(default=-0.05, description="Lower bound of the weights.")
    maxval: float = Field(default=0.05, description="Upper bound of the weights; above `minval`.")

    @model_validator(mode="after")
    def _ordered(self) -> RandomUniform:
        if self.maxval <= self.minval:
            raise invalid(f"`maxval` ({self.maxval}) must be above `minval` ({self.minval})")
        return self


class FanInitializer(SeededInitializer):
    """Draws on a scale that follows from how many inputs and outputs a weight connects."""

    input_axes: WeightAxes | None = Field(
        default=None,
        description="The weight's axes that count as inputs; with `output_axes`. Default: all but the last.",
    )
    output_axes: WeightAxes | None = Field(
        default=None,
        description="The weight's axes that count as outputs; with `input_axes`. Default: the last.",
    )

    @model_validator(mode="after")
    def _both_axes(self) -> FanInitializer:
        for name in ("input_axes", "output_axes"):
            if is_whole(getattr(self, name)):
                raise invalid(f"`{name}` needs a list of axes, such as [0, 1]")
        if (self.input_axes is None) != (self.output_axes is None):
            raise invalid("`input_axes` and `output_axes` only work together; Keras ignores one alone")
        return self


class VarianceScaling(FanInitializer):
    """Weights whose variance is scale / n, n being the number of inputs, of outputs, or their mean."""

    leading: ClassVar[str | None] = "scale"

    scale: PositiveNumber = Field(default=1.0, description="Factor on the variance, above 0.")
    mode: Literal["fan_in", "fan_out", "fan_avg"] = Field(
        default="fan_in", description="What n counts: inputs, outputs, or their mean."
    )
    distribution: Literal["truncated_normal", "untruncated_normal", "normal", "uniform"] = Field(
        default="truncated_normal", description="The distribution; `normal` means `truncated_normal`."
    )


class GlorotUniform(FanInitializer):
    """Uniform within +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010). Keras' default."""


class GlorotNormal(FanInitializer):
    """Truncated normal, variance 2 / (inputs + outputs) (Glorot and Bengio 2010)."""


class HeUniform(FanInitializer):
    """Uniform within +-sqrt(6 / inputs) (He et al. 2015, arXiv:1502.01852); for ReLU networks."""


class HeNormal(FanInitializer):
    """Truncated normal, variance 2 / inputs (He et al. 2015, arXiv:1502.01852); for ReLU networks."""


class LecunUniform(FanInitializer):
    """Uniform within +-sqrt(3 / inputs) (LeCun et al. 1998); for SELU networks."""


class LecunNormal(FanInitializer):
    """Truncated normal, variance 1 / inputs (LeCun et al. 1998); for SELU networks."""


# --- Regularizers -------------------------------------------------------------------------------------


class Regularizer(WeightObject):
    module: ClassVar[str] = "regularizers"


class L1(Regularizer):
    """Adds l1 * sum |w| to the loss."""

    leading: ClassVar[str | None] = "l1"

    l1: NonNegativeNumber = Field(default=0.01, description="Factor, >= 0.")


class L2(Regularizer):
    """Adds l2 * sum w^2 to the loss; the gradient is 2 * l2 * w, so a decay of 5e-4 is `L2: 2.5e-4`."""

    leading: ClassVar[str | None] = "l2"

    l2: NonNegativeNumber = Field(default=0.01, description="Factor, >= 0.")


class L1L2(Regularizer):
    """Adds l1 * sum |w| + l2 * sum w^2 to the loss; both factors are 0 unless given."""

    leading: ClassVar[str | None] = "l1"

    l1: NonNegativeNumber = Field(default=0.0, description="Factor on sum |w|, >= 0.")
    l2: NonNegativeNumber = Field(default=0.0, description="Factor on sum w^2, >= 0.")


class OrthogonalRegularizer(Regularizer):
    """Makes the rows or columns of a weight with two axes (a Dense kernel) orthogonal to each other."""

    leading: ClassVar[str | None] = "factor"
    ranks: ClassVar[tuple[int, int | None]] = (2, 2)

    factor: NonNegativeNumber = Field(default=0.01, description="Factor on the penalty, >= 0.")
    mode: Literal["rows", "columns"] = Field(default="rows", description="What is to become orthogonal.")


# --- Constraints --------------------------------------------------------------------------------------

_NORM_AXIS = (
    "Axis or axes over which a norm is taken: 0 for Dense kernels, [0, 1, 2] for a norm per filter of a Conv2D kernel."
)


class Constraint(WeightObject):
    module: ClassVar[str] = "constraints"


class MaxNorm(Constraint):
    """Scales weights down where their norm exceeds `max_value`."""

    leading: ClassVar[str | None] = "max_value"

    max_value: NonNegativeNumber = Field(default=2, description="The largest norm, >= 0.")
    axis: WeightAxes = Field(default=0, description=_NORM_AXIS)


class MinMaxNorm(Constraint):
    """Moves the weights' norm into `min_value`..`max_value`."""

    leading: ClassVar[str | None] = "min_value"

    min_value: NonNegativeNumber = Field(default=0.0, description="The smallest norm, >= 0.")
    max_value: NonNegativeNumber = Field(default=1.0, description="The largest norm; at least `min_value`.")
    rate: Fraction = Field(default=1.0, description="How much of the correction each step makes, 0..1.")
    axis: WeightAxes = Field(default=0, description=_NORM_AXIS)

    @model_validator(mode="after")
    def _ordered(self) -> MinMaxNorm:
        if self.max_value < self.min_value:
            raise invalid(f"`max_value` ({self.max_value}) must be at least `min_value` ({self.min_value})")
        return self


class NonNeg(Constraint):
    """Sets negative weights to 0."""


class UnitNorm(Constraint):
    """Scales weights to norm 1."""

    leading: ClassVar[str | None] = "axis"

    axis: WeightAxes = Field(default=0, description=_NORM_AXIS)


# --- Tables and field types ---------------------------------------------------------------------------

_STFT = "its kernels are for one-dimensional signals; choose another initializer"

INITIALIZERS = Table(
    kind="initializer",
    package="cnnkit.layers",
    modules={
        "weights": (
            "Zeros", "Ones", "Constant", "Identity", "Orthogonal",
            "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling",
            "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform",
        )
    },
    aliases={
        "zeros": "Zeros", "zero": "Zeros", "ones": "Ones", "one": "Ones", "constant": "Constant",
        "identity": "Identity", "IdentityInitializer": "Identity",
        "orthogonal": "Orthogonal", "OrthogonalInitializer": "Orthogonal",
        "random_normal": "RandomNormal", "normal": "RandomNormal",
        "random_uniform": "RandomUniform", "uniform": "RandomUniform",
        "truncated_normal": "TruncatedNormal", "variance_scaling": "VarianceScaling",
        "glorot_normal": "GlorotNormal", "glorot_uniform": "GlorotUniform",
        "he_normal": "HeNormal", "he_uniform": "HeUniform",
        "lecun_normal": "LecunNormal", "lecun_uniform": "LecunUniform",
    },
    unavailable={"STFT": _STFT, "stft": _STFT, "STFTInitializer": _STFT},
)  # fmt: skip

REGULARIZERS = Table(
    kind="regularizer",
    package="cnnkit.layers",
    modules={"weights": ("L1", "L2", "L1L2", "OrthogonalRegularizer")},
    aliases={
        "l1": "L1",
        "l2": "L2",
        "l1_l2": "L1L2",
        "l1l2": "L1L2",
        "orthogonal_regularizer": "OrthogonalRegularizer",
    },
)

CONSTRAINTS = Table(
    kind="constraint",
    package="cnnkit.layers",
    modules={"weights": ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")},
    aliases={
        "max_norm": "MaxNorm",
        "min_max_norm": "MinMaxNorm",
        "non_neg": "NonNeg",
        "unit_norm": "UnitNorm",
    },
)

InitializerField = Annotated[WeightObject, Choice(INITIALIZERS)]
RegularizerField = Annotated[WeightObject, Choice(REGULARIZERS)]
ConstraintField = Annotated[WeightObject, Choice(CONSTRAINTS)]

#: Keras' activations that work by name alone.
ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu",
    "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid",
    "sparsemax", "squareplus", "swish", "tanh", "tanh_shrink",
)  # fmt: skip

_NO_BARE_ACTIVATION = {
    "glu": "it halves the channels, which no Keras layer expects of its activation",
    "threshold": "it needs two arguments, and an activation is given by name alone",
}


def _activation(value: Any) -> str:
    if isinstance(value, str) and value in ACTIVATIONS:
        return value
    if isinstance(value, str) and value in _NO_BARE_ACTIVATION:
        raise invalid(f"the activation `{value}` cannot be used by name: {_NO_BARE_ACTIVATION[value]}")
    if isinstance(value, str):
        raise invalid(f"unknown activation `{value}`{suggestion(value, ACTIVATIONS)}")
    raise invalid(f"expected the name of an activation, such as `relu`, got {describe(value)}")


#: The name of a Keras activation, such as `relu`.
ActivationName = Annotated[str, PlainValidator(_activation), WithJsonSchema({"enum": list(ACTIVATIONS)})]
