"""Metrics of the decision that a threshold makes for each class."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from cnnkit.config.objectives.losses import FROM_LOGITS
from cnnkit.config.objectives.metrics import Metric, Misfit, no_class, too_many
from cnnkit.format.base import invalid
from cnnkit.format.fields import (
    Fraction,
    NonNegativeInteger,
    NonNegativeNumber,
    PositiveInteger,
    PositiveNumber,
    Threshold,
)

_CLASS_ID = "Only this class, by its place among the classes, from 0 (folders: their names sorted as text)."

_THRESHOLDS = "Probability, or probabilities, from which a class counts as predicted; null for 0.5 or `top_k`."


class _Decision(Metric):
    needs_hard_labels: ClassVar[bool] = True


class BinaryAccuracy(_Decision):
    """Share of right yes-or-no decisions over all classes."""

    needs_probabilities: ClassVar[bool] = True

    threshold: Threshold = Field(default=0.5, description="Probability from which a class counts as predicted.")


#: Each is a count of its own, for every class.
MOST_THRESHOLDS = 100_000


class AUC(_Decision):
    """Area under the ROC or precision-recall curve."""

    num_thresholds: int = Field(default=200, ge=3, le=MOST_THRESHOLDS, description="Points of the curve.")
    curve: Literal["ROC", "PR", "PRGAIN"] = Field(default="ROC", description="Which curve.")
    summation_method: Literal["interpolation", "minoring", "majoring"] = Field(
        default="interpolation", description="How the area is summed."
    )
    thresholds: list[Threshold] | None = Field(
        default=None, min_length=1, description="Thresholds between 0 and 1 instead of `num_thresholds`."
    )
    multi_label: bool = Field(default=False, description="One curve per class, then the mean.")
    num_labels: PositiveInteger | None = Field(
        default=None, description="The data's number of classes, with `multi_label`; may be left out."
    )
    label_weights: list[NonNegativeNumber] | None = Field(
        default=None, description="Weight of each class: in the mean with `multi_label`, else in the one curve."
    )
    from_logits: bool | None = Field(default=None, description=FROM_LOGITS)

    @model_validator(mode="after")
    def _labels_of_several(self) -> Self:
        if self.num_labels is not None and not self.multi_label:
            raise invalid("`num_labels` needs `multi_label: true`", argument="num_labels")
        if self.label_weights is not None and not any(self.label_weights):
            raise invalid("all weights are 0; one at least must be above", argument="label_weights")
        return self

    def misfit(self, classes: int) -> Misfit | None:
        if self.num_labels not in (None, classes):
            message = f"expected the data's {classes} classes, got {self.num_labels}; leave it out"
            return Misfit("num_labels", message)
        if self.label_weights is not None and len(self.label_weights) != classes:
            message = f"expected {classes} weights, one per class, got {len(self.label_weights)}"
            return Misfit("label_weights", message)
        return None


class _PrecisionOrRecall(_Decision):
    needs_probabilities: ClassVar[bool] = True

    thresholds: Threshold | None = Field(default=None, description=_THRESHOLDS)
    top_k: PositiveInteger | None = Field(
        default=None, description="Count the k most probable classes; fewer than there are."
    )
    class_id: NonNegativeInteger | None = Field(default=None, description=_CLASS_ID)

    def misfit(self, classes: int) -> Misfit | None:
        return too_many("top_k", self.top_k, classes) or no_class(self.class_id, classes)


class Precision(_PrecisionOrRecall):
    """Share of predicted classes that are right."""


class Recall(_PrecisionOrRecall):
    """Share of true classes that are predicted."""


class _AtValue(_Decision):
    needs_probabilities: ClassVar[bool] = True

    num_thresholds: int = Field(default=200, ge=3, le=MOST_THRESHOLDS, description="Thresholds that are tried.")
    class_id: NonNegativeInteger | None = Field(default=None, description=_CLASS_ID)

    def misfit(self, classes: int) -> Misfit | None:
        return no_class(self.class_id, classes)


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
    specificity: float = Field(gt=0, le=1, description="The specificity that must be reached.")


class SpecificityAtSensitivity(_AtValue):
    """Best specificity at a sensitivity of at least `sensitivity`."""

    leading: ClassVar[str | None] = "sensitivity"
    sensitivity: float = Field(gt=0, le=1, description="The sensitivity that must be reached.")


class _Count(_Decision):
    needs_probabilities: ClassVar[bool] = True

    thresholds: Threshold | None = Field(default=None, description=_THRESHOLDS)


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


class FBetaScore(_Decision):
    """Weighted harmonic mean of precision and recall."""

    # Keras' default, one number per class, is no single column of metrics.csv.
    average: Literal["micro", "macro", "weighted"] = Field(
        default="macro", description="How the classes become one number (Keras' default gives one per class)."
    )
    beta: PositiveNumber = Field(default=1.0, description="Weight of recall.")
    threshold: Threshold | None = Field(default=None, description="Null counts the most probable class.")


class F1Score(_Decision):
    """Harmonic mean of precision and recall."""

    average: Literal["micro", "macro", "weighted"] = Field(
        default="macro", description="How the classes become one number (Keras' default gives one per class)."
    )
    threshold: Threshold | None = Field(default=None, description="Null counts the most probable class.")
