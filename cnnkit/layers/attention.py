"""Attention: each position takes from all others what is like it."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.format.fields import LARGEST_COUNT, PositiveInteger, Rate
from cnnkit.format.script import Call
from cnnkit.format.seeds import derive_seed
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.axes import AxesField, positions
from cnnkit.layers.base import Layer, Scope, Weight
from cnnkit.layers.initializers import GLOROT_UNIFORM, ZEROS
from cnnkit.layers.submodel import functional
from cnnkit.layers.weights import ConstraintField, InitializerField, RegularizerField, check_weight_objects
from cnnkit.layers.window import compute_dtype


class MultiHeadAttention(Layer):
    """Self-attention: Keras' layer with query, value and key the same (Vaswani et al. 2017, arXiv:1706.03762).

    Takes positions (length, channels) or a feature map (height, width, channels) and keeps the shape. H heads of K
    values per key and V per value on C channels have C H (2 K + V) + H V C weights, and with biases
    H (2 K + V) + C more.
    """

    leading: ClassVar[str | None] = "num_heads"
    takes_seed: ClassVar[bool] = True

    num_heads: PositiveInteger = Field(description="Number of heads, from 1.")
    key_dim: PositiveInteger = Field(description="Values of each head's queries and keys, from 1.")
    value_dim: PositiveInteger | None = Field(
        default=None, description="Values of each head's values, from 1; by default as `key_dim`."
    )
    dropout: Rate = Field(default=0.0, description="Share of the attention weights that are dropped, 0 to below 1.")
    use_bias: bool = Field(default=True, description="Whether the projections add biases.")
    attention_axes: AxesField | None = Field(
        default=None,
        description="The axes over which positions attend to each other, counted from 1; by default all but the "
        "channels. On a feature map, 1 attends within each column, 2 within each row.",
    )
    sliding_window: int | None = Field(
        default=None,
        ge=1,
        le=LARGEST_COUNT,
        description="How far a position sees to each side, itself counted, from 1; by default everything.",
    )
    kernel_initializer: InitializerField = Field(default=GLOROT_UNIFORM, description="How the projections start.")
    bias_initializer: InitializerField = Field(default=ZEROS, description="How the biases start.")
    kernel_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the projections.")
    bias_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the biases.")
    activity_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the output.")
    kernel_constraint: ConstraintField | None = Field(default=None, description="Constraint on the projections.")
    bias_constraint: ConstraintField | None = Field(default=None, description="Constraint on the biases.")
    use_gate: bool = Field(default=False, description="Whether a sigmoid of the input gates what each head gives.")

    @model_validator(mode="after")
    def _weight_objects(self) -> Self:
        check_weight_objects(self, {"kernel": 3})
        # The biases of the heads have two axes, those of the output one.
        check_weight_objects(self, {"bias": 1})
        return self

    @property
    def values(self) -> int:
        """Values of each head's values, V."""
        return self.value_dim or self.key_dim

    def attended(self, input_shape: Shape) -> tuple[int, ...]:
        """Where the axes lie over which positions attend to each other."""
        if self.attention_axes is None:
            return tuple(range(len(input_shape) - 1))
        return positions(self.attention_axes, input_shape, "attention_axes")

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) < 2:
            raise ShapeError(
                "this layer needs positions (length, channels), or a feature map (height, width, channels), but "
                f"receives {format_shape(input_shape)}"
            )
        if len(input_shape) - 1 in self.attended(input_shape):
            raise ShapeError(
                f"positions attend to each other; the last of the axes of {format_shape(input_shape)} holds the "
                "channels",
                argument="attention_axes",
            )
        if self.sliding_window is not None and len(input_shape) != 2:
            raise ShapeError(
                f"`sliding_window` is for positions in a row, (length, channels), not for {format_shape(input_shape)}",
                argument="sliding_window",
            )
        return input_shape

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        channels, heads = input_shape[-1], self.num_heads
        parts = [("query", self.key_dim), ("key", self.key_dim), ("value", self.values)]
        if self.use_gate:
            parts.insert(2, ("gate", self.values))
        weights = []
        for part, size in parts:
            weights.append(Weight(f"{part}/kernel", (channels, heads, size)))
            if self.use_bias:
                weights.append(Weight(f"{part}/bias", (heads, size)))
        weights.append(Weight("attention_output/kernel", (heads, self.values, channels)))
        if self.use_bias:
            weights.append(Weight("attention_output/bias", (channels,)))
        return tuple(weights)

    def _pairs(self, input_shape: Shape) -> int:
        """How many pairs of positions have an attention weight, for each head."""
        return math.prod(input_shape[:-1]) * math.prod(input_shape[axis] for axis in self.attended(input_shape))

    def tensors(self, input_shape: Shape) -> Iterator[tuple[str, Shape]]:
        yield from super().tensors(input_shape)
        yield "attention weights for one image", (self.num_heads, self._pairs(input_shape))

    def macs(self, input_shape: Shape) -> int:
        """The projections of all positions, and for each pair of positions H (K + V); biases are not counted."""
        kernels = sum(weight.size for weight in self.variables(input_shape) if weight.name.endswith("kernel"))
        pairs = self._pairs(input_shape) * self.num_heads * (self.key_dim + self.values)
        return math.prod(input_shape[:-1]) * kernels + pairs

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        if axis == len(input_shape) - 1:
            return True
        return self.sliding_window is None and axis in self.attended(input_shape)

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        reach = (self.sliding_window or 1) - 1
        return low - reach, high + reach

    def calls(self) -> tuple[Call, ...]:
        (call,) = super().calls()
        return (Call("self_attention", call.arguments, call.leading, of_tensor=True, makes_layer=True),)

    def build(self, scope: Scope) -> Any:
        """A Sequential of one functional model, in which Keras' layer gets the input as query, value and key.

        Keras would start the projections alike, all with the one seed that it is given.
        """
        import keras

        key = scope.seeds.key(self, scope.input_shape)
        arguments = self.arguments_drawn(scope, key)
        name, dtype = arguments["name"], compute_dtype(arguments["dtype"])
        layers: Any = keras.layers
        if scope.sharing.draws:
            from cnnkit.layers import shared_draws as layers
        attention = layers.MultiHeadAttention(**arguments | {"name": "attention", "trainable": True})
        shape = (None, *scope.keras_shape)
        attention.build(shape, shape)
        for weight in attention.weights:
            part, kind = weight.path.split("/")[-2:]
            argument = f"{kind}_initializer"
            initializer = getattr(self, argument).build(derive_seed(scope.seeds.seed, "weights", key, part, argument))
            weight.assign(initializer(weight.shape, dtype=weight.dtype))
        inside = functional("self", scope.keras_shape, dtype, lambda inputs: attention(inputs, inputs))
        inputs = keras.Input(scope.keras_shape, dtype=dtype)
        built = keras.Sequential([inputs, inside], name=name)
        # Told before, Keras would not freeze the projections, which are made later; and what was told something inside
        # only would not unfreeze with what is around it.
        built.trainable = self.trainable
        return built
