"""The initializers that a config names; a module of their own keeps the start of all others quick."""

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cnnkit.format.base import invalid
from cnnkit.format.fields import NonNegativeNumber, Number, PositiveNumber
from cnnkit.format.script import Argument, Call
from cnnkit.layers.initializers import FanInitializer, Initializer, SeededInitializer


class Constant(Initializer):
    """All weights one value."""

    leading: ClassVar[str | None] = "value"

    value: Number = Field(default=0.0, description="The value of every weight.")

    def call(self) -> Call:
        # Keras cannot make it from its name alone.
        return replace(super().call(), arguments=(Argument("value", self.value),))


class Identity(Initializer):
    """The identity matrix; for weights with two axes (Dense kernels)."""

    leading: ClassVar[str | None] = "gain"
    ranks: ClassVar[tuple[int, int | None]] = (2, 2)

    gain: Number = Field(default=1.0, description="Factor on the identity matrix.")


class Orthogonal(SeededInitializer):
    """A random orthogonal matrix (Saxe et al. 2014, arXiv:1312.6120)."""

    leading: ClassVar[str | None] = "gain"
    ranks: ClassVar[tuple[int, int | None]] = (2, None)

    gain: Number = Field(default=1.0, description="Factor on the orthogonal matrix.")


class RandomNormal(SeededInitializer):
    """Normally distributed weights."""

    leading: ClassVar[str | None] = "mean"

    mean: Number = Field(default=0.0, description="Mean of the weights.")
    stddev: NonNegativeNumber = Field(default=0.05, description="Standard deviation of the weights, >= 0.")


class TruncatedNormal(RandomNormal):
    """Normally distributed weights; values beyond two standard deviations are drawn again."""


class RandomUniform(SeededInitializer):
    """Uniformly distributed weights."""

    leading: ClassVar[str | None] = "minval"

    minval: Number = Field(default=-0.05, description="Lower bound of the weights.")
    maxval: Number = Field(default=0.05, description="Upper bound of the weights; above `minval`.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.maxval <= self.minval:
            raise invalid(f"`maxval` ({self.maxval}) must be above `minval` ({self.minval})")
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


class GlorotNormal(FanInitializer):
    """Truncated normal, variance 2 / (inputs + outputs) (Glorot and Bengio 2010)."""


class HeUniform(FanInitializer):
    """Uniform within +-sqrt(6 / inputs) (He et al. 2015, arXiv:1502.01852); for ReLU networks."""


class LecunUniform(FanInitializer):
    """Uniform within +-sqrt(3 / inputs) (LeCun et al. 1998); for SELU networks."""


class LecunNormal(FanInitializer):
    """Truncated normal, variance 1 / inputs (LeCun et al. 1998); for SELU networks."""


class Dirac(SeededInitializer):
    """A convolution that at first passes its input on: filter i takes the centre pixel of channel i.

    Filters beyond the number of channels are drawn uniformly, with variance 1 / (3 inputs), PyTorch's default. From
    cifar10-airbench (Jordan 2024, arXiv:2404.00498); Keras has none.
    """

    ranks: ClassVar[tuple[int, int | None]] = (4, 4)

    def call(self) -> Call:
        return replace(super().call(), function="Dirac")

    def build(self, seed: int) -> Any:
        from cnnkit.layers.keras_initializers import Dirac as KerasDirac

        return KerasDirac(seed)


class PatchWhitening(Initializer):
    """Filters that whiten patches of the training images, measured on 5,000 of them; for the first layer.

    The patches' principal components, scaled to variance 1, and their negatives, those of the largest variance first
    (cifar10-airbench, Jordan 2024, arXiv:2404.00498). Usually with `trainable: false`.
    """

    leading: ClassVar[str | None] = "epsilon"
    ranks: ClassVar[tuple[int, int | None]] = (4, 4)

    epsilon: PositiveNumber = Field(
        default=5e-4, description="Added to each component's variance, so that faint noise is not blown up."
    )

    def call(self) -> Call:
        return replace(super().call(), function="PatchWhitening")

    def build(self, seed: int) -> Any:
        from cnnkit.layers.keras_initializers import PatchWhitening as KerasPatchWhitening

        return KerasPatchWhitening(self.epsilon)
