"""What each epoch measures of labels, as Keras metrics. Imported where a network is trained."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

#: Log-odds are counted in steps of this size up to this bound: probabilities from 1e-7 to 1 - 1e-7.
_STEP, _BOUND = 0.002, 16.0
_BINS = 2 * round(_BOUND / _STEP) + 1


class MeanAveragePrecision(keras.metrics.Metric):
    """The mean over the labels of their average precision, as scikit-learn defines it.

    Average precision is the sum over the distinct scores, from the highest down, of the gain in recall times the
    precision. To need no memory for all scores of a split, log-odds are rounded to 0.002 before they are compared; an
    image whose label is mixed counts in part. A label that no image has counts in no mean.

    Args:
        labels: How many.
        from_logits: Whether the network outputs log-odds rather than probabilities.
    """

    def __init__(self, labels: int, from_logits: bool) -> None:
        super().__init__(name="mean_average_precision")
        self.labels = labels
        self.from_logits = from_logits
        self.positives = self.add_weight(shape=(labels, _BINS), initializer="zeros", name="positives", dtype="float32")
        self.negatives = self.add_weight(shape=(labels, _BINS), initializer="zeros", name="negatives", dtype="float32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true, y_pred: [batch, labels].
            sample_weight: Has no meaning here.
        """
        truth = ops.cast(y_true, "float32")
        scores = ops.cast(y_pred, "float32")
        if not self.from_logits:
            # Within float32's range; the bound cuts off what is closer to 0 and 1.
            held = ops.clip(scores, 1e-8, 1 - 6e-8)
            scores = ops.log(held) - ops.log1p(-held)
        bins = ops.cast(ops.round((ops.clip(scores, -_BOUND, _BOUND) + _BOUND) / _STEP), "int32")
        places = ops.reshape(bins + _BINS * ops.arange(self.labels, dtype="int32"), (-1,))
        for counts, marks in ((self.positives, truth), (self.negatives, 1 - truth)):
            added = ops.segment_sum(ops.reshape(marks, (-1,)), places, num_segments=self.labels * _BINS)
            counts.assign_add(ops.reshape(added, (self.labels, _BINS)))

    def result(self) -> Any:
        positives, negatives = ops.flip(self.positives, axis=1), ops.flip(self.negatives, axis=1)
        right, wrong = ops.cumsum(positives, axis=1), ops.cumsum(negatives, axis=1)
        precision = ops.divide_no_nan(right, right + wrong)
        totals = ops.sum(positives, axis=1)
        average = ops.divide_no_nan(ops.sum(positives * precision, axis=1), totals)
        return ops.divide_no_nan(ops.sum(average), ops.sum(ops.cast(totals > 0, "float32")))


class MicroF1(keras.metrics.F1Score):
    """Keras' F1 score of all labels of all images together, with a threshold for each label.

    A mixed label counts where its share is at least one half.

    Args:
        thresholds: The probability from which an image has each label.
        from_logits: Whether the network outputs log-odds rather than probabilities.
    """

    def __init__(self, thresholds: Sequence[float], from_logits: bool) -> None:
        super().__init__(average="micro", threshold=0.5, name="micro_f1")
        self.of_labels = list(thresholds)
        self.from_logits = from_logits

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        scores = ops.cast(y_pred, "float32")
        probabilities = ops.sigmoid(scores) if self.from_logits else scores
        said = ops.cast(probabilities >= ops.convert_to_tensor(self.of_labels, dtype="float32"), "float32")
        super().update_state(_whole(y_true), said)


def on_whole_labels(metric: Any) -> Any:
    """A metric for which an image has a mixed label where its share is at least one half."""
    update = metric.update_state

    def update_state(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return update(_whole(y_true), y_pred, sample_weight=sample_weight)

    metric.update_state = update_state
    return metric


def _whole(labels: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(labels) >= 0.5, "float32")
