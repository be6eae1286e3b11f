"""How a network learns masks: the loss on the pixels that count, the figures of an epoch, weights of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.config.class_names import weights_in_order
from cnnkit.data.splits import CHUNK, Split

if TYPE_CHECKING:
    from cnnkit.config.objectives.losses import Loss
    from cnnkit.config.target import Target
    from cnnkit.config.training import TrainingConfig


def configured_loss(training: TrainingConfig) -> Loss:
    """The loss that the config names, else cross-entropy."""
    from cnnkit.config.objectives.crossentropies import CategoricalCrossentropy

    return training.loss or CategoricalCrossentropy()


def make_loss(training: TrainingConfig, head: str, target: Target) -> Any:
    """The Keras loss of masks; for `head` see `Task.make_model`."""
    from cnnkit.tasks.segmentation.keras_objects import mask_loss
    from cnnkit.tasks.segmentation.shared_loss import SharedMaskLoss

    return SharedMaskLoss(mask_loss(configured_loss(training), head == "logits", target))


def make_metrics(target: Target) -> list[Any]:
    """Mean IoU and pixel accuracy, of the pixels that count."""
    from cnnkit.tasks.segmentation.keras_objects import MaskIoU, PixelAccuracy

    return [MaskIoU(target.size, target.ignore), PixelAccuracy(target.ignore)]


def pixel_counts(split: Split, size: int) -> tuple[Any, Any]:
    """How many pixels each class has in a split, and how many pixels the images have in which it occurs: int64 [size].

    Ignored pixels count in neither.
    """
    pixels, around = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for start in range(0, split.size, CHUNK):
        for mask in split.read_masks(np.arange(start, min(start + CHUNK, split.size))):
            counts = np.bincount(mask.ravel(), minlength=size)[:size]
            pixels += counts
            around += np.where(counts > 0, counts.sum(), 0)
    return pixels, around


def class_weights(training: TrainingConfig, split: Split, target: Target) -> Any:
    """The weight of each class in the loss, float32 [classes]; None where the config asks for none.

    `balanced` is scikit-learn's rule: pixels / (classes with pixels * pixels of the class). `median_frequency` is that
    of Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels" (ICCV 2015): a class' frequency is its
    share of the pixels of the images in which it occurs, and its weight the median of all frequencies divided by its
    own. A class without pixels weighs 0.
    """
    wanted = training.class_weights
    if wanted is None:
        return None
    if isinstance(wanted, list):
        return np.asarray(wanted, np.float32)
    if isinstance(wanted, dict):
        return np.asarray(weights_in_order(wanted, target.all_names), np.float32)
    pixels, around = pixel_counts(split, target.size)
    seen = pixels > 0
    if wanted == "balanced":
        weights = pixels.sum() / (np.count_nonzero(seen) * np.maximum(pixels, 1))
    else:
        frequency = pixels / np.maximum(around, 1)
        weights = np.median(frequency[seen]) / np.where(seen, frequency, 1)
    return np.where(seen, weights, 0).astype(np.float32)


def finish_masks(weights: Any) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
    """What happens to a training batch after augmentation: weights of classes become weights of pixels.

    Returns:
        A function from a batch to (images, masks [batch, height, width, 1], weights [batch, height, width]); None
        without weights of classes.
    """
    if weights is None:
        return None

    def finish(batch: dict[str, Any]) -> tuple[Any, ...]:
        import tensorflow as tf

        masks = batch["segmentation_masks"]
        # Numbers beyond the classes are ignored ones, which the loss leaves out.
        padded = np.zeros(256, np.float32)
        padded[: len(weights)] = weights
        return batch["images"], masks, tf.gather(tf.constant(padded), tf.cast(masks[..., 0], tf.int32))

    return finish
