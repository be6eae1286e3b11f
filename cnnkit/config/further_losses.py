"""The losses beside cross-entropy."""

from typing import Any, ClassVar

from pydantic import Field

from cnnkit.config.base import Axis, Fraction, NonNegativeNumber, PositiveNumber
from cnnkit.config.losses import Loss


class _OnClassNumbers(Loss):
    """A loss for which Keras wants class numbers: the one-hot labels are turned into them.

    A mixed label (MixUp, CutMix) counts as its largest part.
    """

    ignores_smoothing: ClassVar[bool] = True

    def build(self, from_logits: bool) -> Any:
        import keras

        loss = super().build(from_logits)
        on_numbers = loss.call
        loss.call = lambda y_true, y_pred: on_numbers(keras.ops.argmax(y_true, axis=-1), y_pred)
        return loss


class CategoricalGeneralizedCrossEntropy(_OnClassNumbers):
    """Cross-entropy that stands noisy labels (Zhang & Sabuncu 2018)."""

    needs_probabilities: ClassVar[bool] = True

    q: float = Field(default=0.5, gt=0, lt=1, description="0 is cross-entropy, 1 is mean absolute error.")


class CategoricalHinge(Loss):
    """Largest margin between the true class and the others."""


class Hinge(Loss):
    """Hinge loss of each class on its own."""


class SquaredHinge(Loss):
    """Squared hinge loss of each class on its own."""


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

    axis: Axis = Field(default=-1, description="The axis of the classes.")


class Dice(Loss):
    """One minus the Dice coefficient."""

    needs_probabilities: ClassVar[bool] = True

    axis: list[Axis] | None = Field(default=None, description="Axes over which it is taken; null for all.")


class Tversky(Loss):
    """One minus the Tversky index."""

    needs_probabilities: ClassVar[bool] = True

    alpha: Fraction = Field(default=0.5, description="Weight of false positives.")
    beta: Fraction = Field(default=0.5, description="Weight of false negatives.")
    axis: list[Axis] | None = Field(default=None, description="Axes over which it is taken; null for all.")


class Circle(_OnClassNumbers):
    """Circle loss (Sun 2020)."""

    gamma: NonNegativeNumber = Field(default=80.0, description="Scale of the similarities.")
    margin: Fraction = Field(default=0.4, description="Margin between classes.")
    remove_diagonal: bool = Field(default=True, description="Leave out each image's similarity to itself.")
