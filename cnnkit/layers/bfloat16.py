"""Keras' layers of bfloat16 on a CPU, where TensorFlow's operations lose digits or time; what is saved are Keras' own.

The gradient of a bias is a sum over all places of all images. TensorFlow adds it up in bfloat16 (`BiasAddGrad`), in
which 256 + 1 is 256: of 4,096 ones it makes 256. Its `Sum` adds in float32 and rounds once. Average pooling over
windows adds up in bfloat16, too, where oneDNN does not compute it; global pooling does not.

Without instructions for bfloat16, or without oneDNN, which uses them, TensorFlow's convolutions take ten times as long
as in float32, and round partial sums as well. Such instructions sum up in float32 and round once, and so does a
convolution in float32 of values that bfloat16 can hold: what differs is the order of the sums. Measured in
docs/performance.md.

This module imports TensorFlow; only building or using a model imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

#: Calls an operation with values, a kernel and options, which are strides and the like.
Multiply = Callable[..., Any]

_LAYERS: Any = keras.layers


def use_exact_sums(layers: Sequence[Any], *, in_software: bool) -> None:
    """Lets layers of bfloat16, and those inside of them, sum up in float32 and round the sums.

    Others stay as they are. Values, kernels and gradients are rounded to bfloat16 where Keras' policy does it.

    Args:
        layers: Built layers.
        in_software: Whether no instructions of the processor multiply bfloat16: convolutions and pooling are then
            computed in float32. Otherwise only average pooling and the gradients of biases are.
    """
    for layer in layers:
        for part in layer._flatten_layers() if isinstance(layer, keras.Layer) else []:
            # With channels first, XLA computes, and in float32.
            if part.compute_dtype == "bfloat16" and getattr(part, "data_format", None) != "channels_first":
                _change(part, in_software)


def _change(layer: Any, in_software: bool) -> None:
    multiply = _multiply_in_float32 if in_software else _multiply
    if isinstance(layer, _OF_IMAGES):
        layer.convolution_op = partial(multiply, layer.convolution_op)
    for kinds, product in _PRODUCTS.items():
        if _calls_as(layer, kinds):
            layer.call = partial(_call, layer, partial(product, layer, multiply))
    if _calls_as(layer, _AVERAGES) or (in_software and _calls_as(layer, _MAXIMA)):
        layer.call = partial(_pool, layer.call)


def _calls_as(layer: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a layer is one of Keras', or computes as it does."""
    return isinstance(layer, kinds) and any(type(layer).call is kind.call for kind in kinds)


def add_bias(values: Any, bias: Any) -> Any:
    """`tf.nn.bias_add`, whose gradient is summed up in float32 whatever the values are.

    Args:
        values: [..., channels].
        bias: [channels], of the same type.
    """
    bias = tf.convert_to_tensor(bias)
    return _add_bias(values, bias) if values.dtype == tf.bfloat16 else tf.nn.bias_add(values, bias)


@tf.custom_gradient
def _add_bias(values: Any, bias: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    def backward(gradients: Any) -> tuple[Any, Any]:
        return gradients, tf.reduce_sum(gradients, list(range(gradients.shape.rank - 1)))

    return tf.nn.bias_add(values, bias), backward


def _call(layer: Any, product: Callable[[Any], Any], inputs: Any, training: bool | None = None) -> Any:
    """What Keras' layer computes: a product, the bias and the activation; some of them are told whether they train."""
    outputs = product(inputs)
    if layer.bias is not None:
        # Those of several heads have two axes, which Keras adds in another way.
        outputs = add_bias(outputs, layer.bias) if len(layer.bias.shape) == 1 else outputs + layer.bias
    return outputs if layer.activation is None else layer.activation(outputs)


def _pool(call: Callable[[Any], Any], inputs: Any) -> Any:
    return tf.cast(call(tf.cast(inputs, tf.float32)), tf.bfloat16)


def _multiply(operation: Callable[..., Any], values: Any, kernel: Any, **options: Any) -> Any:
    return operation(values, kernel, **options)


def _multiply_in_float32(operation: Callable[..., Any], values: Any, kernel: Any, **options: Any) -> Any:
    # The gradient of a cast is a cast, which rounds the gradients, too.
    wide = (tf.cast(tf.convert_to_tensor(factor), tf.float32) for factor in (values, kernel))
    return tf.cast(operation(*wide, **options), tf.bfloat16)


def _options(layer: Any) -> dict[str, Any]:
    names = ("strides", "padding", "dilation_rate", "data_format")
    return {name: getattr(layer, name) for name in names}


def _convolution(layer: Any, multiply: Multiply, inputs: Any) -> Any:
    # `_change` has seen to how it multiplies.
    return layer.convolution_op(inputs, layer.kernel)


def _convolution_of_signals(layer: Any, multiply: Multiply, inputs: Any) -> Any:
    options = _options(layer)
    if layer.padding == "causal":
        before = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        inputs, options["padding"] = tf.pad(inputs, [[0, 0], [before, 0], [0, 0]]), "valid"
    return multiply(keras.ops.conv, inputs, layer.kernel, **options)


def _transposed(layer: Any, multiply: Multiply, inputs: Any) -> Any:
    options = {**_options(layer), "output_padding": layer.output_padding}
    return multiply(keras.ops.conv_transpose, inputs, layer.kernel, **options)


def _depthwise(layer: Any, multiply: Multiply, inputs: Any) -> Any:
    return multiply(keras.ops.depthwise_conv, inputs, layer.kernel, **_options(layer))


def _separable(layer: Any, multiply: Multiply, inputs: Any) -> Any:
    filtered = multiply(keras.ops.depthwise_conv, inputs, layer.depthwise_kernel, **_options(layer))
    return multiply(keras.ops.conv, filtered, layer.pointwise_kernel, data_format=layer.data_format)


def _dense(layer: Any, multiply: Multiply, inputs: Any) -> Any:
    # TensorFlow multiplies matrices of bfloat16 as fast as those of float32 anyway, and sums up in float32.
    return keras.ops.matmul(inputs, layer.kernel)


def _einsum_dense(layer: Any, multiply: Multiply, inputs: Any) -> Any:
    return keras.ops.einsum(layer.equation, inputs, layer.kernel)


#: Those that convolve by a method of their own, which whoever changes `call` or the gradient of their filters keeps.
_OF_IMAGES = (_LAYERS.Conv2D, _LAYERS.Conv3D)

_PRODUCTS: dict[tuple[Any, ...], Callable[[Any, Multiply, Any], Any]] = {
    _OF_IMAGES: _convolution,
    (_LAYERS.Conv1D,): _convolution_of_signals,
    (_LAYERS.Conv1DTranspose, _LAYERS.Conv2DTranspose, _LAYERS.Conv3DTranspose): _transposed,
    (_LAYERS.DepthwiseConv1D, _LAYERS.DepthwiseConv2D): _depthwise,
    (_LAYERS.SeparableConv1D, _LAYERS.SeparableConv2D): _separable,
    (_LAYERS.Dense,): _dense,
    (_LAYERS.EinsumDense,): _einsum_dense,
}

#: Pooling over windows, of which TensorFlow adds up the values, or the gradients where windows overlap, in bfloat16.
_AVERAGES = (
    *(_LAYERS.AveragePooling1D, _LAYERS.AveragePooling2D, _LAYERS.AveragePooling3D),
    *(_LAYERS.AdaptiveAveragePooling1D, _LAYERS.AdaptiveAveragePooling2D, _LAYERS.AdaptiveAveragePooling3D),
)
_MAXIMA = (_LAYERS.MaxPooling1D, _LAYERS.MaxPooling2D, _LAYERS.MaxPooling3D)
