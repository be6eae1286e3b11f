"""The Keras loss of masks where several devices share a batch. Imported where a network is trained."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from cnnkit.machine.shares import as_mean, current, sum_of_replicas, whole_batch
from cnnkit.tasks.segmentation.keras_objects import MaskLoss


class SharedMaskLoss(keras.losses.Loss):
    """A `MaskLoss` that is that of the whole batch, whatever share of it a device has.

    It is not the mean of the shares' losses: the pixels that count are not divided evenly, and a loss over regions is
    no sum over images.

    Args:
        loss: That of one device.
    """

    def __init__(self, loss: MaskLoss) -> None:
        super().__init__(name=loss.name)
        self.loss = loss
        regions = [part for part in loss.parts if isinstance(part[1], keras.losses.Dice | keras.losses.Tversky)]
        self.of_regions = MaskLoss(regions, loss.classes, loss.ignore) if regions else None
        self.of_pixels = MaskLoss([part for part in loss.parts if part not in regions], loss.classes, loss.ignore)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """See `MaskLoss`; for a share, its part of the batch's loss, see `shares.as_mean`."""
        share = current()
        if share is None:
            return self.loss(y_true, y_pred, sample_weight)
        masks = ops.cast(y_true, "int32")
        counting = ops.ones_like(masks) if self.loss.ignore is None else ops.cast(masks != self.loss.ignore, "int32")
        here = ops.sum(ops.cast(counting, "float32"))
        everywhere = ops.maximum(sum_of_replicas(here), 1.0)
        # A mean over the pixels here, of which there may be none.
        part = self.of_pixels(y_true, y_pred, sample_weight) * ops.maximum(here, 1.0) / everywhere
        if self.of_regions is not None:
            outputs = whole_batch(ops.cast(y_pred, "float32"))
            part += self.of_regions(whole_batch(masks), outputs) / share.replicas
        return as_mean(part)
