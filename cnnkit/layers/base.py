"""What every layer of the YAML format knows about itself, without TensorFlow.

A layer is a frozen pydantic model whose fields are Keras' arguments. From the shape that arrives at it
(without the batch axis) it derives its output shape, its weights, its multiply-accumulates and which
input positions an output position sees; `build` makes the Keras layer.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field, WrapValidator

from cnnkit.format.base import NamedObject, StrictModel
from cnnkit.format.fields import DATA_NAMES, DtypeName
from cnnkit.format.script import Argument, Call
from cnnkit.format.seeds import derive_seed
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.geometry import channels_first, channels_last
from cnnkit.layers.receptive_field import LONGEST_PATTERN, SAME, Bounds, Pattern, View, Windowed

#: Values of one tensor of one image, and of one weight: TensorFlow's kernels count many of them with 32 bits.
MOST_VALUES = 2**31 - 1
#: A network has no more layers than this, and no blocks nested deeper: beyond lies a mistake.
MOST_LAYERS = 4000
DEEPEST_CALLS = 40


@dataclass
class Budget:
    """Counts the layers of a network while it is resolved."""

    layers: int = 0

    def spend(self) -> None:
        """Counts one more.

        Raises:
            ShapeError: if they are too many.
        """
        self.layers += 1
        if self.layers > MOST_LAYERS:
            raise ShapeError(
                f"with this, the network has more than {MOST_LAYERS:,} layers; lower `times`, or nest less"
            )


@dataclass(frozen=True)
class Names:
    """What the names in a config's layers stand for.

    Attributes:
        values: The numbers that the data set gives, such as that of its `classes`, by name.
        blocks: The config's blocks (`blocks.BlockConfig`) by name.
        parameters: Those of the block whose layers are looked at, by name without `$`.
        repetition: Which repetition of the `Repeat` around them they are in, and of how many, by name without `$`.
        calls: The blocks that are being resolved, the outermost first.
        order: Where height (0), width (1) and channels (2) lie in what arrives at the layer; the channels are the last
            number, whatever the axes before them are.
        budget: Shared by all layers of a network.
    """

    values: Mapping[str, int]
    blocks: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    repetition: Mapping[str, int] = field(default_factory=dict)
    calls: tuple[str, ...] = ()
    order: tuple[int, ...] = channels_last(3)
    budget: Budget = field(default_factory=Budget)

    def number(self, name: str, argument: str) -> int:
        """What a name such as `classes` stands for, where an argument of a layer has it.

        Raises:
            ShapeError: if the data set has no such number.
        """
        if name not in self.values:
            known = " or ".join(f"`{other}`" for other in self.values)
            raise ShapeError(f"the data have no `{name}`; write {known}", argument)
        return self.values[name]


@dataclass(frozen=True)
class Weight:
    """One variable of a layer: Keras' name for it, its shape, and whether training changes it."""

    name: str
    shape: Shape
    trainable: bool = True

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Operation(Windowed, Protocol):
    """One of many operations inside a layer that is a whole network, for images of one size.

    In a `View` it stands for all of the layer up to it.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def input_shapes(self) -> tuple[Shape, ...]: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def weights(self) -> tuple[Weight, ...]: ...
    @property
    def macs(self) -> int: ...
    @property
    def activations(self) -> int: ...


@dataclass
class Seeds:
    """Hands out the seeds of weights and of dropout, so that editing one layer leaves the others' alone.

    A layer's seed derives from the run's seed, its explicit `name` or else its type and the shapes of its
    weights, and how many layers of the same kind came before it. Inserting a layer of another kind, or of
    another size, therefore moves no other layer's initial weights.
    """

    seed: int
    _counts: dict[str, int] = field(default_factory=dict)

    def key(self, layer: "Layer", input_shape: Shape) -> str:
        """The name under which a layer draws; call it once per layer, in order."""
        if layer.name is not None:
            kind = f"name={layer.name}"
        else:
            shapes = [weight.shape for weight in layer.variables(input_shape)] or [input_shape]
            kind = f"{layer.kind}{shapes}"
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        # A block that is used twice has layers of the same name twice.
        return kind if layer.name is not None and number == 0 else f"{kind}#{number}"


@dataclass(frozen=True)
class Sharing:
    """How the layers of a network differ that several devices train, each on a share of the batch.

    Attributes:
        draws: Whether a layer draws for a share what it would get of the whole batch's draws.
        statistics: Whether batch normalization takes the statistics of the whole batch.
    """

    draws: bool = False
    statistics: bool = False


#: One device has the whole batch.
ALONE = Sharing()


@dataclass(frozen=True)
class Scope:
    """What `build` needs to know beyond the layer's own fields.

    Args:
        name: The Keras layer's name; unique in the model.
        input_shape: What arrives at the layer, without the batch axis.
        seeds: Hands out seeds; shared by all layers of a model.
        dtype: The dtype policy for layers that do not set their own; None for Keras' global policy.
        ending: Whether the layer holds the network's last ones, which are to be in float32, and builds them so itself.
        fed: As `input_shape`, with None along axes whose size varies; None where none does.
        sharing: What several devices need; by default one has the whole batch.
    """

    name: str
    input_shape: Shape
    seeds: Seeds
    dtype: str | None = None
    ending: bool = False
    fed: tuple[int | None, ...] | None = None
    sharing: Sharing = ALONE

    @property
    def keras_shape(self) -> tuple[int | None, ...]:
        """The shape of a `keras.Input` for the layer."""
        return self.input_shape if self.fed is None else self.fed


#: Whether layers may have any name: those of a network that was trained when it was allowed.
any_name: ContextVar[bool] = ContextVar("any_name", default=False)


def _name(name: Any, check: Callable[[Any], str]) -> str:
    return name if any_name.get() and isinstance(name, str) else check(name)


class Layer(NamedObject):
    """One layer of `model.layers`: Keras' arguments, plus what the arithmetic of CNNs says about it.

    A subclass is named as its Keras layer, declares Keras' arguments as fields with Keras' defaults, and
    overrides the rules below where the defaults (shape kept, no weights, one position sees one position)
    do not hold.
    """

    #: Arguments whose value is drawn at random from the run's seed, by Keras' argument name (`seed`).
    takes_seed: ClassVar[bool] = False
    #: Whether what is built computes images of any height and width, as far as its arguments and weights do.
    any_size: ClassVar[bool] = True
    #: Whether the layer takes images as they come, 0..255, and none that `data.normalization` has changed.
    takes_raw_images: ClassVar[bool] = False
    #: Whether what arrives is whole numbers that name something, which half precision would not tell apart.
    takes_ids: ClassVar[bool] = False
    #: Whether what it computes of an image depends on the other images of the batch, not in training alone.
    mixes_images: ClassVar[bool] = False
    #: Whether the layer only multiplies what arrives by learned factors.
    only_scales: ClassVar[bool] = False
    # TensorFlow refuses a scope that begins with another character, once the network is evaluated.
    name: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9.][A-Za-z0-9_.-]*$", max_length=100), WrapValidator(_name)] | None
    ) = Field(default=None, description="The layer's name in the model; also fixes its initial weights' seed.")
    trainable: bool = Field(default=True, description="Whether training changes the layer's weights.")
    dtype: DtypeName | None = Field(default=None, description="The layer's dtype policy; by default that of the run.")

    @property
    def kind(self) -> str:
        """What the YAML file calls the layer."""
        return type(self).__name__

    def resolve(self, names: Names, input_shape: Shape) -> "Layer":
        """This layer with every name replaced by what it stands for, such as `classes` by their number.

        Args:
            input_shape: What arrives at the layer, without the batch axis.

        Raises:
            ShapeError: where that is impossible.
        """
        values: dict[str, int] = {}
        for field_name in type(self).model_fields:
            value = getattr(self, field_name)
            if field_name not in Layer.model_fields and isinstance(value, str) and value in DATA_NAMES:
                values[field_name] = names.number(value, field_name)
        return self.model_copy(update=values) if values else self

    def named_in(self, argument: str | None) -> tuple[str, ...]:
        """The parameters of the block around it that an argument is written with, or the layer itself."""
        return ()

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape that leaves the layer, both without the batch axis.

        Raises:
            ShapeError: if the layer cannot take `input_shape`.
        """
        return input_shape

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        """The layer's variables in Keras' order."""
        return ()

    def operations(self, input_shape: Shape) -> Sequence[Operation]:
        """The operations inside a layer that is a whole network, each after those whose outputs it takes; else none."""
        return ()

    def built_for(self, input_shape: Shape) -> object:
        """What of the built layer depends on the size of the image that arrives: equal where it can be the same."""
        return None if self.any_size else input_shape

    def tensors(self, input_shape: Shape) -> Iterator[tuple[str, Shape]]:
        """What the layer makes of one image and its weights, each with what messages call it."""
        yield "output for one image", self.output_shape(input_shape)
        for weight in self.variables(input_shape):
            yield f"weight `{weight.name}`", weight.shape

    def check_sizes(self, input_shape: Shape) -> None:
        """Raises ShapeError where the layer would need a tensor that no computer works on."""
        for what, shape in self.tensors(input_shape):
            if math.prod(shape) > MOST_VALUES:
                raise ShapeError(
                    f"the {what} would be {format_shape(shape)}, {math.prod(shape):,} values; TensorFlow counts to "
                    f"{MOST_VALUES:,} (here: {format_shape(input_shape)})"
                )

    def macs(self, input_shape: Shape) -> int:
        """Multiply-accumulates of one forward pass of one image; 0 for layers that only move or scale."""
        return 0

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        """Which input positions the output positions `low..high` (inclusive) see along one spatial axis.

        Args:
            axis: 0 for an image's height, 1 for its width, as the layer's own `data_format` has them; a signal has only
                0, its length, and a volume's depth is 0.

        Returns:
            First and last input position, not clipped to the input: padding counts. First above last means that no
            input is seen (a transposed convolution whose stride exceeds its window).
        """
        return low, high

    def turn(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        """After how many output positions `input_range` repeats itself, and how much further on in the input."""
        return 1, 1

    def bounds(self, axis: int, input_shape: Shape) -> Bounds:
        """What contains `input_range`; asked for where it repeats itself after many positions only."""
        raise NotImplementedError(self.kind)

    def range_along(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        """As `input_range`, along an axis of the tensor: that of the channels passes a layer unchanged."""
        spatial_axis = self._spatial_axis(axis, input_shape)
        return (low, high) if spatial_axis is None else self.input_range(low, high, spatial_axis, input_shape)

    def pattern(self, axis: int, input_shape: Shape) -> Pattern | Bounds:
        """What the output positions along an axis of the tensor see of the same axis of the input."""
        spatial_axis = self._spatial_axis(axis, input_shape)
        if spatial_axis is None:
            return SAME
        positions, step = self.turn(spatial_axis, input_shape)
        if positions > LONGEST_PATTERN:
            return self.bounds(spatial_axis, input_shape)
        seen = (self.input_range(one, one, spatial_axis, input_shape) for one in range(positions))
        return Pattern(tuple(seen), step)

    def _spatial_axis(self, axis: int, input_shape: Shape) -> int | None:
        """Which of the spatial axes, from 0, an axis of the tensor is to this layer; None for that of the channels."""
        spatial = axis - 1 if getattr(self, "data_format", None) == "channels_first" else axis
        return spatial if 0 <= spatial < len(input_shape) - 1 else None

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        """Whether each output position depends on all input positions along an axis of the tensor, from 0."""
        return False

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        """The axis of the output that holds what an axis of the input held; None where none does."""
        return axis

    def paths_behind(self, view: View) -> tuple[View, ...]:
        """What is seen of a stack's input after each path of this layer, where it is made of several.

        Args:
            view: What is seen before it.
        """
        return ()

    def arriving_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """Where height (0), width (1) and channels (2) lie as the layer takes them; its `data_format` decides.

        Args:
            order: Where they lie in what comes before.
        """
        data_format = getattr(self, "data_format", None)
        if data_format == "channels_first" and order[0] != len(order) - 1:
            return channels_first(len(order))
        if data_format == "channels_last" and order[-1] != len(order) - 1:
            return channels_last(len(order))
        return order

    def order_behind(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """Where height (0), width (1) and channels (2) lie after the layer, given where they lie before it."""
        return self.output_order(self.arriving_order(order))

    def output_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """Where height (0), width (1) and channels (2) lie in the output, given where they lie in the input."""
        return order

    def warnings(self, input_shape: Shape) -> tuple[str, ...]:
        """What a reader of the config should know, such as rows that a stride drops, with the arithmetic."""
        return ()

    def needs_xla_on_cpu(self) -> bool:
        """Whether this layer fails on a CPU that has neither XLA nor oneDNN (as Keras 3.15 does)."""
        return False

    def breaks_onednn(self, input_shape: Shape) -> bool:
        """Whether training this layer with oneDNN may write beyond its memory (as in TensorFlow 2.21)."""
        return False

    @property
    def output_activation(self) -> str | None:
        """The activation that the layer applies last: a Keras name, or None where it applies none.

        A layer that only changes the shape or drops values returns `keep`: what came before it decides.
        """
        return None

    def parameters(self, input_shape: Shape) -> tuple[int, int]:
        """Trainable and non-trainable parameter counts."""
        weights = self.variables(input_shape)
        trainable = sum(weight.size for weight in weights if weight.trainable and self.trainable)
        return trainable, sum(weight.size for weight in weights) - trainable

    def keras_arguments(self, scope: Scope) -> dict[str, Any]:
        """The constructor arguments of the Keras layer: the fields, with initializers and seeds filled in."""
        return self.arguments_drawn(scope, scope.seeds.key(self, scope.input_shape))

    def arguments_drawn(self, scope: Scope, key: str) -> dict[str, Any]:
        """The same of a layer that draws under a key, see `Seeds.key`."""
        arguments: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, StrictModel):
                value = value.build(derive_seed(scope.seeds.seed, "weights", key, name))  # type: ignore[attr-defined]
            arguments[name] = value
        arguments["name"] = self.name or scope.name
        arguments["dtype"] = self.dtype or scope.dtype
        if self.takes_seed:
            arguments["seed"] = derive_seed(scope.seeds.seed, "dropout", key)
        return arguments

    def calls(self) -> tuple[Call, ...]:
        """What a plain Keras script calls in the place of this layer, one after another.

        The arguments that the config writes, without those that every layer takes and without seeds.
        """
        names = [name for name in self.arguments() if name not in Layer.model_fields]
        # As Keras orders them: fields of a base class come first otherwise.
        usual = (self.leading, "kernel_size", "strides", "padding")
        names.sort(key=lambda name: usual.index(name) if name in usual else len(usual))
        arguments = []
        for name in names:
            field = type(self).model_fields[name]
            default = ... if field.is_required() else as_argument(name, field.get_default())
            arguments.append(Argument(name, as_argument(name, getattr(self, name)), default))
        return (Call(f"layers.{type(self).__name__}", tuple(arguments), self.leading),)

    def build(self, scope: Scope) -> Any:
        """The Keras layer (or a named Keras sub-model of stock layers)."""
        import keras

        return getattr(keras.layers, type(self).__name__)(**self.keras_arguments(scope))


#: Arguments that Keras takes as one number for each spatial axis or as one for all.
_SIZES = ("kernel_size", "strides", "padding", "output_padding", "dilation_rate", "pool_size", "size", "cropping")


def as_argument(name: str, value: Any) -> Any:
    """A field's value as a script writes it: an object as a call, one number for axes that agree."""
    if isinstance(value, NamedObject):
        # Defined beside the tables of such objects, which this module does not know.
        return value.call()  # type: ignore[attr-defined]
    if isinstance(value, StrictModel):
        return {key: item for key, item in value.model_dump().items() if item is not None}
    if isinstance(value, tuple):
        items = [as_argument(name, item) for item in value]
        if name in _SIZES and (len(items) == 1 or (isinstance(items[0], int) and len(set(items)) == 1)):
            return items[0]
        return tuple(items)
    return value


class ShapeLayer(Layer):
    """A layer that only moves or drops values."""

    @property
    def output_activation(self) -> str | None:
        return "keep"
