"""Keras' layers with faster operations for training; what is saved are Keras' own (`model.plain_layer`).

This module imports Keras and TensorFlow; only building a model imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnnkit.layers.bfloat16 import add_bias
from cnnkit.layers.submodel import with_inner


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' BatchNormalization of images in one operation each way, where Keras has several.

    Both compute the same up to rounding; on a CPU, each of Keras' operations reads all images again. XLA is another
    matter, see `use_keras_normalization`. Inputs are [batch, height, width, channels].
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


def use_keras_normalization(layers: Sequence[Any]) -> None:
    """Lets layers, and those inside of them, that XLA will compile normalize batches by Keras' own operations.

    XLA takes the variance of the fused one as the difference of two large sums, E[x^2] - E[x]^2. Of channels whose
    mean is far from 0 nothing is left of it, or less than nothing, whose root is not a number.
    """
    normalizing: list[Any] = [layer for layer in with_inner(layers) if isinstance(layer, FusedBatchNormalization)]
    for layer in normalizing:
        layer.call = super(FusedBatchNormalization, layer).call


@tf.function(jit_compile=True)
def _gelu_forward(x: Any) -> Any:
    wide = tf.cast(x, tf.float32)
    return tf.cast(wide * _normal_share(wide), x.dtype)


@tf.function(jit_compile=True)
def _gelu_backward(x: Any, gradients: Any) -> Any:
    wide = tf.cast(x, tf.float32)
    density = tf.exp(-0.5 * wide * wide) / np.float32(np.sqrt(2 * np.pi))
    return tf.cast(tf.cast(gradients, tf.float32) * (_normal_share(wide) + wide * density), x.dtype)


def _normal_share(x: Any) -> Any:
    """The share of a standard normal distribution below x."""
    return 0.5 * tf.math.erfc(-x / np.float32(np.sqrt(2)))


@tf.function(jit_compile=True)
def _silu_forward(x: Any) -> Any:
    wide = tf.cast(x, tf.float32)
    return tf.cast(wide * tf.sigmoid(wide), x.dtype)


@tf.function(jit_compile=True)
def _silu_backward(x: Any, gradients: Any) -> Any:
    wide = tf.cast(x, tf.float32)
    share = tf.sigmoid(wide)
    return tf.cast(tf.cast(gradients, tf.float32) * share * (1.0 + wide * (1.0 - share)), x.dtype)


# Keras writes down an activation by the name of its function: what is saved has Keras' own.


def gelu(x: Any) -> Any:
    """Keras' `gelu` in one pass over the values each way, of which only x is kept for the gradient.

    XLA makes one loop of all its operations. They are computed in float32 whatever the values are.
    """
    return tf.custom_gradient(lambda x: (_gelu_forward(x), lambda gradients: _gelu_backward(x, gradients)))(x)


def silu(x: Any) -> Any:
    """Keras' `silu` in one pass over the values each way, see `gelu`."""
    return tf.custom_gradient(lambda x: (_silu_forward(x), lambda gradients: _silu_backward(x, gradients)))(x)


_FUSED = {keras.activations.gelu: gelu, keras.activations.silu: silu}


def fuse_activations(layers: Sequence[Any]) -> None:
    """Lets layers, and those inside of them, compute GELU and SiLU in one pass each way.

    Outputs and gradients are the same up to rounding.
    """
    for layer in fusible(layers):
        layer.activation = _FUSED[layer.activation]


def fusible(layers: Sequence[Any]) -> Iterator[Any]:
    """The layers, and those inside of them, that `fuse_activations` changes."""
    for layer in with_inner(layers):
        function = getattr(layer, "activation", None)
        # One pass is one of float32.
        if callable(function) and function in _FUSED and layer.compute_dtype != "float64":
            yield layer


class FusedLocalResponseNormalization(keras.layers.Layer):
    """AlexNet's normalization across channels with a gradient in closed form.

    The sum over neighbouring channels is a product with a banded matrix, which a CPU does several times as fast as a
    pooling over channels, and as TensorFlow's own operation. With s = bias + alpha * (sum of x^2 over the neighbours)
    and y = x s^-beta, the gradient g of y gives x the gradient g s^-beta - 2 alpha beta x (sum of g y / s over the
    neighbours).

    Args:
        make_plain: Makes the same of Keras' own layers.
        depth_radius: Neighbouring channels on each side.
        bias: The constant below the power.
        alpha: Factor on the sum of squares.
        beta: The power.
    """

    def __init__(
        self,
        make_plain: Callable[[], Any],
        *,
        depth_radius: int,
        bias: float,
        alpha: float,
        beta: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.make_plain = make_plain
        self.depth_radius = depth_radius
        self.offset = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: Any) -> Any:
        channels = inputs.shape[-1]
        places = np.arange(channels)
        neighbours = np.abs(places[:, None] - places) <= self.depth_radius
        band = tf.constant(neighbours, inputs.dtype)

        def over_neighbours(values: Any) -> Any:
            return tf.reshape(tf.matmul(tf.reshape(values, [-1, channels]), band), tf.shape(values))

        def forward(x: Any) -> Any:
            scale = self.offset + self.alpha * over_neighbours(tf.square(x))
            if self.beta == 0.75:
                # A power takes longer than all the rest.
                root = tf.math.rsqrt(scale)
                factor = root * tf.sqrt(root)
            else:
                factor = tf.pow(scale, -self.beta)
            outputs = x * factor

            def backward(gradients: Any) -> Any:
                reached = over_neighbours(gradients * outputs / scale)
                return gradients * factor - (2 * self.alpha * self.beta) * x * reached

            return outputs, backward

        return tf.custom_gradient(forward)(inputs)


#: Ends of the names of arguments that are objects.
_OBJECTS = ("_initializer", "_regularizer", "_constraint")


class PooledConv2D(keras.layers.Conv2D):
    """Keras' Conv2D without its bias and ReLU, which the `ActivatingMaxPooling2D` after it applies.

    The sum with a bias and ReLU are monotone, so the largest value of a window stays the largest; fewer values are left
    after the pooling, and the gradient passes over the large images once instead of three times.
    """

    def call(self, inputs: Any) -> Any:
        return self.convolution_op(inputs, self.kernel)

    def finish(self, pooled: Any) -> Any:
        """The bias and ReLU, [batch, height, width, filters]."""
        return tf.nn.relu(add_bias(pooled, self.bias))


class ActivatingMaxPooling2D(keras.layers.MaxPooling2D):
    """Keras' MaxPooling2D after a `PooledConv2D`, whose outputs it completes."""

    def follow(self, convolution: PooledConv2D) -> None:
        # The method, not the layer: Keras would count the layer's weights here, too.
        self._finish = convolution.finish

    def call(self, inputs: Any) -> Any:
        return self._finish(super().call(inputs))


def postpone_activations(layers: Sequence[Any]) -> list[Any]:
    """The layers of a Sequential, in which bias and ReLU of a convolution follow the max pooling after it.

    Outputs and gradients of each pair are the same up to rounding.
    """
    postponed = list(layers)
    for index in range(len(postponed) - 1):
        convolution, pooling = postponed[index : index + 2]
        if _can_postpone(convolution, pooling):
            arguments = convolution.get_config()
            # As they are: what cnnkit adds to Keras cannot be found by name.
            arguments |= {name: getattr(convolution, name) for name in arguments if name.endswith(_OBJECTS)}
            postponed[index] = PooledConv2D.from_config(arguments)
            postponed[index + 1] = ActivatingMaxPooling2D.from_config(pooling.get_config())
            postponed[index + 1].follow(postponed[index])
    return postponed


def _can_postpone(convolution: Any, pooling: Any) -> bool:
    return (
        type(convolution) is keras.layers.Conv2D
        and type(pooling) is keras.layers.MaxPooling2D
        and convolution.use_bias
        and convolution.activation is keras.activations.relu
        and convolution.activity_regularizer is None
        and convolution.data_format == pooling.data_format == "channels_last"
        and convolution.compute_dtype == pooling.compute_dtype
        # Otherwise, as many values are left as there were.
        and pooling.strides[0] * pooling.strides[1] > 1
    )
