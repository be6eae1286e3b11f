"""Image classification: one-hot targets, cross-entropy that follows the head, accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnnkit.config.class_names import weights_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy

    from cnnkit.config.objectives.losses import Loss
    from cnnkit.config.training import TrainingConfig


def configured_loss(training: TrainingConfig, head: str) -> Loss:
    """The loss that the config names, else cross-entropy for the head.

    Args:
        head: `softmax`, `sigmoid` or `logits`.
    """
    from cnnkit.config.objectives.crossentropies import BinaryCrossentropy, CategoricalCrossentropy

    return training.loss or (BinaryCrossentropy() if head == "sigmoid" else CategoricalCrossentropy())


def make_loss(training: TrainingConfig, head: str) -> Any:
    """The Keras loss of a config; for `head` see `configured_loss`."""
    return configured_loss(training, head).build(from_logits=head == "logits")


def make_metrics(training: TrainingConfig, head: str, mixed: bool) -> list[Any]:
    """Accuracy, and the metrics that the config names.

    Args:
        mixed: Whether training images are mixed, and their labels with them.
    """
    import keras

    from cnnkit.training.smoothing import on_hard_labels

    metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    for one in training.metrics:
        metric = one.build(from_logits=head == "logits")
        metrics.append(on_hard_labels(metric) if mixed and one.needs_hard_labels else metric)
    return metrics


def class_weights(training: TrainingConfig, labels: numpy.ndarray, class_names: Sequence[str]) -> numpy.ndarray | None:
    """One weight per class, float32 [classes], or None where the config asks for none.

    `balanced` is scikit-learn's rule: images / (classes with images * images of the class); 0 for a class without any.
    """
    import numpy as np

    wanted = training.class_weights
    if wanted is None:
        return None
    if wanted == "balanced":
        counts = np.bincount(labels, minlength=len(class_names))
        seen = np.count_nonzero(counts)
        return np.where(counts > 0, len(labels) / (seen * np.maximum(counts, 1)), 0).astype(np.float32)
    if isinstance(wanted, list):
        return np.asarray(wanted, np.float32)
    return np.asarray(weights_in_order(wanted, class_names), np.float32)


def finish_targets(weights: numpy.ndarray | None) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
    """What happens to a training batch after augmentation: class weights become sample weights.

    After MixUp and CutMix, because a mixed label weighs as its parts do.

    Returns:
        A function from a batch's `images` and `labels` [batch, classes] to (images, labels, sample weights [batch]);
        None without class weights.
    """
    if weights is None:
        return None

    def finish(batch: dict[str, Any]) -> tuple[Any, ...]:
        import tensorflow as tf

        return batch["images"], batch["labels"], tf.linalg.matvec(batch["labels"], tf.constant(weights))

    return finish


def make_model(layers: Sequence[Any], training: TrainingConfig, head: str, classes: int) -> Any:
    """The Keras model to train: a Sequential, whose training loss smooths the labels where the config says so."""
    import keras

    if not training.label_smoothing:
        return keras.Sequential(layers, name="model")
    from cnnkit.training.smoothing import SmoothedTraining

    uniform = 0.5 if head == "sigmoid" else 1 / classes
    return SmoothedTraining(layers, name="model", smoothing=training.label_smoothing, uniform=uniform)
