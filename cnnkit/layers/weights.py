"""How weights start, what their size costs and what they may become: Keras' initializers, regularizers and
constraints by name; and the names of Keras' activations."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic_core import core_schema

from cnnkit.format.base import Choice, NamedObject, Table, describe, invalid, shorten
from cnnkit.format.fields import MOST_AXES, is_whole, list_schema, whole_schema
from cnnkit.format.script import Argument, Call
from cnnkit.format.similar import suggestion

SEED_IS_OF_THE_RUN = "`seed` comes from the run; write `seed:` at the top level of the file"


def refuse_seed(data: Any) -> Any:
    """A `before` validator: Keras' `seed` argument is not part of the format."""
    if isinstance(data, dict) and "seed" in data:
        raise invalid(SEED_IS_OF_THE_RUN, argument="seed")
    return data


def _axes(value: Any) -> Any:
    items = [value] if is_whole(value) else value
    if isinstance(items, list | tuple) and items and all(is_whole(item, -MOST_AXES, MOST_AXES) for item in items):
        if len(set(items)) == len(items):
            return value if is_whole(value) else list(items)
        raise invalid(f"an axis is named twice in {describe(value)}")
    raise invalid(f"expected an axis (a whole number) or a list of axes, got {describe(value)}")


_ONE = whole_schema(-MOST_AXES, MOST_AXES)
_AXES_SCHEMA = {"anyOf": [_ONE, {**list_schema(_ONE), "uniqueItems": True}]}

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

    def call(self) -> Call:
        """What a plain Keras script writes; without a seed."""
        arguments = tuple(Argument(name, getattr(self, name)) for name in self.arguments())
        return Call(f"keras.{self.module}.{type(self).__name__}", arguments, self.leading)

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


# --- Tables and field types ---------------------------------------------------------------------------

_STFT = "its kernels are for one-dimensional signals; choose another initializer"

INITIALIZERS = Table(
    kind="initializer",
    package="cnnkit.layers",
    modules={
        "initializers": ("Zeros", "Ones", "GlorotUniform", "HeNormal"),
        "other_initializers": (
            "Constant", "Identity", "Orthogonal",
            "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling",
            "GlorotNormal", "HeUniform", "LecunNormal", "LecunUniform",
            "Dirac", "PatchWhitening",
        ),
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
    unavailable={
        "Xavier": "write `GlorotUniform`", "XavierUniform": "write `GlorotUniform`",
        "XavierNormal": "write `GlorotNormal`", "Kaiming": "write `HeNormal`", "KaimingNormal": "write `HeNormal`",
        "KaimingUniform": "write `HeUniform`", "He": "write `HeNormal`", "Glorot": "write `GlorotUniform`",
        "Gaussian": "write `RandomNormal`", "Normal": "write `RandomNormal`", "Uniform": "write `RandomUniform`",
        "STFT": _STFT, "stft": _STFT, "STFTInitializer": _STFT,
    },
)  # fmt: skip

REGULARIZERS = Table(
    kind="regularizer",
    package="cnnkit.layers",
    modules={"regularizers": ("L1", "L2", "L1L2", "OrthogonalRegularizer")},
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
    modules={"constraints": ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")},
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

#: Names that PyTorch and papers have for some of them.
OTHER_ACTIVATIONS = {
    "h_swish": "hard_swish", "hswish": "hard_swish", "h_sigmoid": "hard_sigmoid", "hsigmoid": "hard_sigmoid",
    "lrelu": "leaky_relu", "identity": "linear", "none": "linear", "logistic": "sigmoid",
}  # fmt: skip

#: Those that take arguments, for the layer `Activation`.
ACTIVATION_FUNCTIONS = Table(
    kind="activation",
    package="cnnkit.layers",
    modules={
        "activations": (
            *("celu", "elu", "gelu", "glu", "hard_shrink", "leaky_relu", "log_softmax", "relu", "soft_shrink"),
            *("softmax", "squareplus", "threshold"),
        )
    },
)

_NO_BARE_ACTIVATION = {
    "threshold": "it needs two arguments; write `threshold: {threshold: 0.1, default_value: 0}`",
    "prelu": "it has weights; write the layer `PReLU` after this one",
    "maxout": "it changes the channels; write the layer `Maxout` after this one",
}


def _activation(value: Any) -> str:
    if isinstance(value, str) and value in ACTIVATIONS:
        return value
    if isinstance(value, str) and value.lower() in _NO_BARE_ACTIVATION:
        raise invalid(f"the activation `{value}` cannot be used by name: {_NO_BARE_ACTIVATION[value.lower()]}")
    if isinstance(value, str) and value.lower() in OTHER_ACTIVATIONS:
        raise invalid(f"unknown activation `{value}`; write `{OTHER_ACTIVATIONS[value.lower()]}`")
    if isinstance(value, str):
        raise invalid(f"unknown activation `{shorten(value)}`{suggestion(value, ACTIVATIONS)}")
    hint = "; for none, write `linear`" if value is None else ""
    raise invalid(f"expected the name of an activation, such as `relu`, got {describe(value)}{hint}")


class ActivationChoice(Choice):
    """Marks a field as holding the name of an activation, or a function with its arguments."""

    def validate(self, value: Any) -> Any:
        if isinstance(value, str) and value in ACTIVATIONS:
            return value
        by_name = isinstance(value, str) and (value == "threshold" or value not in self.table.names())
        if by_name or not isinstance(value, str | Mapping | NamedObject):
            return _activation(value)
        if isinstance(value, Mapping) and len(value) == 1:
            (name,) = value
            if name in ACTIVATIONS and name not in self.table.names():
                raise invalid(f"the activation `{name}` takes no arguments; write its name alone: `{name}`")
            elsewhere = (*_NO_BARE_ACTIVATION, *OTHER_ACTIVATIONS)
            if isinstance(name, str) and name.lower() in elsewhere and name not in self.table.names():
                return _activation(name)
        return super().validate(value)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        json_schema = super().__get_pydantic_json_schema__(schema, handler)
        json_schema["anyOf"].append({"enum": list(ACTIVATIONS)})
        return json_schema


#: The name of a Keras activation, or a function with its arguments.
ActivationField = Annotated[Any, ActivationChoice(ACTIVATION_FUNCTIONS)]

#: What layers with weights say of it.
ACTIVATION_OF_OUTPUT = "Activation of the output: Keras' name, or a function with its arguments (see `Activation`)."
