"""Keras' layers with faster operations for training; what is saved are Keras' own (`model.plain_layer`).

This module imports Keras and TensorFlow; only building a model imports it.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' BatchNormalization of images in one operation each way, where Keras has several.

    Both compute the same up to rounding; on a CPU, each of Keras' operations reads all images anew. Inputs are
    [batch, height, width, channels].
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        images = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        if images.dtype != tf.float32 or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        learning = bool(training) and self.trainable
        moving_mean = tf.convert_to_tensor(self.moving_mean)
        moving_variance = tf.convert_to_tensor(self.moving_variance)
        # Not tf.nn's wrapper: it raises a small epsilon to 1.001e-5.
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(moving_mean),
            offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros_like(moving_mean),
            mean=tf.zeros([0]) if learning else moving_mean,
            variance=tf.zeros([0]) if learning else moving_variance,
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            # The operation estimates the variance of all images there are; Keras takes that of the batch.
            count = tf.cast(tf.size(images) // images.shape[-1], tf.float32)
            variance *= (count - 1.0) / count
            self.moving_mean.assign(moving_mean * self.momentum + mean * (1.0 - self.momentum))
            self.moving_variance.assign(moving_variance * self.momentum + variance * (1.0 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)
