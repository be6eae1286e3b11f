"""The losses beside cross-entropy."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.config.objectives.losses import Loss
from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import ClassAxis, Fraction, PositiveNumber, is_whole


class _OnClassNumbers(Loss):
    """A loss for which Keras wants class numbers: the one-hot labels are turned into them.

    A mixed label (MixUp, CutMix) counts as its largest part.
    """

    ignores_smoothing: ClassVar[bool] = True

    def build(self, from_logits: bool) -> Any:
        from cnnkit.config.objectives.class_numbers import on_class_numbers

        return on_class_numbers(super().build(from_logits))


class CategoricalGeneralizedCrossEntropy(_OnClassNumbers):
    """Cross-entropy that stands noisy labels (Zhang & Sabuncu 2018)."""

    needs_probabilities: ClassVar[bool] = True

    q: float = Field(default=0.5, gt=0, lt=1, description="0 is cross-entropy, 1 is mean absolute error.")


class CategoricalHinge(Loss):
    """Largest margin between the true class and the others."""


class Hinge(Loss):
    """Hinge loss of each class on its own."""

    needs_hard_labels: ClassVar[bool] = True


class SquaredHinge(Loss):
    """Squared hinge loss of each class on its own."""

    needs_hard_labels: ClassVar[bool] = True


class KLDivergence(Loss):
    """Kullback-Leibler divergence."""

    needs_probabilities: ClassVar[bool] = True


class Poisson(Loss):
    """Poisson loss."""

    needs_probabilities: ClassVar[bool] = True


class MeanSquaredError(Loss):
    """Mean of squared differences to the one-hot labels."""


class MeanAbsoluteError(Loss):
    """Mean of absolute differences to the one-hot labels."""


class MeanAbsolutePercentageError(Loss):
    """Mean of relative differences."""


class MeanSquaredLogarithmicError(Loss):
    """Mean of squared differences of logarithms."""


class LogCosh(Loss):
    """Logarithm of the hyperbolic cosine of the difference."""


class Huber(Loss):
    """Squared near zero, absolute beyond `delta`."""

    delta: PositiveNumber = Field(default=1.0, description="Where squared turns into absolute.")


class CosineSimilarity(Loss):
    """Negative cosine between output and one-hot labels."""

    axis: ClassAxis = Field(default=-1, description="The axis of the classes.")


def _axes(value: Any) -> Any:
    """Some of the axes of [batch, classes], each once, or None."""
    if value is None:
        return None
    if (
        isinstance(value, list)
        and all(is_whole(axis) and -2 <= axis <= 1 for axis in value)
        and len({axis % 2 for axis in value}) == len(value)
    ):
        return value
    raise invalid(
        "expected [0] (one value for each class, over the batch), [1] (one for each image) or null (one in all), the "
        f"axes of [batch, classes]; got {describe(value)}"
    )


class _OverAxes(Loss):
    needs_probabilities: ClassVar[bool] = True

    axis: Annotated[
        list[int] | None,
        PlainValidator(_axes),
        WithJsonSchema({"anyOf": [{"type": "array", "items": {"enum": [-2, -1, 0, 1]}}, {"type": "null"}]}),
    ] = Field(default=None, description="Axes of [batch, classes] over which it is taken; null for all.")

    @property
    def is_per_image(self) -> bool:
        return self.axis in ([1], [-1])


class Dice(_OverAxes):
    """One minus the Dice coefficient."""


class Tversky(_OverAxes):
    """One minus the Tversky index."""

    alpha: Fraction = Field(
        default=0.5,
        description="Weight of false negatives: what Keras 3.15 computes, although it documents false positives.",
    )
    beta: Fraction = Field(default=0.5, description="Weight of false positives, likewise.")

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if not self.alpha and not self.beta:
            raise invalid("`alpha` and `beta` are both 0: the loss would be 0 whatever the network says")
        return self


class Circle(_OnClassNumbers):
    """Circle loss (Sun 2020)."""

    gamma: PositiveNumber = Field(default=80.0, description="Scale of the similarities.")
    margin: Fraction = Field(default=0.4, description="Margin between classes.")
    remove_diagonal: bool = Field(default=True, description="Leave out each image's similarity to itself.")
