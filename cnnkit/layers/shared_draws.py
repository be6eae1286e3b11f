"""Keras' random layers for a replica, which has a part of the batch: it draws for it what it would get of the whole's.

So a network learns the same on any number of devices. On one device, Keras' own layers are used.

This module imports Keras and TensorFlow; only building a model imports it.
"""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from cnnkit.machine import shares


def draw(kernel: Callable[..., Any], shape: Any, dtype: Any, seed: Any) -> Any:
    """The current share's rows of what TensorFlow would draw for the whole batch, without drawing the others.

    Args:
        kernel: `tf.raw_ops.StatelessRandomUniformV2` or `StatelessRandomNormalV2`.
        shape: That of the share, batch first.
        dtype: A floating type of at most 32 bits.
        seed: int32 [2].
    """
    share = shares.current()
    shape = tf.cast(shape, tf.int64)
    row = tf.reduce_prod(shape[1:])
    before = tf.cast(0 if share is None else share.first, tf.int64) * row
    key, counter, beyond = shares.philox_from(seed, before)
    values = kernel(
        shape=[beyond + shape[0] * row], key=key, counter=counter, alg=shares.PHILOX, dtype=tf.as_dtype(dtype)
    )
    return tf.reshape(values[beyond:], shape)


def _seed(layer: Any) -> Any:
    """The layer's next seed, as Keras' functions give it to TensorFlow."""
    seed = layer.seed_generator.next()
    return seed if seed.dtype == tf.int32 else tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)


def _drop(layer: Any, inputs: Any, noise_shape: Sequence[Any] | None) -> Any:
    if layer.rate == 1:
        return tf.zeros_like(inputs)
    sizes = tf.shape(inputs)
    if noise_shape is not None:
        sizes = [sizes[axis] if size is None else size for axis, size in enumerate(noise_shape)]
    seed = _seed(layer)

    def uniform(shape: Any, dtype: Any) -> Any:
        return draw(tf.raw_ops.StatelessRandomUniformV2, shape, dtype, seed)

    return tf.nn.experimental.general_dropout(inputs, rate=layer.rate, uniform_sampler=uniform, noise_shape=sizes)


def _for_all(noise_shape: Sequence[Any] | None) -> bool:
    """Whether all images of a batch get the same draws."""
    return noise_shape is not None and noise_shape[0] == 1


class Dropout(keras.layers.Dropout):
    """Keras' Dropout of a share."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0 or _for_all(self.noise_shape):
            return super().call(inputs, training=training)
        return _drop(self, inputs, self.noise_shape)


class MultiHeadAttention(keras.layers.MultiHeadAttention):
    """Keras' MultiHeadAttention of a share: its dropout is one."""

    def _build_attention(self, rank: int) -> None:
        super()._build_attention(rank)
        self._dropout_layer = Dropout(self._dropout, dtype=self.dtype_policy, seed=self.seed)


class _SpatialDropout:
    """What Keras' dropouts of whole channels do with a share."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        layer: Any = self
        if not training or layer.rate == 0:
            return super().call(inputs, training=training)  # type: ignore[misc]
        return _drop(layer, inputs, layer._get_noise_shape(inputs))


class SpatialDropout1D(_SpatialDropout, keras.layers.SpatialDropout1D):
    """Keras' SpatialDropout1D of a share."""


class SpatialDropout2D(_SpatialDropout, keras.layers.SpatialDropout2D):
    """Keras' SpatialDropout2D of a share."""


class SpatialDropout3D(_SpatialDropout, keras.layers.SpatialDropout3D):
    """Keras' SpatialDropout3D of a share."""


class GaussianNoise(keras.layers.GaussianNoise):
    """Keras' GaussianNoise of a share."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.stddev == 0:
            return super().call(inputs, training=training)
        noise = draw(tf.raw_ops.StatelessRandomNormalV2, tf.shape(inputs), self.compute_dtype, _seed(self))
        return inputs + noise * tf.cast(self.stddev, noise.dtype)


class GaussianDropout(keras.layers.GaussianDropout):
    """Keras' GaussianDropout of a share."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return super().call(inputs, training=training)
        noise = draw(tf.raw_ops.StatelessRandomNormalV2, tf.shape(inputs), self.compute_dtype, _seed(self))
        deviation = (self.rate / (1.0 - self.rate)) ** 0.5
        return inputs * (noise * tf.cast(deviation, noise.dtype) + tf.cast(1.0, noise.dtype))


class AlphaDropout(keras.layers.AlphaDropout):
    """Keras' AlphaDropout of a share."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0 or _for_all(self.noise_shape):
            return super().call(inputs, training=training)
        uniform = draw(
            tf.raw_ops.StatelessRandomUniformV2,
            self._get_concrete_noise_shape(inputs, self.noise_shape),
            "float32",
            _seed(self),
        )
        kept = tf.cast(uniform >= self.rate, inputs.dtype)
        # What SELU tends to below 0, and the affine map that restores mean and variance, as in Keras.
        low = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946
        scale = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        return scale * (inputs * kept + low * (1 - kept)) - scale * low * self.rate
