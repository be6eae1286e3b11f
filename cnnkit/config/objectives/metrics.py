"""Metrics by Keras' names, arguments and defaults. Labels are one-hot inside cnnkit."""

from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from cnnkit.config.objectives.losses import SPARSE
from cnnkit.format.base import NamedObject, Table

#: Why Keras' metrics of masks are not in the table.
MASKS = "it compares masks, whose mean IoU is always measured"

METRICS = Table(
    kind="metric",
    listed=True,
    package="cnnkit.config.objectives",
    modules={
        "accuracy_metrics": (
            "CategoricalAccuracy",
            "TopKCategoricalAccuracy",
            "CategoricalCrossentropy",
            "BinaryCrossentropy",
        ),
        "decision_metrics": (
            "BinaryAccuracy",
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
        ),
        "distance_metrics": (
            "CategoricalHinge",
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
        ),
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
        "IoU": MASKS,
        "MeanIoU": MASKS,
        "BinaryIoU": MASKS,
        "OneHotIoU": MASKS,
        "OneHotMeanIoU": MASKS,
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


class Misfit(NamedTuple):
    """Why an argument of a metric cannot be meant for the data's classes."""

    argument: str
    message: str


def too_many(argument: str, received: int | None, classes: int) -> Misfit | None:
    """The misfit of a number of classes that leaves none out."""
    if received is None or received < classes:
        return None
    message = f"expected fewer than the {classes} classes of the data, got {received}: the metric would be a constant"
    return Misfit(argument, message)


def no_class(class_id: int | None, classes: int) -> Misfit | None:
    """The misfit of a class's number."""
    if class_id is None or class_id < classes:
        return None
    return Misfit("class_id", f"there is no class {class_id}; the data have {classes}, counted from 0")


class Metric(NamedObject):
    """What each epoch measures on training and validation batches, besides loss and accuracy."""

    #: Whether it is meaningless on a network that ends without softmax or sigmoid.
    needs_probabilities: ClassVar[bool] = False
    #: Whether it tells positive labels from negative ones: a mixed label (MixUp, CutMix) is neither.
    needs_hard_labels: ClassVar[bool] = False
    #: Whether its largest or its smallest value is the best.
    better: ClassVar[Literal["max", "min"]] = "max"

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

    def misfit(self, classes: int) -> Misfit | None:
        """Why an argument cannot be meant for so many classes; None if all can."""
        return None

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
