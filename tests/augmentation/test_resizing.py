"""Training images that are small at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from ejected import augmentation_of
from hypothesis import given
from hypothesis import strategies as st
from trainings import assert_same, config, continued, killed_in_epoch, run_training, write

from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.cli import cli
from cnnkit.config.load import load_config
from cnnkit.config.target import OneClass
from cnnkit.errors import ConfigError
from cnnkit.runs.directory import Run

from .examples import augmented, make, one_hot, random_images

SIZES = [{"size": 8, "epochs": 2}, {"size": [4, 8], "epochs": 1}]


def lengths_of(sizes: list[dict[str, Any]], epochs: int) -> list[tuple[int, int]]:
    """The sides in a training of so many epochs, and how many of them each has."""
    resizing = make("ProgressiveResizing", sizes).over(epochs)
    if resizing is None:
        return []
    assert resizing.least_epochs <= epochs
    return [(part.size[0], part.epochs) for part in resizing.sizes]


SHARES = [{"size": 20, "share": 0.4}, {"size": 26, "share": 0.25}]


@pytest.mark.parametrize(
    ("epochs", "lengths"),
    [
        (20, [(20, 8), (26, 5)]),
        (16, [(20, 6), (26, 4)]),
        (5, [(20, 2), (26, 1)]),
        (2, [(26, 1)]),
        (1, []),
    ],
)
def test_a_share_of_all_epochs_takes_whole_epochs(epochs: int, lengths: list[tuple[int, int]]) -> None:
    assert lengths_of(SHARES, epochs) == lengths
    # Ends, and not lengths, are rounded: 0.1 + 0.2 is three tenths, though not for a computer.
    assert lengths_of([{"size": 8, "share": 0.1}, {"size": 10, "share": 0.2}], 10) == [(8, 1), (10, 2)]


@given(
    shares=st.lists(st.floats(0.01, 0.33), min_size=1, max_size=3).filter(lambda shares: sum(shares) < 1),
    epochs=st.integers(1, 200),
)
def test_a_share_is_met_within_an_epoch_and_leaves_one_whole(shares: list[float], epochs: int) -> None:
    sizes = [{"size": 8 + place, "share": share} for place, share in enumerate(shares)]
    lengths = dict(lengths_of(sizes, epochs))
    assert sum(lengths.values()) < epochs
    for place, share in enumerate(shares):
        assert abs(lengths.get(8 + place, 0) - share * epochs) < 1 + 1e-5


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of `growing`, trained to its end; tests only read it."""
    return run_training(tmp_path_factory.mktemp("growing"), growing(), "whole")


@pytest.mark.long
def test_a_training_gets_its_shares(whole: Run, tmp_path: Path) -> None:
    """The same weights as with the numbers of epochs that they come to, and a script with these numbers."""
    by_share = growing()
    by_share["augmentation"][1]["ProgressiveResizing"] = [{"size": 4, "share": 0.34}, {"size": 6, "share": 0.34}]
    run = run_training(tmp_path, by_share, "shares")
    assert_same(run, whole)
    assert load_config(str(run.config)).config.augmentation[1].to_plain() == {
        "ProgressiveResizing": {
            "sizes": [{"size": [size, size], "epochs": None, "share": 0.34} for size in (4, 6)],
        }
    }
    done = CliRunner().invoke(cli, ["eject", "-o", "-", write(tmp_path, by_share)])
    assert "epochs=[1, 1]" in done.output
    done = CliRunner().invoke(cli, ["eject", "-o", "-", "--set", "training.epochs=1", write(tmp_path, by_share)])
    assert "RandomFlip" in done.output
    assert "ProgressiveResizing" not in done.output


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([{"size": 8}], "needs `epochs:`"),
        ([{"size": 8, "epochs": 2, "share": 0.2}], "keep one of them"),
        ([{"size": 8, "epochs": 2}, {"size": 10, "share": 0.2}], "write the same for all"),
        ([{"size": 8, "share": 0.5}, {"size": 10, "share": 0.5}], "come to 1; expected less than 1"),
    ],
)
def test_a_size_has_epochs_or_a_share(sizes: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    content = {**growing(), "augmentation": [{"ProgressiveResizing": sizes}]}
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, content))
    assert message in str(caught.value)
    assert "augmentation[0].ProgressiveResizing" in str(caught.value)


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


@pytest.mark.long
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
    # Eagerly, since a graph for each size would be traced for a few steps.
    plain.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(), run_eagerly=True)
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
    epoch: int, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = killed_in_epoch(epoch, monkeypatch, tmp_path, growing())
    continued(killed)
    assert_same(killed, whole)
