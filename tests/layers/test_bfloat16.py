"""Layers of bfloat16 on a CPU, against sums in float64 and Keras' layers in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from trainings import config, run_training

from cnnkit.layers.bfloat16 import add_bias, use_exact_sums
from cnnkit.layers.filter_gradient import use_forward_filter_gradients
from cnnkit.layers.fused import PooledConv2D, postpone_activations
from cnnkit.training import model as training_model

from .truth import random_images

layers: Any = keras.layers

#: Every kind of layer that is changed, and others of its options, each with a shape of what it takes.
CASES = {
    "Conv2D": (lambda dtype: layers.Conv2D(8, 3, activation="relu", dtype=dtype), (24, 24, 6)),
    "strides": (lambda dtype: layers.Conv2D(8, (2, 3), strides=(2, 1), padding="same", dtype=dtype), (24, 24, 6)),
    "dilation": (lambda dtype: layers.Conv2D(8, 3, dilation_rate=2, dtype=dtype), (24, 24, 6)),
    "Conv1D": (lambda dtype: layers.Conv1D(8, 5, padding="same", strides=2, dtype=dtype), (300, 6)),
    "causal": (lambda dtype: layers.Conv1D(8, 3, padding="causal", dilation_rate=2, dtype=dtype), (300, 6)),
    "Conv3D": (lambda dtype: layers.Conv3D(8, 2, dtype=dtype), (9, 8, 7, 6)),
    "Conv1DTranspose": (lambda dtype: layers.Conv1DTranspose(8, 3, strides=2, dtype=dtype), (150, 6)),
    "Conv2DTranspose": (
        lambda dtype: layers.Conv2DTranspose(8, 3, strides=2, padding="same", output_padding=1, dtype=dtype),
        (12, 12, 6),
    ),
    "Conv3DTranspose": (lambda dtype: layers.Conv3DTranspose(8, 2, strides=2, dtype=dtype), (5, 4, 4, 6)),
    "DepthwiseConv1D": (lambda dtype: layers.DepthwiseConv1D(3, depth_multiplier=2, dtype=dtype), (300, 6)),
    "DepthwiseConv2D": (lambda dtype: layers.DepthwiseConv2D(3, padding="same", dtype=dtype), (24, 24, 6)),
    "SeparableConv1D": (lambda dtype: layers.SeparableConv1D(8, 3, activation="relu", dtype=dtype), (300, 6)),
    "SeparableConv2D": (lambda dtype: layers.SeparableConv2D(8, 3, depth_multiplier=2, dtype=dtype), (24, 24, 6)),
    "Dense": (lambda dtype: layers.Dense(8, activation="relu", dtype=dtype), (300, 6)),
    "EinsumDense": (
        lambda dtype: layers.EinsumDense("abc,cd->abd", (300, 8), bias_axes="d", dtype=dtype),
        (300, 6),
    ),
    "no bias": (lambda dtype: layers.Conv2D(8, 3, use_bias=False, dtype=dtype), (24, 24, 6)),
}

#: Those that sum up without weights: over large windows, or where windows overlap.
POOLING = {
    "AveragePooling1D": (lambda dtype: layers.AveragePooling1D(100, dtype=dtype), (300, 6)),
    "AveragePooling2D": (lambda dtype: layers.AveragePooling2D(24, dtype=dtype), (24, 24, 6)),
    "AveragePooling3D": (lambda dtype: layers.AveragePooling3D(8, dtype=dtype), (8, 8, 8, 6)),
    "AdaptiveAveragePooling1D": (lambda dtype: layers.AdaptiveAveragePooling1D(3, dtype=dtype), (1000, 6)),
    "AdaptiveAveragePooling2D": (lambda dtype: layers.AdaptiveAveragePooling2D((2, 3), dtype=dtype), (64, 64, 6)),
    "AdaptiveAveragePooling3D": (lambda dtype: layers.AdaptiveAveragePooling3D(2, dtype=dtype), (20, 20, 20, 6)),
    "overlapping": (lambda dtype: layers.AveragePooling2D(11, strides=1, padding="same", dtype=dtype), (24, 24, 6)),
}
MAXIMA = {
    "MaxPooling1D": (lambda dtype: layers.MaxPooling1D(90, strides=1, dtype=dtype), (300, 6)),
    "MaxPooling2D": (lambda dtype: layers.MaxPooling2D(15, strides=1, dtype=dtype), (24, 24, 6)),
    "MaxPooling3D": (lambda dtype: layers.MaxPooling3D(5, strides=1, dtype=dtype), (8, 8, 8, 6)),
}


def rounded(values: Any) -> np.ndarray:
    """float32 values that bfloat16 can hold."""
    return np.asarray(values, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)


def pair(name: str, *, in_software: bool) -> tuple[Any, Any, np.ndarray]:
    """The layer in bfloat16, changed, and Keras' in float32, with the same positive weights, and what they take."""
    make, shape = {**CASES, **POOLING, **MAXIMA}[name]
    ours, theirs = make("mixed_bfloat16"), make("float32")
    inputs = rounded(np.abs(random_images(8, *shape)))
    for layer in (ours, theirs):
        layer.build(inputs.shape)
        layer.set_weights([rounded(np.abs(random_images(*weight.shape, seed=2))) for weight in layer.weights])
    use_exact_sums([ours], in_software=in_software)
    return ours, theirs, inputs


def results(layer: Any, inputs: Any, weighing: Any) -> list[np.ndarray]:
    """Outputs, and the gradients of inputs and weights when the outputs' are `weighing`, within a graph."""

    @tf.function
    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = keras.Sequential([layer])(inputs, training=True)
        found = tape.gradient(outputs, [inputs, *layer.trainable_variables], tf.cast(weighing, outputs.dtype))
        return [outputs, *found]

    return [np.asarray(tf.cast(one, tf.float32)) for one in step(tf.cast(inputs, layer.compute_dtype))]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", [name for name in CASES if name != "no bias"])
def test_the_gradient_of_a_bias_is_the_sum_over_all_places(name: str) -> None:
    """All sums are beyond 256, after which bfloat16 has no odd numbers left."""
    ours, _, inputs = pair(name, in_software=False)
    weighing = rounded(np.abs(random_images(*ours.compute_output_shape(inputs.shape), seed=3)))
    expected = weighing.astype(np.float64).sum(axis=tuple(range(weighing.ndim - 1)))
    assert (expected > 500).all()
    # A single rounding, of eight binary digits.
    np.testing.assert_allclose(results(ours, inputs, weighing)[-1], expected, rtol=2.0**-8)


@pytest.mark.parametrize("name", POOLING)
def test_averages_are_rounded_once(name: str) -> None:
    """TensorFlow's own are up to three times what they should be."""
    ours, theirs, inputs = pair(name, in_software=False)
    weighing = rounded(np.abs(random_images(*ours.compute_output_shape(inputs.shape), seed=3)))
    for found, expected in zip(results(ours, inputs, weighing), results(theirs, inputs, weighing), strict=True):
        assert found.dtype == np.float32
        assert distance(found, expected) < 0.003


@pytest.mark.parametrize("name", [*CASES, *MAXIMA])
def test_in_software_all_sums_are_rounded_once(name: str) -> None:
    """By TensorFlow's own convolutions the filters' gradients are 3 % off, those of depthwise ones 16 %."""
    ours, theirs, inputs = pair(name, in_software=True)
    weighing = rounded(np.abs(random_images(*ours.compute_output_shape(inputs.shape), seed=3)))
    found, expected = results(ours, inputs, weighing), results(theirs, inputs, weighing)
    assert len(found) == len(expected) == 2 + len(ours.weights)
    assert all(distance(one, other) < 0.005 for one, other in zip(found, expected, strict=True))
    assert distance(found[1], expected[1]) > 0, "they are rounded"


def test_what_has_instructions_for_bfloat16_convolves_by_them() -> None:
    plain, images = layers.Conv2D(8, 3, use_bias=False, dtype="mixed_bfloat16"), random_images(8, 24, 24, 6)
    plain.build(images.shape)
    weighing = np.ones(plain.compute_output_shape(images.shape))
    expected = results(plain, images, weighing)
    use_exact_sums([plain], in_software=False)
    for one, other in zip(results(plain, images, weighing), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_wide_convolutions_compute_their_filters_gradients_forward_in_float32() -> None:
    wide = [layers.Conv2D(128, 3, dtype="mixed_bfloat16") for _ in range(2)]
    images, weighing = rounded(random_images(9, 6, 5, 64)), rounded(random_images(9, 4, 3, 128, seed=3))
    for layer in wide:
        layer.build(images.shape)
        layer.set_weights([random_images(*weight.shape, seed=2) for weight in layer.weights])
    use_forward_filter_gradients(wide[:1])
    use_exact_sums(wide, in_software=True)
    found, expected = (results(layer, images, weighing) for layer in wide)
    for one, other in zip(found, expected, strict=True):
        assert distance(one, other) < 0.003


def test_layers_inside_of_others_are_changed_and_others_are_not() -> None:
    inside = layers.MultiHeadAttention(2, 4, dtype="mixed_bfloat16")
    attended = keras.Input((300, 6))
    block = keras.Model(attended, inside(attended, attended))
    others = [
        layers.Dense(3),
        layers.Dense(3, dtype="mixed_float16"),
        layers.Conv2D(3, 1, data_format="channels_first", dtype="mixed_bfloat16"),
        layers.BatchNormalization(dtype="mixed_bfloat16"),
        layers.GlobalAveragePooling2D(dtype="mixed_bfloat16"),
    ]
    use_exact_sums([block, *others, attended], in_software=True)
    assert all("call" not in vars(layer) for layer in others)
    inputs = tf.constant(np.abs(random_images(16, 300, 6)), tf.float32)
    with tf.GradientTape() as tape:
        outputs = tf.reduce_sum(tf.cast(block(inputs), tf.float32))
    bias = next(weight for weight in block.trainable_weights if weight.path.endswith("attention_output/bias"))
    np.testing.assert_allclose(tape.gradient(outputs, bias.value), np.full(6, 16 * 300.0), rtol=2.0**-8)


@pytest.mark.parametrize("in_software", [False, True])
def test_a_bias_after_the_pooling_is_summed_up_as_well(in_software: bool) -> None:
    plain = [
        keras.Input((48, 48, 2)),
        layers.Conv2D(4, 3, activation="relu", dtype="mixed_bfloat16"),
        layers.MaxPooling2D(2, dtype="mixed_bfloat16"),
    ]
    changed = postpone_activations(plain)
    assert isinstance(changed[1], PooledConv2D)
    use_exact_sums(changed, in_software=in_software)
    model = keras.Sequential(changed)
    model.set_weights([np.abs(random_images(*weight.shape, seed=2)) for weight in model.weights])
    with tf.GradientTape() as tape:
        outputs = tf.reduce_sum(tf.cast(model(np.abs(random_images(2, 48, 48, 2))), tf.float32))
    # Every value is positive, so that each passes on a gradient of 1.
    found = tape.gradient(outputs, model.trainable_variables[1].value)
    np.testing.assert_allclose(found, np.full(4, 2 * 23 * 23.0), rtol=2.0**-8)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_in_other_types_a_bias_is_added_as_tensorflow_does(dtype: str) -> None:
    values, bias = (tf.cast(random_images(*shape), dtype) for shape in ((5, 7, 3), (3,)))
    np.testing.assert_array_equal(add_bias(values, bias), tf.nn.bias_add(values, bias))


def bias_after_one_step(path: Path, policy: str, name: str) -> np.ndarray:
    """Of a convolution over 1,000 images of 6x6 places, which is the negative gradient."""
    network = [{"Conv2D": {"filters": 8, "kernel_size": 3}}, "GlobalAveragePooling2D", {"Dense": "classes"}]
    content = config(
        data={"batch_size": 1000, "drop_remainder": True},
        augmentation=[],
        model={"layers": network},
        training={"epochs": 1, "optimizer": {"SGD": {"learning_rate": 1}}, "schedule": None, "dtype_policy": policy},
    )
    return np.asarray(keras.models.load_model(run_training(path, content, name).model).layers[1].weights[1])


@pytest.mark.long
def test_a_run_sums_up_as_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bias_after_one_step(tmp_path, "float32", "float32")
    for hindrance in (None, "no instructions"):
        monkeypatch.setattr(training_model, "bfloat16_hindrance", lambda hindrance=hindrance: hindrance)
        assert distance(bias_after_one_step(tmp_path, "mixed_bfloat16", f"bfloat16-{hindrance}"), expected) < 0.02
