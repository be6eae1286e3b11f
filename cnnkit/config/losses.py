"""Losses by Keras' names, arguments and defaults. Labels are one-hot inside cnnkit."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from cnnkit.config.base import Fraction, NamedObject, NonNegativeNumber, Table

#: Why Keras' sparse losses and metrics are not in the tables.
SPARSE = "labels are one-hot here; leave `Sparse` out of the name"

LOSSES = Table(
    kind="loss",
    package="cnnkit.config",
    modules={
        "losses": (
            "CategoricalCrossentropy",
            "BinaryCrossentropy",
            "CategoricalFocalCrossentropy",
            "BinaryFocalCrossentropy",
            "CategoricalGeneralizedCrossEntropy",
            "CategoricalHinge",
            "Hinge",
            "SquaredHinge",
            "KLDivergence",
            "Poisson",
            "MeanSquaredError",
            "MeanAbsoluteError",
            "MeanAbsolutePercentageError",
            "MeanSquaredLogarithmicError",
            "LogCosh",
            "Huber",
            "CosineSimilarity",
            "Dice",
            "Tversky",
            "Circle",
        )
    },
    aliases={
        "categorical_crossentropy": "CategoricalCrossentropy",
        "binary_crossentropy": "BinaryCrossentropy",
        "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
        "binary_focal_crossentropy": "BinaryFocalCrossentropy",
        "categorical_generalized_cross_entropy": "CategoricalGeneralizedCrossEntropy",
        "categorical_hinge": "CategoricalHinge",
        "hinge": "Hinge",
        "squared_hinge": "SquaredHinge",
        "kl_divergence": "KLDivergence",
        "poisson": "Poisson",
        "mean_squared_error": "MeanSquaredError",
        "mean_absolute_error": "MeanAbsoluteError",
        "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
        "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
        "log_cosh": "LogCosh",
        "huber": "Huber",
        "cosine_similarity": "CosineSimilarity",
        "dice": "Dice",
        "tversky": "Tversky",
        "circle": "Circle",
        "bce": "BinaryCrossentropy",
        "kld": "KLDivergence",
        "mse": "MeanSquaredError",
        "mae": "MeanAbsoluteError",
        "mape": "MeanAbsolutePercentageError",
        "msle": "MeanSquaredLogarithmicError",
    },
    unavailable={
        "SparseCategoricalCrossentropy": SPARSE,
        "sparse_categorical_crossentropy": SPARSE,
        "CTC": "it is for sequences",
        "ctc": "it is for sequences",
    },
)

_FROM_LOGITS = "Whether the model's output is before the softmax or sigmoid; follows the head where it is left out."


class Loss(NamedObject):
    """What training minimises; a mean over the batch unless `reduction` says otherwise."""

    #: Whether it is meaningless on a network that ends without softmax or sigmoid.
    needs_probabilities: ClassVar[bool] = False
    #: Whether smoothed labels have no effect on it.
    ignores_smoothing: ClassVar[bool] = False

    reduction: Literal["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"] = Field(
        default="sum_over_batch_size", description="How the images' losses become one number."
    )

    def build(self, from_logits: bool) -> Any:
        """The Keras loss; `from_logits` holds where the config does not say."""
        import keras

        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        if "from_logits" in arguments and arguments["from_logits"] is None:
            arguments["from_logits"] = from_logits
        return getattr(keras.losses, type(self).__name__)(**arguments)


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


class _Crossentropy(Loss):
    from_logits: bool | None = Field(default=None, description=_FROM_LOGITS)
    label_smoothing: Fraction = Field(
        default=0.0,
        description="Smoothing in training and validation alike; `training.label_smoothing` leaves validation alone.",
    )
    axis: int = Field(default=-1, description="The axis of the classes.")


class CategoricalCrossentropy(_Crossentropy):
    """Cross-entropy between one-hot labels and class probabilities."""


class BinaryCrossentropy(_Crossentropy):
    """Cross-entropy of each class on its own, for a sigmoid head."""


class CategoricalFocalCrossentropy(_Crossentropy):
    """Cross-entropy that weighs easy images down (Lin 2017)."""

    alpha: Fraction = Field(default=0.25, description="Weight of each class.")
    gamma: NonNegativeNumber = Field(default=2.0, description="How much easy images are weighed down.")


class BinaryFocalCrossentropy(_Crossentropy):
    """Binary cross-entropy that weighs easy images down (Lin 2017)."""

    apply_class_balancing: bool = Field(default=False, description="Whether `alpha` weighs the classes.")
    alpha: Fraction = Field(default=0.25, description="Weight of the positive class.")
    gamma: NonNegativeNumber = Field(default=2.0, description="How much easy images are weighed down.")


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

    delta: float = Field(default=1.0, gt=0, description="Where squared turns into absolute.")


class CosineSimilarity(Loss):
    """Negative cosine between output and one-hot labels."""

    axis: int = Field(default=-1, description="The axis of the classes.")


class Dice(Loss):
    """One minus the Dice coefficient."""

    needs_probabilities: ClassVar[bool] = True

    axis: list[int] | None = Field(default=None, description="Axes over which it is taken; null for all.")


class Tversky(Loss):
    """One minus the Tversky index."""

    needs_probabilities: ClassVar[bool] = True

    alpha: Fraction = Field(default=0.5, description="Weight of false positives.")
    beta: Fraction = Field(default=0.5, description="Weight of false negatives.")
    axis: list[int] | None = Field(default=None, description="Axes over which it is taken; null for all.")


class Circle(_OnClassNumbers):
    """Circle loss (Sun 2020)."""

    gamma: NonNegativeNumber = Field(default=80.0, description="Scale of the similarities.")
    margin: Fraction = Field(default=0.4, description="Margin between classes.")
    remove_diagonal: bool = Field(default=True, description="Leave out each image's similarity to itself.")
