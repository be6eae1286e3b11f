"""Training images that are small at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ejected import augmentation_of
from trainings import assert_same, config, continued, killed_in_epoch, run_training, write

from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.config.load import load_config
from cnnkit.config.target import OneClass

from .examples import augmented, make, one_hot, random_images

SIZES = [{"size": 8, "epochs": 2}, {"size": [4, 8], "epochs": 1}]


@pytest.mark.parametrize(("epoch", "blocks"), [(0, (2, 2)), (1, (2, 2)), (2, (4, 2))])
def test_a_pixel_is_the_mean_of_the_area_that_it_covers(epoch: int, blocks: tuple[int, int]) -> None:
    images = random_images(5)
    changed, _ = augmented(Pipeline([make("ProgressiveResizing", SIZES)], 0), images, epoch=epoch)
    height, width = blocks
    areas = images.reshape(5, 16 // height, height, 16 // width, width, 3).astype(np.float64)
    np.testing.assert_allclose(changed, areas.mean(axis=(2, 4)), atol=1e-3)


def test_the_epochs_after_them_have_whole_images() -> None:
    images = random_images(5)
    for epoch in (3, 1000):
        changed, _ = augmented(Pipeline([make("ProgressiveResizing", SIZES)], 0), images, epoch=epoch)
        np.testing.assert_array_equal(changed, images)


def test_a_size_that_divides_nothing_keeps_the_mean() -> None:
    images = random_images(3)
    growing = make("ProgressiveResizing", [{"size": 11, "epochs": 1}])
    changed, _ = augmented(Pipeline([growing], 0), images)
    assert changed.shape == (3, 11, 11, 3)
    # Every pixel of an image has the same share in it.
    np.testing.assert_allclose(changed.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1e-2)


def test_the_script_of_a_config_makes_the_same_images() -> None:
    augmentation, script = augmentation_of(["RandomFlip", {"ProgressiveResizing": SIZES}], OneClass(6), 3)
    images, labels = random_images(6), one_hot(6)
    for epoch in (0, 2, 3):
        expected, _ = augmented(Pipeline(augmentation, 3), images, labels, epoch, 1)
        changed, _ = script.augment(images, labels, epoch, 1, np.arange(6))
        np.testing.assert_array_equal(changed, expected)


def growing() -> dict[str, Any]:
    """A config for the digits, 8x8, whose first two epochs have images of 4x4 and 6x6."""
    layers: list[Any] = [
        {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same"}},
        *("BatchNormalization", {"Activation": "gelu"}, {"Residual": [{"SqueezeExcite": 2}]}),
        *({"MaxPooling2D": 2}, "GlobalAveragePooling2D", {"Dense": {"units": "classes", "activation": "softmax"}}),
    ]
    return config(
        data={"batch_size": 128, "drop_remainder": True},
        augmentation=[
            "RandomFlip",
            {"ProgressiveResizing": [{"size": 4, "epochs": 1}, {"size": 6, "epochs": 1}]},
        ],
        model={"layers": layers},
        training={"epochs": 3, "optimizer": {"SGD": 0.1}, "schedule": None, "label_smoothing": 0.0},
    )


def test_training_takes_the_steps_that_keras_takes_with_images_made_smaller(tmp_path: Path) -> None:
    """Of the same batches, in the same order, through a network of Keras' own that takes images of any size."""
    import keras
    import tensorflow as tf

    from cnnkit.training.loop import Position
    from cnnkit.training.preparation import make_loop, prepare, training_batches

    loaded = load_config(write(tmp_path, growing()))
    prepared = prepare(loaded)
    plain = keras.models.clone_model(prepared.model)
    plain.set_weights(prepared.model.get_weights())
    assert plain.input_shape == (None, None, None, 1)
    plain.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy())
    flipped = prepare(load_config(write(tmp_path, {**growing(), "augmentation": ["RandomFlip"]})))
    for size, epoch in ((4, 0), (6, 1), (8, 2)):
        for images, labels in training_batches(flipped, Position(epoch), 1):
            smaller = tf.image.resize(images, (size, size), method="area") if size < 8 else images
            plain.train_on_batch(smaller, labels)
    make_loop(prepared, [], 3).run(3)
    for ours, theirs in zip(prepared.model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_killed_at_one_size_goes_on_as_it_would_have(
    epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_training(tmp_path, growing(), "whole")
    killed = killed_in_epoch(epoch, monkeypatch, tmp_path, growing())
    continued(killed)
    assert_same(killed, whole)
