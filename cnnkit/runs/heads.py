"""What a network ends in: what its outputs stand for, and what entered its last activation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError

#: float32's smallest normal number and largest number below 1: probabilities are held between them for a logarithm.
SMALLEST_PROBABILITY, LARGEST_PROBABILITY = 1.17549435e-38, 1 - 2.0**-24


Probabilities = NDArray[np.float64]


def finite_rows(outputs: Any, singular: str, plural: str) -> NDArray[np.float64]:
    """A network's outputs, float64 [images, numbers].

    Args:
        singular: What each of a row's numbers is, for messages: `number per label`.
        plural: What all of them are: `probabilities`.

    Raises:
        CnnkitError: if they are not finite, or not one row per image.
    """
    values = np.asarray(outputs, np.float64)
    if values.ndim != 2:
        raise CnnkitError(f"expected one {singular} for each image, got outputs of shape {values.shape}")
    if not np.isfinite(values).all():
        raise CnnkitError(
            f"expected finite {plural}, the model outputs NaN or infinity",
            "Its weights are not usable; train again with a lower learning rate.",
        )
    return values


def probabilities_from_outputs(outputs: Any, head: str) -> Probabilities:
    """The class probabilities that a network's outputs stand for.

    Args:
        outputs: What the network puts out, [images, classes], any float type.
        head: What the last layer is. `softmax`: the outputs are probabilities already and are kept;
            `logits`: no activation, the softmax is applied here; `sigmoid`: one independent score in 0..1
            per class, each row is divided by its sum (a row of zeros becomes uniform).

    Returns:
        float64, [images, classes].

    Raises:
        CnnkitError: if the outputs are not one row of scores per image.
        ValueError: for an unknown head.
    """
    values: Probabilities = np.asarray(outputs, dtype=np.float64)
    if values.ndim != 2:
        raise CnnkitError(
            f"expected one score per class for each image, got outputs of shape {values.shape}",
            "End the model with `Dense: classes`, or with global pooling or `Flatten` before it.",
        )
    if head == "softmax":
        return values
    if head == "logits":
        # Without the largest logit, exp() cannot overflow; the softmax stays the same.
        exponentials: Probabilities = np.exp(values - values.max(axis=1, keepdims=True))
        exponentials /= exponentials.sum(axis=1, keepdims=True)
        return exponentials
    if head == "sigmoid":
        totals = values.sum(axis=1, keepdims=True)
        normalised = np.full_like(values, 1 / values.shape[1])
        np.divide(values, totals, out=normalised, where=totals != 0)
        return normalised
    raise ValueError(f"expected the head softmax, logits or sigmoid, got {head!r}")


def pixel_probabilities(outputs: Any, head: str) -> Any:
    """The same of outputs for each pixel: from [batch, height, width, classes] to float64 of that shape."""
    values = np.asarray(outputs)
    rows = probabilities_from_outputs(values.reshape(-1, values.shape[-1]), head)
    return rows.reshape(values.shape)


def before_activation(outputs: Any, head: str) -> Any:
    """What entered the last activation, float32; for a softmax, up to a constant per row."""
    import tensorflow as tf

    if head == "softmax":
        return tf.math.log(tf.maximum(outputs, SMALLEST_PROBABILITY))
    if head == "sigmoid":
        held = tf.clip_by_value(outputs, SMALLEST_PROBABILITY, LARGEST_PROBABILITY)
        return tf.math.log(held) - tf.math.log1p(-held)
    return outputs


def activate(scores: Any, head: str) -> Any:
    """What the last activation makes of scores, a tensor."""
    import tensorflow as tf

    return {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}.get(head, tf.identity)(scores)
