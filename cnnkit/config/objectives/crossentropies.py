"""The cross-entropy losses."""

from pydantic import Field

from cnnkit.config.objectives.losses import FROM_LOGITS, Loss
from cnnkit.format.fields import ClassAxis, Fraction, NonNegativeNumber, Rate


class _Crossentropy(Loss):
    from_logits: bool | None = Field(default=None, description=FROM_LOGITS)
    label_smoothing: Rate = Field(
        default=0.0,
        description="Smoothing in training and validation alike; `training.label_smoothing` leaves validation alone.",
    )
    axis: ClassAxis = Field(default=-1, description="The axis of the classes.")


class CategoricalCrossentropy(_Crossentropy):
    """Cross-entropy between one-hot labels and class probabilities."""


class BinaryCrossentropy(_Crossentropy):
    """Cross-entropy of each class on its own, for a sigmoid head."""


class CategoricalFocalCrossentropy(_Crossentropy):
    """Cross-entropy that weighs easy images down (Lin 2017)."""

    alpha: float = Field(default=0.25, gt=0, le=1, description="Weight of each class.")
    gamma: NonNegativeNumber = Field(default=2.0, description="How much easy images are weighed down.")


class BinaryFocalCrossentropy(_Crossentropy):
    """Binary cross-entropy that weighs easy images down (Lin 2017)."""

    apply_class_balancing: bool = Field(default=False, description="Whether `alpha` weighs the classes.")
    alpha: Fraction = Field(default=0.25, description="Weight of the positive class.")
    gamma: NonNegativeNumber = Field(default=2.0, description="How much easy images are weighed down.")
