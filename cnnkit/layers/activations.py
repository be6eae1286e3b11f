"""Keras' activation functions with their arguments, for the layer `Activation`; named as Keras' functions are."""
# ruff: noqa: N801

from typing import Any, ClassVar

from pydantic import Field

from cnnkit.format.base import NamedObject
from cnnkit.format.fields import NonNegativeNumber, Number, PositiveNumber
from cnnkit.format.script import Argument, Call
from cnnkit.layers.axes import AxisField


class ActivationFunction(NamedObject):
    """What the functions share: arguments of `keras.activations`."""

    #: Whether a value depends on others, those along `axis`.
    over_axis: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Keras' name of the function."""
        return type(self).__name__

    def apply(self, x: Any) -> Any:
        """The function of a tensor."""
        import keras

        return getattr(keras.activations, self.name)(x, **self.model_dump())

    def call(self) -> Call:
        """What a plain Keras script writes."""
        arguments = tuple(Argument(name, getattr(self, name)) for name in self.arguments())
        return Call(f"keras.activations.{self.name}", arguments, of_tensor=True)


class OverAxis(ActivationFunction):
    """A function of all values along an axis."""

    over_axis: ClassVar[bool] = True
    leading: ClassVar[str | None] = "axis"

    axis: AxisField = Field(default=-1, description="The axis along which values depend on each other; -1: the last.")


class celu(ActivationFunction):
    """x above 0, and alpha * (exp(x / alpha) - 1) below (Barron 2017, arXiv:1704.07483)."""

    leading: ClassVar[str | None] = "alpha"

    alpha: PositiveNumber = Field(
        default=1.0, description="What the output tends to for very negative x, negated, > 0."
    )


class elu(ActivationFunction):
    """x above 0, and alpha * (exp(x) - 1) below (Clevert et al. 2016, arXiv:1511.07289)."""

    leading: ClassVar[str | None] = "alpha"

    alpha: Number = Field(default=1.0, description="What the output tends to for very negative x, negated.")


class gelu(ActivationFunction):
    """x times the normal distribution's share below x (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""

    leading: ClassVar[str | None] = "approximate"

    approximate: bool = Field(default=False, description="Whether to compute it by tanh, nearly.")


class glu(OverAxis):
    """The first half of the channels times the sigmoid of the second (Dauphin et al. 2017, arXiv:1612.08083)."""


class hard_shrink(ActivationFunction):
    """x where |x| is above the threshold, and 0 elsewhere."""

    leading: ClassVar[str | None] = "threshold"

    threshold: NonNegativeNumber = Field(default=0.5, description="Up to here, x becomes 0; >= 0.")


class leaky_relu(ActivationFunction):
    """x above 0, and negative_slope * x below (Maas, Hannun and Ng 2013)."""

    leading: ClassVar[str | None] = "negative_slope"

    negative_slope: NonNegativeNumber = Field(default=0.2, description="Slope below 0, >= 0.")


class log_softmax(OverAxis):
    """The logarithm of softmax."""


class relu(ActivationFunction):
    """x above the threshold, and negative_slope * (x - threshold) below it."""

    negative_slope: NonNegativeNumber = Field(default=0.0, description="Slope below the threshold, >= 0.")
    max_value: NonNegativeNumber | None = Field(default=None, description="The largest output, >= 0; null: none.")
    threshold: NonNegativeNumber = Field(default=0.0, description="Where the function starts to pass x on, >= 0.")


class soft_shrink(ActivationFunction):
    """x moved towards 0 by the threshold, and 0 where it is nearer than that."""

    leading: ClassVar[str | None] = "threshold"

    threshold: NonNegativeNumber = Field(default=0.5, description="By how much, >= 0.")


class softmax(OverAxis):
    """exp(x) divided by its sum along the axis."""


class squareplus(ActivationFunction):
    """(x + sqrt(x^2 + b)) / 2 (Barron 2021, arXiv:2112.11687)."""

    leading: ClassVar[str | None] = "b"

    b: NonNegativeNumber = Field(default=4, description="How smooth the bend at 0 is, >= 0.")


class threshold(ActivationFunction):
    """x above the threshold, and another value elsewhere."""

    threshold: Number = Field(description="Above this, x stays.")
    default_value: Number = Field(description="What takes the place of the rest.")
