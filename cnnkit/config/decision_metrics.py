"""Metrics of the decision that a threshold makes for each class."""

from typing import ClassVar, Literal

from pydantic import Field

from cnnkit.config.base import Fraction, NonNegativeInteger, Number, PositiveInteger, PositiveNumber
from cnnkit.config.losses import FROM_LOGITS
from cnnkit.config.metrics import Metric

_THRESHOLDS = "Probability, or probabilities, from which a class counts as predicted; null for 0.5 or `top_k`."


class BinaryAccuracy(Metric):
    """Share of right yes-or-no decisions over all classes."""

    needs_probabilities: ClassVar[bool] = True

    threshold: Fraction = Field(default=0.5, description="Probability from which a class counts as predicted.")


#: Each is a count of its own, for every class.
MOST_THRESHOLDS = 100_000


class AUC(Metric):
    """Area under the ROC or precision-recall curve."""

    num_thresholds: int = Field(default=200, ge=2, le=MOST_THRESHOLDS, description="Points of the curve.")
    curve: Literal["ROC", "PR", "PRGAIN"] = Field(default="ROC", description="Which curve.")
    summation_method: Literal["interpolation", "minoring", "majoring"] = Field(
        default="interpolation", description="How the area is summed."
    )
    thresholds: list[Fraction] | None = Field(default=None, description="Thresholds instead of `num_thresholds`.")
    multi_label: bool = Field(default=False, description="One curve per class, then the mean.")
    num_labels: PositiveInteger | None = Field(default=None, description="Classes, with `multi_label`.")
    label_weights: list[Number] | None = Field(default=None, description="Weight of each class in the mean.")
    from_logits: bool | None = Field(default=None, description=FROM_LOGITS)


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

    num_thresholds: int = Field(default=200, ge=1, le=MOST_THRESHOLDS, description="Thresholds that are tried.")
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

    thresholds: Fraction | None = Field(default=None, description=_THRESHOLDS)


class TruePositives(_Count):
    """How many predicted classes are right."""


class TrueNegatives(_Count):
    """How many classes are rightly not predicted."""


class FalsePositives(_Count):
    """How many predicted classes are wrong."""

    better: ClassVar[Literal["max", "min"]] = "min"


class FalseNegatives(_Count):
    """How many true classes are not predicted."""

    better: ClassVar[Literal["max", "min"]] = "min"


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
