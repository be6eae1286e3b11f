"""The standard deviation over a group of images, against a computation in NumPy, image by image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape
from cnnkit.layers.receptive_field import View

from .truth import make, random_images, run, scope


def expected(images: np.ndarray, size: int) -> np.ndarray:
    """Karras et al. 2018, section 3, for groups of consecutive images: the images with a further last channel."""
    count = len(images)
    group = next(number for number in range(min(size, count), 0, -1) if count % number == 0)
    channel = np.zeros((*images.shape[:-1], 1))
    for start in range(0, count, group):
        together = images[start : start + group].astype(np.float64)
        deviation = np.sqrt(together.var(axis=0) + 1e-8)
        channel[start : start + group] = deviation.mean() if group > 1 else 0
    return np.concatenate([images, channel], axis=-1)


@pytest.mark.parametrize("shape", [(5,), (7, 5), (4, 3, 5), (2, 4, 3, 5)], ids=str)
@pytest.mark.parametrize(("count", "size"), [(8, 4), (6, 4), (5, 4), (7, 4), (1, 4), (3, 16), (12, 6)])
def test_the_channel_is_the_mean_deviation_over_the_group(shape: Shape, count: int, size: int) -> None:
    images = random_images(count, *shape) * 3 + 100
    layer = make("MinibatchStandardDeviation", size)
    found = run(layer, images)
    np.testing.assert_allclose(found, expected(images, size), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[..., :-1], images)
    assert layer.output_shape(shape) == found.shape[1:]


def test_four_images_are_a_group_and_the_channels_may_come_first() -> None:
    images = random_images(8, 4, 3, 5)
    layer = make("MinibatchStandardDeviation", {"data_format": "channels_first"})
    found = run(layer, np.moveaxis(images, -1, 1))
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected(images, 4), rtol=1e-5, atol=1e-6)
    assert layer.output_shape((5, 4, 3)) == (6, 4, 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_it_is_computed_in_float32_in_half_precision(policy: str) -> None:
    """The squares of 300 are beyond float16, and bfloat16 has no number between 256 and 258."""
    images = np.full((4, 6, 6, 1), 300, np.float32) + 2 * (np.arange(4, dtype=np.float32) % 2).reshape(4, 1, 1, 1)
    found = run(make("MinibatchStandardDeviation", None), images, dtype=policy)
    assert found.dtype.name == policy.removeprefix("mixed_")
    np.testing.assert_allclose(found[..., -1].astype(np.float32), 1, rtol=1e-2)


def built(shape: Shape) -> Any:
    return make("MinibatchStandardDeviation", None).build(scope(shape))


def test_gradients_are_finite_where_all_images_are_equal() -> None:
    """Those of R1, too, which are gradients of gradients."""
    images, layer = tf.fill([8, 3, 3, 2], 0.3), built((3, 3, 2))
    with tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            total = tf.reduce_sum(layer(images)[..., -1])
        slope = inner.gradient(total, images)
        penalty = tf.reduce_sum(tf.square(slope))
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    curvature = tf.convert_to_tensor(outer.gradient(penalty, images))
    assert np.isfinite(curvature).all()


def test_gradients_are_those_of_finite_differences() -> None:
    images, layer = random_images(6, 2, 2, 3), built((2, 2, 3))
    weights = random_images(6, 2, 2, 4, seed=1)
    variable = tf.Variable(images)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(variable) * weights)
    slope = np.asarray(tape.gradient(total, variable))
    for place in [(0, 0, 0, 0), (2, 1, 0, 2), (5, 1, 1, 1)]:
        step = np.zeros(images.shape)
        step[place] = 1e-5
        wide = images.astype(np.float64)
        above, below = (np.sum(expected(wide + sign * step, 4) * weights) for sign in (1, -1))
        assert slope[place] == pytest.approx((above - below) / 2e-5, rel=1e-3, abs=1e-4)


def test_xla_computes_the_same() -> None:
    images, layer = random_images(6, 4, 3, 5), built((4, 3, 5))
    compiled = tf.function(lambda x: layer(x), jit_compile=True)
    np.testing.assert_allclose(compiled(images), layer(images), rtol=1e-6, atol=1e-6)


def test_what_is_saved_takes_images_of_any_size_in_batches_of_any_size(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 5))
    layer = make("MinibatchStandardDeviation", None)
    keras.Model(inputs, layer.build(replace(scope((4, 3, 5)), fed=(None, None, 5)))(inputs)).save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    for shape in ((8, 4, 3, 5), (6, 2, 7, 5)):
        images = random_images(*shape)
        np.testing.assert_allclose(np.asarray(again(images)), expected(images, 4), rtol=1e-5, atol=1e-6)


def test_every_position_sees_all_of_the_image() -> None:
    view = View.of((20, 20, 12)).behind(make("MinibatchStandardDeviation", None), (20, 20, 12))
    assert view.field() == (20, 20)


@pytest.mark.parametrize("size", [1, 0, 65, 2.5])
def test_a_group_has_two_images_to_64(size: Any) -> None:
    with pytest.raises(PydanticCustomError):
        make("MinibatchStandardDeviation", size)
