"""Image classification: one-hot targets, cross-entropy that follows the head, accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy

    from cnnkit.config.training import TrainingConfig

#: The metric that chooses the best epoch, the larger the better, and the one that breaks ties, the smaller the better.
MONITOR = "val_accuracy"
TIE_BREAKER = "val_loss"


def make_loss(training: TrainingConfig, head: str) -> Any:
    """The Keras loss: the one that the config names, else cross-entropy for the head.

    Args:
        head: `softmax`, `sigmoid` or `logits`.
    """
    from cnnkit.config.losses import BinaryCrossentropy, CategoricalCrossentropy

    loss = training.loss or (BinaryCrossentropy() if head == "sigmoid" else CategoricalCrossentropy())
    return loss.build(from_logits=head == "logits")


def make_metrics(training: TrainingConfig, head: str) -> list[Any]:
    """Accuracy, and the metrics that the config names."""
    import keras

    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    return [accuracy, *(metric.build(from_logits=head == "logits") for metric in training.metrics)]


def class_weights(training: TrainingConfig, labels: numpy.ndarray, class_names: Sequence[str]) -> numpy.ndarray | None:
    """One weight per class, float32 [classes], or None where the config asks for none.

    `balanced` is scikit-learn's rule: images / (classes * images of the class); 0 for a class without images.
    """
    import numpy as np

    wanted = training.class_weights
    if wanted is None:
        return None
    if wanted == "balanced":
        counts = np.bincount(labels, minlength=len(class_names))
        return np.where(counts > 0, len(labels) / (len(class_names) * np.maximum(counts, 1)), 0).astype(np.float32)
    if isinstance(wanted, list):
        return np.asarray(wanted, np.float32)
    return np.asarray([wanted.get(name, 1.0) for name in class_names], np.float32)


def finish_targets(
    training: TrainingConfig, head: str, weights: numpy.ndarray | None
) -> Callable[[Any, Any], tuple[Any, ...]] | None:
    """What happens to a training batch after augmentation: class weights, then label smoothing.

    Class weights come first because a mixed label weighs as its parts do; smoothing is not part of the loss, so that
    the validation loss stays unsmoothed.

    Returns:
        A function from (images, one-hot labels) to (images, targets) or (images, targets, sample weights);
        None where there is nothing to do.
    """
    smoothing = training.label_smoothing
    if not smoothing and weights is None:
        return None

    def finish(images: Any, labels: Any) -> tuple[Any, ...]:
        import tensorflow as tf

        sample_weights = None if weights is None else tf.linalg.matvec(labels, tf.constant(weights))
        if smoothing:
            uniform = 0.5 if head == "sigmoid" else 1.0 / labels.shape[-1]
            labels = labels * (1.0 - smoothing) + smoothing * uniform
        return (images, labels) if sample_weights is None else (images, labels, sample_weights)

    return finish
