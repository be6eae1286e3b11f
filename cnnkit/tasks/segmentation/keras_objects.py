"""Keras' losses and metrics for masks of which some pixels do not count. Imported where a network is trained."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import ops

if TYPE_CHECKING:
    from cnnkit.config.objectives.losses import Loss
    from cnnkit.config.target import Target


def mask_loss(loss: Loss, from_logits: bool, target: Target) -> MaskLoss:
    """The Keras loss of masks that a config's loss stands for, see `MaskLoss`."""
    return MaskLoss([(weight, part.build(from_logits)) for weight, part in loss.parts()], target.size, target.ignore)


class MaskLoss(keras.losses.Loss):
    """A sum of losses on one-hot labels, taken over the pixels that count.

    A loss that is one number for each pixel, such as cross-entropy, is a mean over these pixels, each with its weight
    where there are weights. One over whole regions, such as Dice, is the mean over the classes of its value for all
    pixels of the batch that count, whatever their weights.

    Args:
        parts: Weights and Keras losses of one-hot labels.
        classes: How many.
        ignore: The number in masks of pixels that do not count; None where all count.
    """

    def __init__(self, parts: list[tuple[float, Any]], classes: int, ignore: int | None) -> None:
        super().__init__(name="loss")
        self.parts = parts
        self.classes = classes
        self.ignore = ignore

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Args:
            y_true: Masks, [batch, height, width, 1].
            y_pred: Outputs, [batch, height, width, classes].
            sample_weight: Of each pixel, [batch, height, width].
        """
        masks = ops.cast(ops.squeeze(y_true, -1), "int32")
        y_pred = ops.cast(y_pred, "float32")
        counts = ops.ones_like(y_pred[..., 0])
        if self.ignore is not None:
            counts = ops.cast(masks != self.ignore, "float32")
            masks = ops.where(masks != self.ignore, masks, 0)
        one_hot = ops.one_hot(masks, self.classes, dtype="float32")
        weights = counts if sample_weight is None else counts * ops.cast(sample_weight, "float32")
        total = 0.0
        for weight, loss in self.parts:
            if isinstance(loss, keras.losses.Dice | keras.losses.Tversky):
                total += weight * self._over_regions(loss, one_hot, y_pred, counts)
            else:
                # A batch may have no pixel that counts.
                number = ops.maximum(ops.sum(counts), 1.0)
                total += weight * ops.sum(loss.call(one_hot, y_pred) * weights) / number
        return total

    def _over_regions(self, loss: Any, one_hot: Any, y_pred: Any, counts: Any) -> Any:
        values = [loss.call(one_hot[..., index] * counts, y_pred[..., index] * counts) for index in range(self.classes)]
        return ops.mean(ops.stack(values))


class MaskIoU(keras.metrics.MeanIoU):
    """Keras' mean IoU of masks, over the classes that occur in truth or prediction.

    Its confusion matrix is counted in a tenth of the time that Keras' scattering takes, which a training step feels.
    """

    def __init__(self, classes: int, ignore: int | None) -> None:
        super().__init__(num_classes=classes, name="mean_iou", ignore_class=ignore, sparse_y_pred=False)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None:
            return super().update_state(y_true, y_pred, sample_weight)
        classes = self.num_classes
        masks = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        predicted = tf.reshape(tf.argmax(y_pred, -1, output_type=tf.int32), [-1])
        pairs = masks * classes + predicted
        if self.ignore_class is not None:
            # A count of its own, which is left out.
            pairs = tf.where(masks == self.ignore_class, classes * classes, pairs)
        counts = tf.raw_ops.DenseBincount(input=pairs, size=classes * classes + 1, weights=tf.zeros([0], tf.int32))
        matrix = tf.reshape(counts[: classes * classes], [classes, classes])
        return self.total_cm.assign_add(tf.cast(matrix, self.total_cm.dtype))


class PixelAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """The share of pixels that count whose class is right."""

    def __init__(self, ignore: int | None) -> None:
        super().__init__(name="pixel_accuracy")
        self.ignore = ignore

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        masks = ops.cast(ops.squeeze(y_true, -1), "int32")
        counts = None
        if self.ignore is not None:
            counts = ops.cast(masks != self.ignore, "float32")
            masks = ops.where(masks != self.ignore, masks, 0)
        super().update_state(masks, y_pred, counts)
