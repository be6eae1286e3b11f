"""Losses by Keras' names, arguments and defaults. Labels are one-hot inside cnnkit."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from cnnkit.format.base import NamedObject, Table

#: Why Keras' sparse losses and metrics are not in the tables.
SPARSE = "labels are one-hot here; leave `Sparse` out of the name"

LOSSES = Table(
    kind="loss",
    package="cnnkit.config.objectives",
    modules={
        "crossentropies": (
            "CategoricalCrossentropy",
            "BinaryCrossentropy",
            "CategoricalFocalCrossentropy",
            "BinaryFocalCrossentropy",
        ),
        "distance_losses": (
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
        ),
        "sums": ("Sum",),
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
        "CrossEntropy": "write `CategoricalCrossentropy`",
        "CrossEntropyLoss": "write `CategoricalCrossentropy`",
        "Crossentropy": "write `CategoricalCrossentropy`",
        "NLLLoss": "write `CategoricalCrossentropy`",
        "BCELoss": "write `BinaryCrossentropy`",
        "BCEWithLogitsLoss": "write `BinaryCrossentropy`",
        "MSELoss": "write `MeanSquaredError`",
        "L1Loss": "write `MeanAbsoluteError`",
        "SmoothL1Loss": "write `Huber`",
        "FocalLoss": "write `CategoricalFocalCrossentropy`",
        "DiceLoss": "write `Dice`",
        "LabelSmoothing": "write `CategoricalCrossentropy`, and `training.label_smoothing`",
        "SparseCategoricalCrossentropy": SPARSE,
        "sparse_categorical_crossentropy": SPARSE,
        "CTC": "it is for sequences",
        "ctc": "it is for sequences",
    },
)

FROM_LOGITS = "Whether the model's output is before the softmax or sigmoid; follows the head where it is left out."


class Loss(NamedObject):
    """What training minimises; a mean over the batch unless `reduction` says otherwise."""

    #: Whether it is meaningless on a network that ends without softmax or sigmoid.
    needs_probabilities: ClassVar[bool] = False
    #: Whether it knows only labels of 0 and 1, and is another function of smoothed or mixed ones.
    needs_hard_labels: ClassVar[bool] = False
    #: Whether smoothed labels have no effect on it.
    ignores_smoothing: ClassVar[bool] = False

    reduction: Literal["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"] = Field(
        default="sum_over_batch_size", description="How the images' losses become one number."
    )

    @property
    def is_per_image(self) -> bool:
        """Whether it is one number for each image, which class weights can weigh."""
        return True

    def parts(self) -> "list[tuple[float, Loss]]":
        """The losses whose weighted sum it is, each with its weight: itself, but for a sum."""
        return [(1.0, self)]

    def build(self, from_logits: bool) -> Any:
        """The Keras loss; `from_logits` holds where the config does not say."""
        import keras

        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        if "from_logits" in arguments and arguments["from_logits"] is None:
            arguments["from_logits"] = from_logits
        return getattr(keras.losses, type(self).__name__)(**arguments)
