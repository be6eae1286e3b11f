"""How weights start: the initializers that are defaults of a layer, and He's."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.format.base import invalid
from cnnkit.format.fields import is_whole
from cnnkit.layers.weights import WeightAxes, WeightObject, refuse_seed


class Initializer(WeightObject):
    module: ClassVar[str] = "initializers"


class SeededInitializer(Initializer):
    takes_seed: ClassVar[bool] = True

    _no_seed = model_validator(mode="before")(refuse_seed)


class Zeros(Initializer):
    """All weights 0."""


class Ones(Initializer):
    """All weights 1."""


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
    def _both_axes(self) -> Self:
        for name in ("input_axes", "output_axes"):
            if is_whole(getattr(self, name)):
                raise invalid(f"`{name}` needs a list of axes, such as [0, 1]")
        if (self.input_axes is None) != (self.output_axes is None):
            raise invalid("`input_axes` and `output_axes` only work together; Keras ignores one alone")
        return self


class GlorotUniform(FanInitializer):
    """Uniform within +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010). Keras' default."""


class HeNormal(FanInitializer):
    """Truncated normal, variance 2 / inputs (He et al. 2015, arXiv:1502.01852); for ReLU networks."""


#: The defaults of Keras' layers.
ZEROS = Zeros.with_defaults()
ONES = Ones.with_defaults()
GLOROT_UNIFORM = GlorotUniform.with_defaults()
