"""How a network learns labels: binary cross-entropy of each, and what each epoch measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit.config.objectives.losses import Loss
    from cnnkit.config.training import TrainingConfig


def configured_loss(training: TrainingConfig) -> Loss:
    """The loss that the config names, else binary cross-entropy."""
    from cnnkit.config.objectives.crossentropies import BinaryCrossentropy

    return training.loss or BinaryCrossentropy()


def make_model(layers: Sequence[Any], training: TrainingConfig) -> Any:
    """The Keras model to train: a Sequential, whose training loss smooths the labels where the config says so."""
    import keras

    if not training.label_smoothing:
        return keras.Sequential(layers, name="model")
    from cnnkit.training.smoothing import SmoothedTraining

    return SmoothedTraining(layers, name="model", smoothing=training.label_smoothing, uniform=0.5)


def make_metrics(training: TrainingConfig, head: str, thresholds: Sequence[float], mixed: bool) -> list[Any]:
    """Mean average precision, micro F1, and the metrics that the config names.

    Args:
        thresholds: The probability from which an image has each label.
        mixed: Whether training images are mixed, and their labels with them.
    """
    from cnnkit.tasks.multilabel.keras_objects import MeanAveragePrecision, MicroF1, on_whole_labels

    from_logits = head == "logits"
    metrics: list[Any] = [MeanAveragePrecision(len(thresholds), from_logits), MicroF1(thresholds, from_logits)]
    for wanted in training.metrics:
        metric = wanted.build(from_logits=from_logits)
        metrics.append(on_whole_labels(metric) if mixed and wanted.needs_hard_labels else metric)
    return metrics
