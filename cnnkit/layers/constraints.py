"""What weights may become."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.format.base import invalid
from cnnkit.format.fields import Fraction, NonNegativeNumber
from cnnkit.layers.weights import WeightAxes, WeightObject

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
    def _ordered(self) -> Self:
        if self.max_value < self.min_value:
            raise invalid(f"`max_value` ({self.max_value}) must be at least `min_value` ({self.min_value})")
        return self


class NonNeg(Constraint):
    """Sets negative weights to 0."""


class UnitNorm(Constraint):
    """Scales weights to norm 1."""

    leading: ClassVar[str | None] = "axis"

    axis: WeightAxes = Field(default=0, description=_NORM_AXIS)
