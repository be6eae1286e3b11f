"""Gradients of filters as forward convolutions, against TensorFlow's own gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from trainings import config, run_training

from cnnkit.layers import filter_gradient as module
from cnnkit.layers.filter_gradient import filter_gradient, use_forward_filter_gradients, wide_convolutions

from .truth import GRID, random_images

WIDE = {"filters": module.LEAST_FILTERS, "kernel_size": 3}


@GRID
@given(
    st.integers(1, 5),
    st.tuples(st.integers(4, 7), st.integers(4, 7), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.sampled_from(["same", "valid"]),
    st.sampled_from([1, 700, module.CACHED_BYTES]),
)
def test_it_is_the_gradient_of_tensorflow(
    count: int, shape: tuple[int, int, int], size: tuple[int, int], filters: int, padding: str, cached: int
) -> None:
    """In float64, where rounding hides nothing, for one image at a time, some, and all."""
    images = tf.constant(random_images(count, *shape), tf.float64)
    kernel = tf.constant(random_images(*size, shape[-1], filters, seed=1), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        outputs = tf.nn.conv2d(images, kernel, 1, padding.upper())
    gradients = tf.constant(random_images(*outputs.shape, seed=2), tf.float64)
    expected = tape.gradient(outputs, kernel, gradients)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CACHED_BYTES", cached)
        found = filter_gradient(images, gradients, size, padding)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def results(layers: list[Any], shape: tuple[int | None, ...], images: Any) -> list[np.ndarray]:
    """Outputs, and the gradients of the images and the weights, within a graph that knows no count of images."""
    model = keras.Sequential([keras.Input(shape), *layers])
    model.set_weights([random_images(*weight.shape, seed=2) for weight in model.weights])

    @tf.function(input_signature=[tf.TensorSpec([None, *shape], tf.float32)])
    def step(images: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.cast(model(images, training=True), tf.float32)
            loss = tf.reduce_sum(tf.square(outputs))
        return outputs, tape.gradient(loss, [images, *(variable.value for variable in model.trainable_variables)])

    outputs, found = step(images)
    return [np.asarray(one) for one in (outputs, *found)]


@pytest.mark.parametrize("shape", [(6, 5, 64), (None, None, 64)])
@pytest.mark.parametrize(
    ("padding", "policy", "rounding"),
    [("same", "float32", 1e-4), ("valid", "float32", 1e-4), ("same", "mixed_bfloat16", 0.02)],
)
def test_a_layer_learns_what_that_of_keras_does(
    shape: tuple[int | None, ...], padding: str, policy: str, rounding: float
) -> None:
    images = tf.constant(random_images(9, 6, 5, 64))
    arguments = {**WIDE, "padding": padding, "activation": "relu", "dtype": policy}
    ours, theirs = ([keras.layers.Conv2D(**arguments)] for _ in range(2))
    use_forward_filter_gradients(ours)
    found, expected = results(ours, shape, images), results(theirs, shape, images)
    np.testing.assert_array_equal(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=rounding, atol=rounding * np.abs(other).max())
    assert not np.array_equal(found[2], expected[2]), "they are computed in another way"


def test_in_bfloat16_it_is_as_close_to_the_exact_gradient() -> None:
    images, gradients = (tf.cast(random_images(40, 5, 5, width, seed=width), tf.bfloat16) for width in (64, 128))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CACHED_BYTES", 30_000)
        found = filter_gradient(images, gradients, (3, 3), "same")
    assert found.dtype == tf.bfloat16

    def of_tensorflow(dtype: Any) -> Any:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=tf.cast(images, dtype),
            filter_sizes=[3, 3, 64, 128],
            out_backprop=tf.cast(gradients, dtype),
            strides=[1, 1, 1, 1],
            padding="SAME",
        )

    exact = np.asarray(of_tensorflow(tf.float32))
    errors = [np.abs(np.asarray(tf.cast(one, tf.float32)) - exact).mean() for one in (found, of_tensorflow("bfloat16"))]
    assert errors[0] < 1.5 * errors[1]


def test_wide_convolutions_of_stride_one_are_changed() -> None:
    wide = keras.layers.Conv2D(**WIDE)
    others = [
        keras.layers.Conv2D(module.LEAST_FILTERS - 1, 3),
        keras.layers.Conv2D(module.LEAST_FILTERS, 1),
        keras.layers.Conv2D(**WIDE, strides=2),
        keras.layers.Conv2D(**WIDE, dilation_rate=2),
        keras.layers.Conv2D(**WIDE, groups=2),
        keras.layers.Conv2D(**WIDE, data_format="channels_first"),
        keras.layers.DepthwiseConv2D(3),
        keras.layers.Dense(module.LEAST_FILTERS),
    ]
    inner = keras.Sequential([keras.Input((8, 8, 64)), keras.layers.Conv2D(**WIDE)])
    narrow = keras.layers.Conv2D(**WIDE)
    narrow.build((None, 8, 8, module.LEAST_CHANNELS - 1))
    assert list(wide_convolutions([*others, wide, narrow, inner])) == [wide, inner.layers[0]]


@pytest.mark.long
def test_a_run_is_saved_with_the_layers_of_keras(tmp_path: Path) -> None:
    layers = [
        {"Conv2D": {"filters": 64, "kernel_size": 3, "padding": "same"}},
        {"Residual": [{"Conv2D": {**WIDE, "padding": "same"}}]},
        "GlobalAveragePooling2D",
        {"Dense": {"units": "classes", "activation": "softmax"}},
    ]
    training = {"epochs": 1, "forward_filter_gradients": "on"}
    content = config(data={"batch_size": 500}, augmentation=[], model={"layers": layers}, training=training)
    run = run_training(tmp_path, content, "run")
    model = keras.models.load_model(run.model)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    assert not np.array_equal(model(random_images(2, 8, 8, 1)), np.zeros((2, 10)))
