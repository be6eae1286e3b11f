"""The gradient of a convolution's filters as a convolution forward; what is saved are Keras' own layers.

oneDNN computes the forward pass by other and faster kernels than the gradient of the filters (docs/performance.md).
This module imports TensorFlow; only building a model imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from cnnkit.layers.submodel import with_inner

#: Bytes of the images that each of the convolutions reads: what a core's cache holds.
CACHED_BYTES = 2 << 20
#: With fewer channels or filters, oneDNN's own gradient is the faster one.
LEAST_CHANNELS = 64
LEAST_FILTERS = 128


def filter_gradient(images: Any, gradients: Any, kernel_size: Sequence[int], padding: str) -> Any:
    """The gradient of a convolution of stride 1 with respect to its filters.

    With x the padded images and g the gradient of the outputs, it is, for row i and column j of the kernel,

        sum over n, h, w of x[n, h + i, w + j, c] g[n, h, w, f].

    That is a convolution of images whose width are the channels c, and whose channels are pairs of column and image
    (w, n), with filters as high as g and one pixel wide. Each j is an image of its own, x moved by j columns. Few
    images are taken at a time, so that those stay in the cache; the sums are in float32 or wider.

    Args:
        images: [batch, height, width, channels].
        gradients: [batch, new height, new width, filters].
        kernel_size: Height and width.
        padding: `same` or `valid`.

    Returns:
        [kernel height, kernel width, channels, filters].
    """
    rows, columns = kernel_size
    channels, filters = images.shape[-1], gradients.shape[-1]
    above_and_below, left_and_right = (
        [(size - 1) // 2, size // 2] if padding == "same" else [0, 0] for size in kernel_size
    )
    count, height = tf.shape(images)[0], tf.shape(images)[1]
    new_height, new_width = tf.shape(gradients)[1], tf.shape(gradients)[2]
    # Those of one large image may be more than int32 counts to.
    places = tf.cast(height, tf.int64) * tf.cast(new_width, tf.int64)
    fitting = tf.maximum(1, tf.cast(CACHED_BYTES // (places * columns * channels * images.dtype.size), tf.int32))
    # As many each time, so that none of the convolutions is a small one.
    together = tf.maximum(1, -(-count // -(-count // fitting)))
    wide = tf.float32 if images.dtype.size < 4 else images.dtype
    shape = [columns, rows, channels, filters]

    def of_some(some: Any, their_gradients: Any) -> Any:
        number = tf.shape(some)[0]
        turned = tf.pad(tf.transpose(some, [1, 3, 2, 0]), [[0, 0], [0, 0], left_and_right, [0, 0]])
        moved = [
            tf.reshape(turned[:, :, column : column + new_width], [height, channels, new_width * number])
            for column in range(columns)
        ]
        turned_gradients = tf.transpose(their_gradients, [1, 2, 0, 3])
        kernel = tf.reshape(turned_gradients, [new_height, 1, new_width * number, filters])
        part = tf.nn.conv2d(tf.stack(moved), kernel, 1, [[0, 0], above_and_below, [0, 0], [0, 0]])
        return tf.ensure_shape(tf.cast(part, wide), shape)

    def add(begin: Any, total: Any) -> tuple[Any, Any]:
        end = begin + together
        return end, total + of_some(images[begin:end], gradients[begin:end])

    first = (tf.constant(0), tf.zeros(shape, wide))
    # One after the other: side by side, they would not stay in the cache.
    _, total = tf.while_loop(lambda begin, _: begin < count, add, first, parallel_iterations=1)
    return tf.cast(tf.transpose(total, [1, 0, 2, 3]), images.dtype)


def use_forward_filter_gradients(layers: Sequence[Any]) -> None:
    """Lets the wide convolutions among layers, and those inside of them, compute their filters' gradients forward.

    Outputs stay the same to the last bit, the gradients up to rounding.
    """
    for layer in wide_convolutions(layers):
        layer.convolution_op = partial(_convolve, padding=layer.padding)


def wide_convolutions(layers: Sequence[Any]) -> Iterator[Any]:
    """The convolutions, also those inside of layers, that `use_forward_filter_gradients` changes.

    One that is not built yet may turn out to have too few channels.
    """
    for layer in with_inner(layers):
        if (
            isinstance(layer, keras.layers.Conv2D)
            and layer.filters >= LEAST_FILTERS
            and (not layer.built or layer.kernel.shape[2] >= LEAST_CHANNELS)
            and layer.kernel_size != (1, 1)
            and layer.strides == layer.dilation_rate == (1, 1)
            and layer.groups == 1
            and layer.data_format == "channels_last"
        ):
            yield layer


def _convolve(images: Any, kernel: Any, *, padding: str) -> Any:
    kernel = tf.convert_to_tensor(kernel)
    if kernel.shape[2] < LEAST_CHANNELS:
        return tf.nn.conv2d(images, kernel, 1, padding.upper())

    def forward(images: Any, kernel: Any) -> tuple[Any, Any]:
        def backward(gradients: Any) -> tuple[Any, Any]:
            of_images = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(images),
                filter=kernel,
                out_backprop=gradients,
                strides=[1, 1, 1, 1],
                padding=padding.upper(),
            )
            return of_images, filter_gradient(images, gradients, kernel.shape[:2], padding)

        return tf.nn.conv2d(images, kernel, 1, padding.upper()), backward

    return tf.custom_gradient(forward)(images, kernel)
