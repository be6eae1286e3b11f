"""What holds for every augmentation: pure functions of (seed, epoch, step), each image on its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pytest

from cnnkit.augmentation.pipeline import Pipeline

from .examples import (
    ARGUMENTS,
    DETERMINISTIC,
    MIXING,
    RANDOM,
    SLOW,
    augmented,
    example,
    make,
    one_hot,
    random_images,
)

#: All of them, those that are slow in the second stage.
SLOW_LATER = [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in ARGUMENTS]

#: Layers that can only do a few things to an image, with how many different results 16 copies must show.
FEW_RESULTS = {
    "RandomFlip": 2,
    "RandomGrayscale": 2,
    "RandomInvert": 2,
    "RandomPosterization": 4,
    "RandAugment": 10,
}


#: Layers that only move or replace pixels, which therefore stay bytes.
BYTES = {"RandomFlip", "RandomCrop"}


@pytest.fixture
def mixed_policy() -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def shapes(name: str) -> tuple[tuple[int, ...], ...]:
    """The shapes that an image of 16x16 may have after it."""
    return example(name).shapes((16, 16, 3))


def made(name: str) -> tuple[np.ndarray, np.ndarray]:
    """One batch of six images and their labels after one augmentation, that of seed 1, epoch 2 and step 3."""
    return augmented(Pipeline([example(name)], 1), random_images(6), one_hot(6), 2, 3)


#: The same for the tests that compare something with it.
first_made = functools.cache(made)


def run(name: str, seed: int = 1, epoch: int = 2, step: int = 3) -> np.ndarray:
    """One batch of six images after one augmentation."""
    pipeline = Pipeline([example(name)], seed)
    changed, _ = augmented(pipeline, random_images(6), one_hot(6), epoch, step)
    return changed


@pytest.mark.parametrize("name", SLOW_LATER)
def test_the_same_seed_epoch_and_step_give_the_same_pixels(name: str) -> None:
    pipeline = Pipeline([example(name)], seed=1)
    images = random_images(6)
    first, first_labels = augmented(pipeline, images, one_hot(6), 2, 3)
    augmented(pipeline, images, one_hot(6), 5, 5)
    again, again_labels = augmented(pipeline, images, one_hot(6), 2, 3)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first_labels, again_labels)
    np.testing.assert_array_equal(first, first_made(name)[0])


@pytest.mark.parametrize("name", RANDOM)
def test_another_epoch_step_or_seed_gives_other_pixels(name: str) -> None:
    results = [
        first_made(name)[0],
        run(name, epoch=3),
        run(name, step=4),
        run(name, seed=2),
        run(name, epoch=3, step=2),
    ]
    for i, first in enumerate(results):
        for second in results[:i]:
            assert np.abs(first - second.astype(np.float32)).max() > 1


@pytest.mark.parametrize("name", sorted(DETERMINISTIC - {"ProgressiveResizing"}))
def test_a_layer_without_draws_always_gives_the_same_pixels(name: str) -> None:
    always = first_made(name)[0]
    np.testing.assert_array_equal(always, run(name, seed=2, epoch=7, step=9))
    assert np.abs(always - random_images(6)).max() > 1


@pytest.mark.parametrize("name", sorted(set(RANDOM) - MIXING))
def test_copies_of_one_image_become_different(name: str) -> None:
    copies = random_images(1).repeat(16, axis=0)
    changed, _ = augmented(Pipeline([example(name)], seed=0), copies)
    different = np.unique(changed.reshape(16, -1).round(2), axis=0)
    assert len(different) >= FEW_RESULTS.get(name, 16)


@pytest.mark.parametrize("name", sorted(MIXING))
def test_each_image_is_mixed_by_its_own_share(name: str) -> None:
    _, labels = augmented(Pipeline([example(name)], seed=0), random_images(16), one_hot(16))
    # Rectangles of as many pixels have the same share.
    assert len(np.unique(np.diag(labels))) >= 12


@pytest.mark.parametrize("name", RANDOM)
def test_another_augmentation_in_front_leaves_the_draws_alone(name: str) -> None:
    # Both draw for every image, and then change nothing.
    neutral = make("RandomContrast", 0) if name == "RandomBrightness" else make("RandomBrightness", 0)
    images, labels = random_images(6), one_hot(6)
    alone, alone_labels = first_made(name)
    both, both_labels = augmented(Pipeline([neutral, example(name)], seed=1), images, labels, 2, 3)
    np.testing.assert_allclose(alone, both, atol=1e-3)
    np.testing.assert_array_equal(alone_labels, both_labels)


def test_a_second_augmentation_of_the_same_kind_draws_for_itself() -> None:
    images = random_images(64)
    once, _ = augmented(Pipeline([make("RandomFlip", "horizontal")], 0), images)
    twice, _ = augmented(Pipeline([make("RandomFlip", "horizontal")] * 2, 0), images)
    unchanged = [np.array_equal(twice[i], images[i]) for i in range(64)]
    assert 16 < sum(unchanged) < 48
    assert not np.array_equal(once, twice)


@pytest.mark.parametrize("name", SLOW_LATER)
def test_a_parallel_data_pipeline_gives_the_pixels_of_eager_calls(name: str) -> None:
    import tensorflow as tf

    images, labels = random_images(20), one_hot(20)
    pipeline = Pipeline([example(name)], seed=1)
    dataset = tf.data.Dataset.from_tensor_slices({"images": images, "labels": labels}).batch(8).enumerate()
    dataset = dataset.map(
        lambda step, batch: (step, pipeline(batch, tf.constant(4, tf.int64), step, tf.range(8))),
        num_parallel_calls=3,
        deterministic=False,
    )
    dtype = tf.uint8 if name in BYTES else tf.float32
    # A side that the epoch decides is open until the epoch has come.
    sides = [lengths.pop() if len(lengths) == 1 else None for lengths in map(set, zip(*shapes(name), strict=True))]
    assert dataset.element_spec[1]["images"] == tf.TensorSpec((None, *sides), dtype)
    seen = []
    for step, changed in dataset.as_numpy_iterator():
        part = slice(8 * step, 8 * step + 8)
        expected, expected_labels = augmented(pipeline, images[part], labels[part], 4, int(step))
        np.testing.assert_allclose(changed["images"], expected, atol=1e-3)
        np.testing.assert_allclose(changed["labels"], expected_labels, atol=1e-6)
        seen.append(int(step))
    assert sorted(seen) == [0, 1, 2]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_mixed_policy_leaves_the_pixels_as_they_are(name: str, request: pytest.FixtureRequest) -> None:
    expected, _ = first_made(name)
    request.getfixturevalue("mixed_policy")
    changed, _ = made(name)
    assert changed.dtype == expected.dtype
    np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_pixels_stay_between_0_and_255_and_labels_are_shares(name: str) -> None:
    count = 8 if name in SLOW else 32
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    changed, labels = augmented(Pipeline([example(name)], seed=0), images, one_hot(count))
    assert changed.shape == (count, *shapes(name)[0])
    assert changed.min() >= -1e-3
    assert changed.max() <= 255 + 1e-3
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
    if name not in MIXING:
        np.testing.assert_array_equal(labels, one_hot(count))


def test_bytes_become_numbers_where_an_augmentation_computes() -> None:
    flip, brighten, crop = (
        make("RandomFlip", "horizontal"),
        make("RandomBrightness", 0.1),
        make("RandomCrop", {"padding": 2}),
    )
    assert augmented(Pipeline([flip, crop], seed=0), random_images(2))[0].dtype == np.uint8
    assert augmented(Pipeline([flip, brighten, crop], seed=0), random_images(2))[0].dtype == np.float32


def test_an_alternating_flip_shows_the_other_side_in_every_other_epoch() -> None:
    images = random_images(200)
    pipeline = Pipeline([make("RandomFlip", {"mode": "horizontal", "alternate": True})], seed=5)
    epochs = [augmented(pipeline, images, epoch=epoch, step=epoch)[0] for epoch in range(4)]
    mirrored = [[np.array_equal(new, old[:, ::-1]) for old, new in zip(images, epoch, strict=True)] for epoch in epochs]
    assert 70 < sum(mirrored[0]) < 130
    assert mirrored[0] == mirrored[2] == [not side for side in mirrored[1]] == [not side for side in mirrored[3]]
    other = augmented(Pipeline([make("RandomFlip", {"mode": "horizontal", "alternate": True})], seed=6), images)[0]
    assert not np.array_equal(other, epochs[0])


def test_an_alternating_flip_knows_an_image_in_whatever_batch_it_comes() -> None:
    images = random_images(50)
    pipeline = Pipeline([make("RandomFlip", {"mode": "horizontal", "alternate": True})], seed=5)
    together, _ = augmented(pipeline, images)
    places = np.random.default_rng(0).permutation(50)[:20]
    apart = pipeline.apply_numpy({"images": images[places]}, 0, 7, places)
    np.testing.assert_array_equal(apart["images"], together[places])


def test_no_augmentation_leaves_the_images() -> None:
    changed, labels = augmented(Pipeline([], seed=0), random_images(2), one_hot(2))
    np.testing.assert_array_equal(changed, random_images(2))
    np.testing.assert_array_equal(labels, one_hot(2))
