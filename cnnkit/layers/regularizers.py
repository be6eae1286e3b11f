"""What the size of weights costs."""

from typing import ClassVar, Literal

from pydantic import Field

from cnnkit.format.fields import NonNegativeNumber
from cnnkit.layers.weights import WeightObject


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
