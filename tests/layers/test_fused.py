"""Layers that are faster in training, against Keras' own: bias and ReLU behind the max pooling, GELU and SiLU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.config.load import load_config
from cnnkit.layers import fused
from cnnkit.layers.fused import ActivatingMaxPooling2D, PooledConv2D, fuse_activations, postpone_activations
from cnnkit.layers.submodel import with_inner
from cnnkit.training.model import build_model, without_training_state

from .truth import GRID, random_images

SHAPE = (9, 8, 3)


def pair(convolution: dict[str, Any], pooling: dict[str, Any], dtype: str = "float32") -> list[Any]:
    arguments = {"filters": 8, "kernel_size": 3, "activation": "relu"} | convolution
    return [
        keras.layers.Conv2D(**arguments, dtype=dtype),
        keras.layers.MaxPooling2D(**pooling, dtype=dtype),
    ]


def results(layers: list[Any]) -> list[np.ndarray]:
    """Outputs, and the gradients of the images and the weights, for fixed weights and gradients."""
    images = tf.constant(random_images(4, *SHAPE))
    model = keras.Sequential([keras.Input(SHAPE), *layers])
    model.set_weights([random_images(*weight.shape, seed=2) for weight in model.weights])
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = tf.cast(model(images, training=True), tf.float32)
        loss = tf.reduce_sum(outputs * random_images(*outputs.shape, seed=1))
    found = tape.gradient(loss, [images, *(variable.value for variable in model.trainable_variables)])
    return [np.asarray(one) for one in (outputs, *found)]


@GRID
@given(
    st.fixed_dictionaries({"padding": st.sampled_from(["valid", "same"]), "trainable": st.booleans()}),
    st.fixed_dictionaries(
        {
            "pool_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
            "strides": st.sampled_from([2, (1, 2), (3, 1)]),
            "padding": st.sampled_from(["valid", "same"]),
        }
    ),
)
def test_outputs_and_gradients_are_those_of_keras(convolution: dict[str, Any], pooling: dict[str, Any]) -> None:
    ours = postpone_activations(pair(convolution, pooling))
    assert [type(layer) for layer in ours] == [PooledConv2D, ActivatingMaxPooling2D]
    expected = results(pair(convolution, pooling))
    assert (expected[0] == 0).any()
    assert (expected[0] > 0).any()
    for mine, theirs in zip(results(ours), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-5)


def test_half_precision_is_that_of_keras() -> None:
    layers = postpone_activations(pair({}, {}, "mixed_bfloat16"))
    assert type(layers[0]) is PooledConv2D
    mine, theirs = results(layers), results(pair({}, {}, "mixed_bfloat16"))
    np.testing.assert_allclose(mine[0], theirs[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("convolution", "pooling"),
    [
        ({"activation": "gelu"}, {}),
        ({"activation": None}, {}),
        ({"use_bias": False}, {}),
        ({"activity_regularizer": "l2"}, {}),
        ({"data_format": "channels_first"}, {"data_format": "channels_first"}),
        ({}, {"strides": 1}),
    ],
)
def test_other_pairs_stay_as_they_are(convolution: dict[str, Any], pooling: dict[str, Any]) -> None:
    layers = pair(convolution, pooling)
    assert postpone_activations(layers) == layers


def test_a_layer_between_the_two_leaves_them_alone() -> None:
    convolution, pooling = pair({}, {})
    layers = [convolution, keras.layers.Dropout(0.5), pooling]
    assert postpone_activations(layers) == layers


CONFIG = """
data: {name: digits}
model:
  layers:
    - Conv2D: {filters: 8, kernel_size: 3, activation: relu, kernel_initializer: Dirac, kernel_regularizer: {L2: 0.1}}
    - MaxPooling2D: 2
    - Conv2D: {filters: 8, kernel_size: 2, activation: relu, name: second}
    - MaxPooling2D: 2
    - Flatten
    - Dense: {units: classes, activation: softmax}
training: {epochs: 1, dtype_policy: float32}
"""


def test_under_xla_channels_far_from_zero_are_normalized(tmp_path: Path) -> None:
    """The fused operation makes most of these channels NaN there."""
    file = tmp_path / "config.yaml"
    file.write_text(
        """
data: {name: digits}
model:
  layers:
    - Conv2D: {filters: 64, kernel_size: 1}
    - Residual: {layers: [BatchNormalization]}
    - Flatten
    - Dense: {units: classes, activation: softmax}
training: {epochs: 1, dtype_policy: float32}
"""
    )
    normalized = []
    for jit in ("on", "off"):
        loaded = load_config(str(file), [f"training.jit={jit}"])
        model = build_model(loaded.config, loaded.steps, loaded.info.target, None)
        inside = next(layer for layer in with_inner(model.layers) if isinstance(layer, fused.FusedBatchNormalization))
        # Constant channels have a variance of 0.
        channels = tf.constant(np.broadcast_to(random_images(1, 1, 1, 64) * 50, (32, 8, 8, 64)))
        call = tf.function(inside, jit_compile=jit == "on")
        normalized.append(np.asarray(call(channels, training=True)))
    for values in normalized:
        np.testing.assert_allclose(values, 0, atol=0.05)


def test_a_built_model_is_saved_as_keras_own_layers(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    loaded = load_config(str(file), [])
    model = build_model(loaded.config, loaded.steps, loaded.info.target, None)
    assert [type(layer) for layer in model.layers].count(PooledConv2D) == 2
    assert [weight.path.split("/")[-2] for weight in model.weights[:4]] == ["0.Conv2D"] * 2 + ["second"] * 2
    images = random_images(5, *loaded.info.shape) * 100
    model(images)
    kernel = np.asarray(model.weights[0])
    # Dirac's kernel: the first filter repeats the first (and only) channel.
    np.testing.assert_array_equal(kernel[:, :, 0, 0], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(float(sum(model.losses)), 0.1 * np.square(kernel).sum(), rtol=1e-6)
    model.set_weights([random_images(*weight.shape, seed=3) for weight in model.weights])
    plain = without_training_state(model)
    assert all(type(layer).__module__.startswith("keras.") for layer in plain.layers)
    np.testing.assert_allclose(plain(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gelu", "silu"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 0.04), ("float16", 0.01)])
def test_activations_in_one_pass_are_those_of_keras(name: str, dtype: str, tolerance: float) -> None:
    """In value, gradient and second derivative; in half precision Keras rounds after each of its operations."""
    x = tf.cast(np.linspace(-12, 12, 20_001), dtype)

    def derivatives(function: Any) -> list[np.ndarray]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x)
            first = inner.gradient(y, x)
        assert y.dtype == first.dtype == x.dtype
        return [np.asarray(tf.cast(one, tf.float64)) for one in (y, first, outer.gradient(first, x))]

    expected = derivatives(getattr(keras.activations, name))
    for mine, theirs in zip(derivatives(getattr(fused, name)), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=tolerance)


def test_activations_are_fused_at_any_depth_and_saved_as_keras_own(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        """
data: {name: digits}
model:
  layers:
    - Conv2D: {filters: 8, kernel_size: 3, padding: same, activation: gelu}
    - Residual:
        layers:
          - SpectralNormalization: {layer: {Conv2D: {filters: 8, kernel_size: 3, padding: same, activation: silu}}}
          - Activation: swish
    - Activation: gelu
    - Flatten
    - Dense: {units: classes, activation: softmax}
training: {epochs: 1, dtype_policy: float32}
"""
    )
    outputs = []
    images = None
    for setting in ("on", "off"):
        loaded = load_config(str(file), [f"training.fused_activations={setting}"])
        model = build_model(loaded.config, loaded.steps, loaded.info.target, None)
        used = [
            layer.activation
            for layer in model._flatten_layers(include_self=False)
            if getattr(layer, "activation", None) not in (None, keras.activations.softmax, keras.activations.linear)
        ]
        assert len(used) == 4
        assert all((function in (fused.gelu, fused.silu)) is (setting == "on") for function in used)
        images = random_images(3, *loaded.info.shape)
        outputs.append(np.asarray(model(images)))
        plain = without_training_state(model)
        plain.save(tmp_path / "model.keras")
        opened = keras.models.load_model(tmp_path / "model.keras")
        assert "cnnkit" not in opened.to_json()
        np.testing.assert_allclose(opened(images), outputs[-1], atol=1e-5)
    np.testing.assert_allclose(*outputs, atol=1e-5)


def test_other_activations_stay_as_they_are() -> None:
    layers = [
        *(keras.layers.ReLU(), keras.layers.Activation("relu"), keras.layers.Dense(3)),
        # One pass computes in float32.
        keras.layers.Activation("gelu", dtype="float64"),
    ]
    before = [getattr(layer, "activation", None) for layer in layers]
    fuse_activations(layers)
    assert [getattr(layer, "activation", None) for layer in layers] == before
