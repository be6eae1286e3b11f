"""Labels that are not just one class: smoothed ones in training's loss, and what metrics make of mixed ones.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

from typing import Any

import keras


class SmoothedTraining(keras.Sequential):
    """A Sequential model whose training loss sees smoothed labels (Szegedy 2015, arXiv:1512.00567).

    Keras' losses smooth in validation too, and smoothed targets would falsify the training metrics.

    Args:
        layers: The layers.
        name: The model's name.
        smoothing: Share of each label that is spread, from 0 to below 1.
        uniform: What it is spread to: 1 / classes for a softmax, 0.5 for a sigmoid.
    """

    def __init__(self, layers: Any = None, name: str | None = None, *, smoothing: float, uniform: float) -> None:
        super().__init__(layers, name=name)
        self.smoothing = smoothing
        self.uniform = uniform

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        if training:
            y = y * (1.0 - self.smoothing) + self.smoothing * self.uniform
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def on_hard_labels(metric: Any) -> Any:
    """A metric that counts a mixed image as the class with the larger share, as accuracy does."""
    update = metric.update_state

    def update_state(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        hard = keras.ops.one_hot(keras.ops.argmax(y_true, axis=-1), y_true.shape[-1], dtype=y_true.dtype)
        return update(hard, y_pred, sample_weight=sample_weight)

    metric.update_state = update_state
    return metric
