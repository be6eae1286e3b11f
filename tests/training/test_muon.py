"""Muon for convolutions, against NumPy and against Keras' own Muon."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from cnnkit.config.optimization.optimizers import OPTIMIZERS, Optimizer
from cnnkit.format.base import Choice


def muon(rate: float = 0.1, **arguments: Any) -> Any:
    found = Choice(OPTIMIZERS).validate(
        {"Muon": {"weight_decay": None, "adam_weight_decay": None, "rms_rate": None, **arguments}}
    )
    assert isinstance(found, Optimizer)
    return found.build(rate)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def updated(optimizer: Any, kernel: np.ndarray, *gradients: np.ndarray) -> np.ndarray:
    variable = keras.Variable(kernel)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return np.asarray(variable)


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (3, 3, 2, 40), (1, 1, 6, 6)])
def test_the_update_of_a_kernel_is_close_to_orthogonal(shape: tuple[int, ...]) -> None:
    kernel, gradient = values(*shape), values(*shape, seed=1)
    step = (kernel - updated(muon(0.1, convolutions=True, ns_steps=5), kernel, gradient)) / 0.1
    singular = np.linalg.svd(step.reshape(-1, shape[-1]), compute_uv=False)
    # The iteration leaves the singular values between about 0.7 and 1.2, and keeps the singular vectors.
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    left, _, right = np.linalg.svd(gradient.reshape(-1, shape[-1]), full_matrices=False)
    aligned = left.T @ step.reshape(-1, shape[-1]) @ right.T
    assert np.abs(aligned - np.diag(np.diag(aligned))).max() < 1e-3


def test_a_kernel_is_updated_as_keras_updates_the_matrix_of_its_filters() -> None:
    kernel = values(3, 3, 4, 8)
    gradients = [values(3, 3, 4, 8, seed=seed) for seed in (1, 2, 3)]
    arguments = {"momentum": 0.6, "ns_steps": 3, "rms_rate": 0.2}
    ours = updated(muon(convolutions=True, **arguments), kernel, *gradients)
    theirs = updated(muon(**arguments), kernel.reshape(36, 8), *(gradient.reshape(36, 8) for gradient in gradients))
    np.testing.assert_allclose(ours.reshape(36, 8), theirs, atol=1e-6)


def test_without_convolutions_it_is_keras_own() -> None:
    assert type(muon()) is keras.optimizers.Muon


def test_normalized_kernels_have_the_norm_of_the_square_root_of_their_filters() -> None:
    kernel = 5 * values(3, 3, 4, 16)
    tiny = updated(muon(1e-9, convolutions=True, normalize_kernels=True), kernel, values(3, 3, 4, 16, seed=1))
    np.testing.assert_allclose(np.linalg.norm(tiny), 4, rtol=1e-5)
    np.testing.assert_allclose(tiny / np.linalg.norm(tiny), kernel / np.linalg.norm(kernel), atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3, 4, 1), (8,), (2, 3, 4)])
def test_what_has_no_matrix_goes_to_adam(shape: tuple[int, ...]) -> None:
    start, gradient = values(*shape), values(*shape, seed=1)
    ours = updated(muon(convolutions=True, adam_lr_ratio=0.5), start, gradient)
    adam = updated(keras.optimizers.Adam(0.05), start, gradient)
    np.testing.assert_allclose(ours, adam, atol=1e-6)


def test_a_layer_can_be_left_to_adam() -> None:
    layer = keras.layers.Conv2D(4, 3, name="3.Conv2D")
    layer.build((None, 8, 8, 2))
    optimizer = muon(convolutions=True, exclude_layers=["3.Conv2D"])
    optimizer.build(layer.trainable_variables)
    assert all(velocity is not None for velocity in optimizer.adam_velocities)


def test_normalizing_needs_convolutions() -> None:
    with pytest.raises(Exception, match="Muon"):
        muon(normalize_kernels=True)


def test_several_devices_decay_the_weights_that_one_does() -> None:
    """Adam's part of Muon has a decay of its own, which Keras' other optimizers have not."""
    from cnnkit.training.replicas import add_up_gradients

    def decayed(several: bool) -> list[float]:
        optimizer = keras.optimizers.Muon(0.1, weight_decay=0.5, adam_weight_decay=None)
        kernel, bias = keras.Variable([[1.0, 2.0]], name="kernel"), keras.Variable([3.0], name="bias")
        optimizer.build([kernel, bias])
        if several:
            add_up_gradients(optimizer)
        optimizer._apply_weight_decay([kernel, bias])
        return [*kernel.numpy().ravel().tolist(), *bias.numpy().tolist()]

    assert decayed(several=True) == decayed(several=False)
    assert decayed(several=True) == pytest.approx([0.95, 1.9, 3.0])
