"""A run's loss and metrics, those of its config, measured on what its network outputs for labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.tasks.classification import training as task

if TYPE_CHECKING:
    from cnnkit.config.training import TrainingConfig


def measure(
    training: TrainingConfig, head: str, outputs: Any, labels: Any, *, batch_size: int, penalty: float = 0.0
) -> dict[str, Any]:
    """The configured loss and metrics, as `val_loss` and `val_<metric>` are measured in training.

    Args:
        head: `softmax`, `sigmoid` or `logits`.
        outputs: What the network outputs, [images, classes].
        labels: The true class of each image, [images], whole numbers from 0.
        batch_size: Images per batch: some losses, such as Circle, are no mean over images.
        penalty: What regularizers add to the loss.

    Returns:
        `loss`; `loss_function`: its name; `metrics`: a mapping from the metrics' columns to numbers.
    """
    loss_config = task.configured_loss(training, head)
    loss = loss_config.build(from_logits=head == "logits")
    metrics = [metric.build(from_logits=head == "logits") for metric in training.metrics]
    outputs = np.asarray(outputs, np.float32)
    one_hot = np.eye(outputs.shape[1], dtype=np.float32)
    total = 0.0
    for start in range(0, len(labels), batch_size):
        truth, guess = one_hot[labels[start : start + batch_size]], outputs[start : start + batch_size]
        total += float(loss(truth, guess)) * len(truth)
        for metric in metrics:
            metric.update_state(truth, guess)
    return {
        "loss": total / len(labels) + penalty,
        "loss_function": type(loss_config).__name__,
        "metrics": {metric.name: float(metric.result()) for metric in metrics},
    }


def penalty_of(model: Any, batches: Any) -> float:
    """What the model's regularizers add to the loss: weights once, outputs (activity regularizers) batch by batch.

    Args:
        model: A built Keras model.
        batches: A finite tf.data set of batches (images, labels), as `val_loss` is measured on.
    """
    weights = float(sum(map(float, model.losses)))
    if not any(layer.activity_regularizer is not None for layer in model._flatten_layers()):
        return weights
    total, images = 0.0, 0
    for batch, *_ in batches:
        model(batch, training=False)
        total += float(sum(map(float, model.losses))) * len(batch)
        images += len(batch)
    return total / images


def common(trainings: Sequence[TrainingConfig], heads: Sequence[str]) -> TrainingConfig | None:
    """What several runs measure alike on the mean of their probabilities; None where their losses or heads differ."""
    first = trainings[0]
    losses = [task.configured_loss(training, head) for training, head in zip(trainings, heads, strict=True)]
    if any(head != heads[0] for head in heads) or any(loss != losses[0] for loss in losses):
        return None
    metrics = [metric for metric in first.metrics if all(metric in training.metrics for training in trainings)]
    if heads[0] == "logits":
        # Means of probabilities have no logits; what knows logits knows probabilities, too.
        if "from_logits" not in type(losses[0]).model_fields:
            return None
        metrics = [metric for metric in metrics if "from_logits" in type(metric).model_fields]
    return first.model_copy(update={"metrics": metrics})
