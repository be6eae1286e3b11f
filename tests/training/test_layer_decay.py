"""Layers that learn at shares of the rate: what each update comes to, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from trainings import config, write

from cnnkit.config.load import load_config
from cnnkit.training.loop import Position
from cnnkit.training.preparation import make_loop, prepare
from cnnkit.training.schedules import scale_rates

FACTORS = (0.25, 0.5, 1.0)


def adam(weight: np.ndarray, gradients: list[np.ndarray], rates: list[float], decay: float) -> np.ndarray:
    """AdamW, as in Loshchilov and Hutter's algorithm 2, with the rate of each step."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = first / (1 - 0.9**step), second / (1 - 0.999**step)
        weight = weight - rate * decay * weight - rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-7)
    return weight


def momentum(weight: np.ndarray, gradients: list[np.ndarray], rates: list[float], decay: float) -> np.ndarray:
    speed = np.zeros_like(weight)
    for gradient, rate in zip(gradients, rates, strict=True):
        speed = 0.9 * speed - rate * gradient
        weight = weight - rate * decay * weight + speed
    return weight


@pytest.mark.parametrize(
    ("make", "by_hand"),
    [
        (lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1), adam),
        (lambda rate: keras.optimizers.SGD(rate, momentum=0.9, weight_decay=0.1), momentum),
        (
            lambda rate: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.AdamW(rate, weight_decay=0.1), initial_scale=1.0
            ),
            adam,
        ),
    ],
    ids=["AdamW", "SGD", "loss scaling"],
)
@pytest.mark.parametrize("scheduled", [False, True])
def test_each_variable_is_updated_at_its_share_of_the_rate(make: Any, by_hand: Any, scheduled: bool) -> None:
    random = np.random.default_rng(0)
    begun = [random.normal(size=(3, 2)).astype(np.float32) for _ in FACTORS]
    gradients = [[random.normal(size=(3, 2)).astype(np.float32) for _ in FACTORS] for _ in range(4)]
    rates = [0.1, 0.1, 0.02, 0.02] if scheduled else [0.1] * 4
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.02])
    variables = [keras.Variable(value) for value in begun]
    optimizer = make(schedule if scheduled else 0.1)
    optimizer.build(variables)
    scale_rates(optimizer, FACTORS)
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in step], variables)
    for index, factor in enumerate(FACTORS):
        of_variable = [step[index] for step in gradients]
        expected = by_hand(begun[index].astype(np.float64), of_variable, [factor * rate for rate in rates], 0.1)
        np.testing.assert_allclose(variables[index].numpy(), expected, rtol=2e-5, atol=1e-6)
    # What metrics.csv has is the rate of the last level.
    assert float(optimizer.learning_rate) == pytest.approx(rates[-1])


@pytest.mark.long
def test_a_training_decays_from_the_output_to_the_input(tmp_path: Path) -> None:
    """The first step of plain gradient descent is proportional to the rate."""

    def weights_of(layer: Any) -> list[np.ndarray]:
        return [weight.numpy() for weight in layer.trainable_weights]

    def first_step(**training: Any) -> dict[str, np.ndarray]:
        convolution = {"filters": 8, "kernel_size": 3}
        layers = [
            {"Conv2D": {**convolution, "name": "first"}},
            {"BatchNormalization": {"name": "scale"}},
            "ReLU",
            {"Residual": {"layers": [{"Conv2D": {**convolution, "padding": "same"}}], "name": "second"}},
            {"MultiHeadAttention": {"num_heads": 1, "key_dim": 2, "name": "attention"}},
            "Flatten",
            {"Dense": {"units": "classes", "activation": "softmax", "name": "head"}},
        ]
        content = config(model={"layers": layers})
        content["training"] = {"epochs": 1, "optimizer": {"SGD": 0.1}, "jit": "off", **training}
        prepared = prepare(load_config(write(tmp_path, content)))
        loop = make_loop(prepared)
        before = {layer.name: weights_of(layer) for layer in prepared.model.layers}
        loop.begin(Position())
        loop.take(1)
        return {
            layer.name: np.concatenate(
                [(now - then).ravel() for now, then in zip(weights_of(layer), before[layer.name], strict=True)]
            )
            for layer in prepared.model.layers
            if layer.weights
        }

    plain, decayed = first_step(), first_step(layer_decay=0.5)
    assert plain.keys() == {"first", "scale", "second", "attention", "head"}
    factors = {"first": 0.125, "scale": 0.125, "second": 0.25, "attention": 0.5, "head": 1.0}
    for name, factor in factors.items():
        assert np.abs(plain[name]).max() > 1e-4
        np.testing.assert_allclose(decayed[name], factor * plain[name], atol=1e-6)
