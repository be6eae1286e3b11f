"""Functions of tensors that Keras has no layer for, made only of Keras' operations; `cnnkit eject` copies them.

This module imports Keras; only building a model imports it.
"""

from __future__ import annotations

from typing import Any

import keras


def maxout(x: Any, num_units: int) -> Any:
    """The largest of each group of neighbouring channels: [..., channels] to [..., num_units]."""
    *others, channels = x.shape[1:]
    groups = keras.ops.reshape(x, (-1, *others, num_units, channels // num_units))
    return keras.ops.max(groups, axis=-1)


def pad_channels(x: Any, filters: int) -> Any:
    """Appends channels of zeros: [batch, height, width, channels] to [batch, height, width, filters]."""
    return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, filters - x.shape[-1]]])


def local_response_normalization(x: Any, depth_radius: int, bias: float, alpha: float, beta: float) -> Any:
    """x / (bias + alpha * sum of x^2 over the neighbouring channels)^beta, as in AlexNet.

    Args:
        x: Images [batch, height, width, channels].
        depth_radius: Neighbouring channels on each side.
    """
    # Squares overflow in half precision.
    x = keras.ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    height, width, channels = x.shape[1:]
    count = 2 * depth_radius + 1
    # The channels become an image's width, so that a pooling sums over them.
    rows = keras.ops.reshape(keras.ops.square(x), (-1, height * width, channels, 1))
    padded = keras.ops.pad(rows, [[0, 0], [0, 0], [depth_radius, depth_radius], [0, 0]])
    means = keras.ops.average_pool(padded, (1, count), strides=1, data_format="channels_last")
    scaled = keras.ops.reshape(means, (-1, height, width, channels)) * (alpha * count) + bias
    if beta == 0.75:
        # Three times as fast as a power.
        root = keras.ops.rsqrt(scaled)
        return x * (root * keras.ops.sqrt(root))
    return x * keras.ops.power(scaled, -beta)
