"""A run's loss and metrics, those of its config, measured on what its network outputs for labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cnnkit.config.objectives.losses import Loss
    from cnnkit.config.objectives.metrics import Metric


@dataclass(frozen=True)
class Objectives:
    """A loss and metrics, as a config names them."""

    loss: Loss
    metrics: Sequence[Metric]


def measure(
    objectives: Objectives, head: str, outputs: Any, targets: Any, *, batch_size: int, penalty: float = 0.0
) -> dict[str, Any]:
    """The configured loss and metrics, as `val_loss` and `val_<metric>` are measured in training.

    Args:
        head: `softmax`, `sigmoid` or `logits`.
        outputs: The network's, [images, ...].
        targets: As training has them, [images, ...], such as one-hot labels.
        batch_size: Images per batch: some losses, such as Circle, are no mean over images.
        penalty: What regularizers add to the loss.

    Returns:
        `loss`; `loss_function`: its name; `metrics`: a mapping from the metrics' columns to numbers.
    """
    loss = objectives.loss.build(from_logits=head == "logits")
    metrics = [metric.build(from_logits=head == "logits") for metric in objectives.metrics]
    outputs, targets = np.asarray(outputs, np.float32), np.asarray(targets, np.float32)
    total = 0.0
    for start in range(0, len(targets), batch_size):
        truth, guess = targets[start : start + batch_size], outputs[start : start + batch_size]
        total += float(loss(truth, guess)) * len(truth)
        for metric in metrics:
            metric.update_state(truth, guess)
    return {
        "loss": total / len(targets) + penalty,
        "loss_function": type(objectives.loss).__name__,
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


def common(each: Sequence[Objectives], heads: Sequence[str]) -> Objectives | None:
    """What several runs measure alike on the mean of their outputs; None where their losses or heads differ."""
    loss = each[0].loss
    if any(head != heads[0] for head in heads) or any(one.loss != loss for one in each):
        return None
    metrics = [metric for metric in each[0].metrics if all(metric in one.metrics for one in each)]
    if heads[0] == "logits":
        # Means of probabilities have no logits; what knows logits knows probabilities, too.
        if "from_logits" not in type(loss).model_fields:
            return None
        metrics = [metric for metric in metrics if "from_logits" in type(metric).model_fields]
    return Objectives(loss, tuple(metrics))
