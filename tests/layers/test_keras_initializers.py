"""The initializers that Keras lacks, against what they promise."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cnnkit.layers.keras_initializers import Dirac, whitening_kernel

from .truth import random_images


@pytest.mark.parametrize(("window", "channels", "filters"), [(3, 4, 4), (3, 4, 10), (5, 6, 3), (1, 2, 2)])
def test_a_dirac_convolution_passes_its_input_on(window: int, channels: int, filters: int) -> None:
    images = random_images(2, 8, 9, channels)
    layer = keras.layers.Conv2D(filters, window, padding="same", use_bias=False, kernel_initializer=Dirac(seed=1))
    passed = min(channels, filters)
    np.testing.assert_allclose(np.asarray(layer(images))[..., :passed], images[..., :passed], atol=1e-6)


def test_the_other_filters_are_drawn_as_pytorch_draws_them() -> None:
    kernel = np.asarray(Dirac(seed=1)((3, 3, 16, 400)))[..., 16:]
    bound = 1 / np.sqrt(3 * 3 * 16)
    assert np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.02)
    assert np.array_equal(np.asarray(Dirac(seed=1)((3, 3, 2, 5))), np.asarray(Dirac(seed=1)((3, 3, 2, 5))))
    assert not np.array_equal(np.asarray(Dirac(seed=1)((3, 3, 2, 5))), np.asarray(Dirac(seed=2)((3, 3, 2, 5))))


def correlated_images() -> np.ndarray:
    """Images whose neighbouring pixels and channels go together."""
    noise = random_images(60, 12, 12, 1)
    smooth = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + np.roll(noise, (1, 1), (1, 2))
    return (smooth + 0.3 * random_images(60, 12, 12, 3, seed=1)).astype(np.float32)


def test_whitened_patches_are_uncorrelated_with_variance_one() -> None:
    images = correlated_images()
    kernel = whitening_kernel(images, (2, 2), 24, epsilon=1e-9)
    outputs = np.asarray(keras.ops.conv(images, kernel[..., :12], padding="valid")).reshape(-1, 12)
    np.testing.assert_allclose(outputs.T @ outputs / len(outputs), np.eye(12), atol=1e-3)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])


def test_fewer_filters_are_those_of_the_largest_variance() -> None:
    images = correlated_images()
    kernel = whitening_kernel(images, (3, 3), 8, epsilon=1e-9)
    patches = np.asarray(keras.ops.image.extract_patches(images, (3, 3), strides=1, padding="valid")).reshape(-1, 27)
    variances = np.sort(np.linalg.eigvalsh(patches.T @ patches / len(patches)))[::-1]
    # A filter that makes variance v to 1 has the norm 1 / sqrt(v).
    np.testing.assert_allclose(np.linalg.norm(kernel.reshape(27, 8), axis=0)[:4] ** -2, variances[:4], rtol=1e-3)


def test_epsilon_keeps_faint_components_small() -> None:
    flat = np.ones((20, 8, 8, 1), np.float32)
    assert np.abs(whitening_kernel(flat, (2, 2), 8, epsilon=5e-4)).max() < 1 / np.sqrt(5e-4) + 1e-3
