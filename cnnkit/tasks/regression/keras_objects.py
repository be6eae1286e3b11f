"""The Keras loss of numbers. Imported where a network is trained."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class StandardizedLoss(keras.losses.Loss):
    """A loss of numbers as distances from their means, in standard deviations.

    Args:
        loss: The Keras loss of these.
        means, deviations: One for each number.
    """

    def __init__(self, loss: Any, means: Sequence[float], deviations: Sequence[float]) -> None:
        super().__init__(name="loss")
        self.loss = loss
        self.means, self.deviations = list(means), list(deviations)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch; `y_true` and `y_pred` [batch, numbers]."""
        return self.loss(self._standardized(y_true), self._standardized(y_pred), sample_weight)

    def _standardized(self, values: Any) -> Any:
        means = ops.convert_to_tensor(self.means, dtype="float32")
        deviations = ops.convert_to_tensor(self.deviations, dtype="float32")
        return (ops.cast(values, "float32") - means) / deviations
