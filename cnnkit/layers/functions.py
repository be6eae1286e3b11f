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
    """Appends channels of zeros: [batch, ..., channels] to [batch, ..., filters]."""
    return keras.ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, filters - x.shape[-1]]])


def self_attention(x: Any, num_heads: int, trainable: bool = True, **arguments: Any) -> Any:
    """Keras' MultiHeadAttention with query, value and key the same: [batch, ..., channels]."""
    layer = keras.layers.MultiHeadAttention(num_heads, **arguments)
    attended = layer(x, x)
    # Told before, Keras would not freeze the projections, which are made later.
    layer.trainable = trainable
    return attended


def padded_embedding(
    x: Any, input_dim: int, output_dim: int, padding_idx: int, mask_zero: bool = False, **arguments: Any
) -> Any:
    """Keras' Embedding, in which the vector of padding is zeros and stays so: one more axis, of output_dim.

    Args:
        x: Ids, [batch, length].
        padding_idx: The id of padding; 0 where `mask_zero` masks it.
    """
    layer = keras.layers.Embedding(input_dim, output_dim, **arguments)
    # For whoever draws its weights.
    layer.padding_idx = padding_idx
    vectors = layer(x)
    is_padding = keras.ops.expand_dims(keras.ops.equal(x, padding_idx), -1)
    vectors = keras.ops.where(is_padding, keras.ops.zeros_like(vectors), vectors)
    # An operation passes no mask on.
    return keras.layers.Masking()(vectors) if mask_zero else vectors


def adaptive_pooling(x: Any, kind: str, output_size: Any, data_format: Any = None, dtype: Any = None) -> Any:
    """The means or maxima of windows that share the input among a number of positions along each axis.

    Along an axis that has one position, before them or after, Keras' layers fail, and those of maxima end the process
    (Keras 3.15). Along those there is one window.

    Args:
        x: [batch, ..., channels], or [batch, channels, ...].
        kind: `Average` or `Max`.
        output_size: A number for each axis.
    """
    axes, first = len(x.shape) - 2, 2 if data_format == "channels_first" else 1
    wanted = [output_size] * axes if isinstance(output_size, int) else list(output_size)
    single = [axis for axis in range(axes) if wanted[axis] == 1 or x.shape[first + axis] == 1]
    live = tuple(wanted[axis] for axis in range(axes) if axis not in single)
    if single:
        reduced = keras.ops.max if kind == "Max" else keras.ops.mean
        x = reduced(x, axis=[first + axis for axis in single])
    if live:
        pooling = getattr(keras.layers, f"Adaptive{kind}Pooling{len(live)}D")
        x = pooling(live if len(live) > 1 else live[0], data_format=data_format, dtype=dtype)(x)
    for axis in single:
        x = keras.ops.repeat(keras.ops.expand_dims(x, first + axis), wanted[axis], axis=first + axis)
    return x


def channel_shuffle(x: Any, groups: int, axis: int = -1) -> Any:
    """Channel j of group i becomes channel j * groups + i; the shape stays.

    Args:
        axis: That of the channels.
    """
    shape = x.shape[1:]
    place = axis % len(x.shape) - 1
    if None in shape:
        # A reshape cannot leave two sizes open. Where the sizes are known, it takes a tenth of the time.
        each = shape[place] // groups
        order = [group * each + channel for channel in range(each) for group in range(groups)]
        return keras.ops.take(x, order, axis=axis)
    grouped = (*shape[:place], groups, shape[place] // groups, *shape[place + 1 :])
    swapped = keras.ops.swapaxes(keras.ops.reshape(x, (-1, *grouped)), place + 1, place + 2)
    return keras.ops.reshape(swapped, (-1, *shape))


def channel_split(x: Any, part: int, parts: int, axis: int = -1) -> Any:
    """One of several parts of equally many channels, counted from 0.

    Args:
        axis: That of the channels.
    """
    return keras.ops.split(x, parts, axis=axis)[part]


def minibatch_standard_deviation(x: Any, group_size: int = 4, axis: int = -1) -> Any:
    """Appends a channel: the standard deviation over a group of images, averaged over all positions and channels.

    Groups are consecutive images, as many as the largest number up to `group_size` that divides those of the batch. An
    image alone gets 0.

    Args:
        x: [batch, ..., channels], or [batch, channels, ...].
        axis: That of the channels.
    """
    # Squares overflow in half precision, and it has no small differences.
    values = keras.ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    others = tuple(range(1, len(x.shape)))
    # How many images there are is known only as these are computed.
    ones = keras.ops.ones_like(keras.ops.sum(values, axis=others), dtype="int32")
    place, count = keras.ops.cumsum(ones) - 1, keras.ops.sum(ones)
    size = keras.ops.ones_like(count)
    for number in range(2, group_size + 1):
        size = keras.ops.where(keras.ops.equal(count % number, 0), number, size)
    first = place - place % size
    members = [keras.ops.take(values, first + (place + number) % size, axis=0) for number in range(group_size)]
    scale = keras.ops.cast(size, values.dtype)

    def mean(several: Any) -> Any:
        return sum(keras.ops.where(number < size, one, 0.0) for number, one in enumerate(several)) / scale

    center = mean(members)
    variance = mean([keras.ops.square(one - center) for one in members])
    # A root has no slope at 0, where all images are equal.
    deviation = keras.ops.mean(keras.ops.sqrt(variance + 1e-8), axis=others, keepdims=True)
    deviation = keras.ops.where(size > 1, deviation, 0.0)
    channel = keras.ops.ones_like(keras.ops.max(values, axis=axis, keepdims=True)) * deviation
    return keras.ops.concatenate([x, keras.ops.cast(channel, x.dtype)], axis=axis)


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


def backbone(
    x: Any,
    make: Any,
    preprocess_input: Any = None,
    weights: Any = None,
    until: Any = None,
    trainable: bool = True,
    keeps_statistics: bool = False,
) -> Any:
    """The features that a network of keras.applications computes of images, 0..255 [batch, height, width, 3].

    Args:
        make: The network's function, such as `keras.applications.VGG16`.
        preprocess_input: That of its module; None where the network itself begins with it.
        weights: `imagenet`, a file of weights, or None for random ones.
        until: The name of its last layer, or where that stands among the network's, from the end.
        trainable: Whether its weights are trained.
        keeps_statistics: Whether batch normalization goes on with the mean and variance that it has.
    """
    images = keras.Input(x.shape[1:])
    arriving = images if preprocess_input is None else preprocess_input(images)
    network = make(include_top=False, weights=weights, input_tensor=arriving, input_shape=x.shape[1:])
    last = network.get_layer(until) if isinstance(until, str) else network.operations[until or -1]
    network = keras.Model(images, last.output, name=make.__name__)
    for layer in network.layers if keeps_statistics else []:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.call = lambda inputs, training=None, mask=None, call=layer.call: call(inputs, training=False)
    network.trainable = trainable
    return network(x)
