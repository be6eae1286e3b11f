"""Layers whose activation has arguments, against Keras' layer without one and the function after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cnnkit.format.shapes import Shape

from .test_assembled import refusal
from .truth import make, random_images, resolved, scope

SLOPE = {"leaky_relu": {"negative_slope": 0.05}}

LAYERS = {
    "Dense": ({"units": 6}, (5,)),
    "Conv1D": ({"filters": 6, "kernel_size": 3}, (7, 4)),
    "Conv2D": ({"filters": 6, "kernel_size": 3, "strides": 2}, (7, 8, 4)),
    "DepthwiseConv2D": ({"kernel_size": 3}, (7, 8, 4)),
    "SeparableConv2D": ({"filters": 6, "kernel_size": 3}, (7, 8, 4)),
    "Conv2DTranspose": ({"filters": 6, "kernel_size": 2, "strides": 2}, (4, 5, 4)),
    "Conv3D": ({"filters": 4, "kernel_size": 2}, (4, 5, 3, 2)),
}


def weights_of(model: Any) -> list[Any]:
    """The same numbers for each model of equal weights, some of them negative."""
    random = np.random.default_rng(0)
    return [random.normal(size=weight.shape) for weight in model.get_weights()]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        *((name, SLOPE) for name in LAYERS),
        *(("Conv2D", function) for function in ({"gelu": {"approximate": True}}, "glu", {"softmax": {"axis": 1}})),
    ],
    ids=str,
)
def test_the_function_follows_the_layer(name: str, function: Any, tmp_path: Path) -> None:
    arguments, shape = LAYERS[name]
    layer = resolved(name, {**arguments, "activation": function}, shape)
    built = layer.build(scope(shape))
    plain = getattr(keras.layers, name)(**arguments)
    plain.build((None, *shape))
    # Keras' weights in their order: the function has none.
    built.set_weights(weights_of(plain))
    plain.set_weights(weights_of(plain))
    images = random_images(2, *shape)
    kind = function if isinstance(function, str) else next(iter(function))
    options = {} if isinstance(function, str) else function[kind]
    expected = np.asarray(getattr(keras.activations, kind)(plain(images), **options))
    np.testing.assert_allclose(np.asarray(built(images)), expected, rtol=1e-5, atol=1e-6)
    assert layer.output_shape(shape) == expected.shape[1:]
    assert layer.parameters(shape) == (plain.count_params(), 0)
    assert layer.macs(shape) == resolved(name, arguments, shape).macs(shape)
    assert layer.output_activation == kind
    model = keras.Sequential([keras.Input(shape), built])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(images)
    np.testing.assert_allclose(np.asarray(again), expected, rtol=1e-5, atol=1e-6)


def test_residual_and_squeeze_excite_take_functions_too() -> None:
    shape: Shape = (4, 5, 8)
    images = random_images(2, *shape)
    inner = {"layers": [{"ReLU": {"max_value": 0.5}}]}
    found = resolved("Residual", {**inner, "activation": {"celu": 0.5}}, shape).build(scope(shape))(images)
    total = np.asarray(images) + np.clip(images, 0, 0.5)
    np.testing.assert_allclose(np.asarray(found), np.asarray(keras.activations.celu(total, alpha=0.5)), rtol=1e-5)
    gate = resolved("SqueezeExcite", {"ratio": 2, "activation": SLOPE}, shape)
    built = gate.build(scope(shape))
    weights = weights_of(built)
    built.set_weights(weights)
    one, offset, other, last = weights
    hidden = np.mean(images, axis=(1, 2)) @ one[0, 0] + offset
    hidden = np.where(hidden > 0, hidden, 0.05 * hidden)
    factors = 1 / (1 + np.exp(-(hidden @ other[0, 0] + last)))
    np.testing.assert_allclose(np.asarray(built(images)), images * factors[:, None, None], rtol=1e-4)


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ({"tanh": 1}, "takes no arguments; write its name alone: `tanh`"),
        ({"leaky_relu": {"negativ_slope": 1}}, "a mistake in leaky_relu"),
        ({"lrelu": 0.1}, "write `leaky_relu`"),
        ({"prelu": {}}, "write the layer `PReLU`"),
        ("threshold", "threshold: {threshold: 0.1, default_value: 0}"),
        (3, "expected the name of an activation"),
    ],
)
def test_what_is_no_activation_is_refused(activation: Any, message: str) -> None:
    assert message in refusal("Dense", {"units": 3, "activation": activation})


def test_a_function_is_written_as_it_was_read() -> None:
    layer = make("Dense", {"units": 3, "activation": SLOPE})
    assert layer.to_plain() == {"Dense": {"units": 3, "activation": SLOPE}}
