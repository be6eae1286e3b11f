"""Metrics by Keras' names, arguments and defaults. Labels are one-hot inside cnnkit."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from cnnkit.config.base import Fraction, NamedObject, NonNegativeInteger, PositiveInteger, PositiveNumber, Table
from cnnkit.config.losses import SPARSE

METRICS = Table(
    kind="metric",
    listed=True,
    package="cnnkit.config",
    modules={
        "metrics": (
            "CategoricalAccuracy",
            "TopKCategoricalAccuracy",
            "CategoricalCrossentropy",
            "CategoricalHinge",
            "BinaryAccuracy",
            "BinaryCrossentropy",
            "AUC",
            "Precision",
            "Recall",
            "PrecisionAtRecall",
            "RecallAtPrecision",
            "SensitivityAtSpecificity",
            "SpecificityAtSensitivity",
            "TruePositives",
            "TrueNegatives",
            "FalsePositives",
            "FalseNegatives",
            "F1Score",
            "FBetaScore",
            "KLDivergence",
            "Poisson",
            "CosineSimilarity",
            "Hinge",
            "SquaredHinge",
            "MeanSquaredError",
            "RootMeanSquaredError",
            "MeanAbsoluteError",
            "MeanAbsolutePercentageError",
            "MeanSquaredLogarithmicError",
            "LogCoshError",
            "R2Score",
            "PearsonCorrelation",
            "ConcordanceCorrelation",
        )
    },
    aliases={
        "categorical_accuracy": "CategoricalAccuracy",
        "top_k_categorical_accuracy": "TopKCategoricalAccuracy",
        "categorical_crossentropy": "CategoricalCrossentropy",
        "categorical_hinge": "CategoricalHinge",
        "binary_accuracy": "BinaryAccuracy",
        "binary_crossentropy": "BinaryCrossentropy",
        "kl_divergence": "KLDivergence",
        "poisson": "Poisson",
        "cosine_similarity": "CosineSimilarity",
        "hinge": "Hinge",
        "squared_hinge": "SquaredHinge",
        "mean_squared_error": "MeanSquaredError",
        "root_mean_squared_error": "RootMeanSquaredError",
        "mean_absolute_error": "MeanAbsoluteError",
        "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
        "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
        "pearson_correlation": "PearsonCorrelation",
        "concordance_correlation": "ConcordanceCorrelation",
        "bce": "BinaryCrossentropy",
        "mse": "MeanSquaredError",
        "mae": "MeanAbsoluteError",
        "mape": "MeanAbsolutePercentageError",
        "msle": "MeanSquaredLogarithmicError",
    },
    unavailable={
        "accuracy": "it is always measured",
        "Accuracy": "it compares labels, not probabilities; accuracy is always measured",
        "SparseCategoricalAccuracy": SPARSE,
        "SparseTopKCategoricalAccuracy": SPARSE,
        "SparseCategoricalCrossentropy": SPARSE,
        "IoU": "it is for segmentation",
        "MeanIoU": "it is for segmentation",
        "BinaryIoU": "it is for segmentation",
        "OneHotIoU": "it is for segmentation",
        "OneHotMeanIoU": "it is for segmentation",
        "sparse_categorical_accuracy": SPARSE,
        "sparse_top_k_categorical_accuracy": SPARSE,
        "sparse_categorical_crossentropy": SPARSE,
        "Mean": "it averages a value, not a prediction",
        "Sum": "it adds up a value, not a prediction",
    },
)


#: Keras' names that are not the class name in small letters.
_IRREGULAR_NAMES = {
    "AUC": "auc",
    "F1Score": "f1_score",
    "FBetaScore": "fbeta_score",
    "R2Score": "r2_score",
    "LogCoshError": "logcosh",
    "KLDivergence": "kl_divergence",
}


class Metric(NamedObject):
    """What each epoch measures on training and validation batches, beside loss and accuracy."""

    #: Whether it is meaningless on a network that ends without softmax or sigmoid.
    needs_probabilities: ClassVar[bool] = False
    #: Whether Keras cannot tell if larger or smaller is better.
    has_no_direction: ClassVar[bool] = False

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_]+$",
        description="Column name in metrics.csv; by default Keras' name.",
    )

    @property
    def column(self) -> str:
        """The metric's name in metrics.csv, and the one to monitor: its own, else Keras'."""
        kind = type(self).__name__
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind)
        return self.name or _IRREGULAR_NAMES.get(kind) or words.lstrip("_")

    def build(self, from_logits: bool) -> Any:
        """The Keras metric; `from_logits` is for those that need probabilities told apart from logits.

        Its name is always `column`: Keras itself would call the second Precision of a process `precision_1`.
        """
        import keras

        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        if "from_logits" in arguments and arguments["from_logits"] is None:
            arguments["from_logits"] = from_logits
        arguments["name"] = self.column
        return getattr(keras.metrics, type(self).__name__)(**arguments)


_FROM_LOGITS = "Whether the model's output is before the softmax or sigmoid; follows the head where it is left out."
_THRESHOLDS = "Probability, or probabilities, from which a class counts as predicted; null for 0.5 or `top_k`."


class CategoricalAccuracy(Metric):
    """Share of images whose most probable class is the true one."""


class TopKCategoricalAccuracy(Metric):
    """Share of images whose true class is among the k most probable."""

    leading: ClassVar[str | None] = "k"
    k: PositiveInteger = Field(default=5, description="How many classes count.")


class _Crossentropy(Metric):
    from_logits: bool | None = Field(default=None, description=_FROM_LOGITS)
    label_smoothing: Fraction = Field(default=0, description="How far labels are moved towards uniform.")


class CategoricalCrossentropy(_Crossentropy):
    """Cross-entropy between one-hot labels and class probabilities."""

    axis: int = Field(default=-1, description="The axis of the classes.")


class BinaryCrossentropy(_Crossentropy):
    """Cross-entropy of each class on its own."""


class CategoricalHinge(Metric):
    """Largest margin between the true class and the others."""


class BinaryAccuracy(Metric):
    """Share of right yes-or-no decisions over all classes."""

    needs_probabilities: ClassVar[bool] = True

    threshold: Fraction = Field(default=0.5, description="Probability from which a class counts as predicted.")


class AUC(Metric):
    """Area under the ROC or precision-recall curve."""

    num_thresholds: int = Field(default=200, ge=2, description="Points of the curve.")
    curve: Literal["ROC", "PR", "PRGAIN"] = Field(default="ROC", description="Which curve.")
    summation_method: Literal["interpolation", "minoring", "majoring"] = Field(
        default="interpolation", description="How the area is summed."
    )
    thresholds: list[Fraction] | None = Field(default=None, description="Thresholds instead of `num_thresholds`.")
    multi_label: bool = Field(default=False, description="One curve per class, then the mean.")
    num_labels: PositiveInteger | None = Field(default=None, description="Classes, with `multi_label`.")
    label_weights: list[float] | None = Field(default=None, description="Weight of each class in the mean.")
    from_logits: bool | None = Field(default=None, description=_FROM_LOGITS)


class _PrecisionOrRecall(Metric):
    needs_probabilities: ClassVar[bool] = True

    thresholds: Fraction | None = Field(default=None, description=_THRESHOLDS)
    top_k: PositiveInteger | None = Field(default=None, description="Count the k most probable classes.")
    class_id: NonNegativeInteger | None = Field(default=None, description="Only this class, by number.")


class Precision(_PrecisionOrRecall):
    """Share of predicted classes that are right."""


class Recall(_PrecisionOrRecall):
    """Share of true classes that are predicted."""


class _AtValue(Metric):
    needs_probabilities: ClassVar[bool] = True

    num_thresholds: PositiveInteger = Field(default=200, description="Thresholds that are tried.")
    class_id: NonNegativeInteger | None = Field(default=None, description="Only this class, by number.")


class PrecisionAtRecall(_AtValue):
    """Best precision at a recall of at least `recall`."""

    leading: ClassVar[str | None] = "recall"
    recall: Fraction = Field(description="The recall that must be reached.")


class RecallAtPrecision(_AtValue):
    """Best recall at a precision of at least `precision`."""

    leading: ClassVar[str | None] = "precision"
    precision: Fraction = Field(description="The precision that must be reached.")


class SensitivityAtSpecificity(_AtValue):
    """Best sensitivity at a specificity of at least `specificity`."""

    leading: ClassVar[str | None] = "specificity"
    specificity: Fraction = Field(description="The specificity that must be reached.")


class SpecificityAtSensitivity(_AtValue):
    """Best specificity at a sensitivity of at least `sensitivity`."""

    leading: ClassVar[str | None] = "sensitivity"
    sensitivity: Fraction = Field(description="The sensitivity that must be reached.")


class _Count(Metric):
    needs_probabilities: ClassVar[bool] = True
    has_no_direction: ClassVar[bool] = True

    thresholds: Fraction | None = Field(default=None, description=_THRESHOLDS)


class TruePositives(_Count):
    """How many predicted classes are right."""


class TrueNegatives(_Count):
    """How many classes are rightly not predicted."""


class FalsePositives(_Count):
    """How many predicted classes are wrong."""


class FalseNegatives(_Count):
    """How many true classes are not predicted."""


class FBetaScore(Metric):
    """Weighted harmonic mean of precision and recall."""

    # Keras' default, one number per class, is no single column of metrics.csv.
    average: Literal["micro", "macro", "weighted"] = Field(
        default="macro", description="How the classes become one number (Keras' default gives one per class)."
    )
    beta: PositiveNumber = Field(default=1.0, description="Weight of recall.")
    threshold: float | None = Field(default=None, gt=0, le=1, description="Null counts the most probable class.")


class F1Score(Metric):
    """Harmonic mean of precision and recall."""

    average: Literal["micro", "macro", "weighted"] = Field(
        default="macro", description="How the classes become one number (Keras' default gives one per class)."
    )
    threshold: float | None = Field(default=None, gt=0, le=1, description="Null counts the most probable class.")


class KLDivergence(Metric):
    """Kullback-Leibler divergence."""

    needs_probabilities: ClassVar[bool] = True
    has_no_direction: ClassVar[bool] = True


class Poisson(Metric):
    """Poisson loss."""

    needs_probabilities: ClassVar[bool] = True
    has_no_direction: ClassVar[bool] = True


class _AlongAxis(Metric):
    axis: int = Field(default=-1, description="The axis of the classes.")


class CosineSimilarity(_AlongAxis):
    """Cosine between output and one-hot labels."""


class PearsonCorrelation(_AlongAxis):
    """Pearson correlation between output and one-hot labels."""


class ConcordanceCorrelation(_AlongAxis):
    """Concordance correlation between output and one-hot labels."""


class Hinge(Metric):
    """Hinge loss of each class on its own."""


class SquaredHinge(Metric):
    """Squared hinge loss of each class on its own."""


class MeanSquaredError(Metric):
    """Mean of squared differences to the one-hot labels."""


class RootMeanSquaredError(Metric):
    """Root of the mean squared difference."""


class MeanAbsoluteError(Metric):
    """Mean of absolute differences."""


class MeanAbsolutePercentageError(Metric):
    """Mean of relative differences."""


class MeanSquaredLogarithmicError(Metric):
    """Mean of squared differences of logarithms."""


class LogCoshError(Metric):
    """Logarithm of the hyperbolic cosine of the difference."""


class R2Score(Metric):
    """Coefficient of determination."""

    class_aggregation: Literal["uniform_average", "variance_weighted_average"] = Field(
        default="uniform_average", description="How the classes become one number."
    )
    num_regressors: NonNegativeInteger = Field(default=0, description="For the adjusted score; 0 for the plain one.")
