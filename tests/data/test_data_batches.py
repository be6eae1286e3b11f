"""Batches: their order, their labels, and that a resumed run gets the ones it would have got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.augmentation.geometry import RandomTranslation
from cnnkit.augmentation.mixing import MixUp
from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.config.data import DataConfig
from cnnkit.data import (
    Split,
    evaluation_batches,
    load,
    order,
    split_from_arrays,
    steps_per_epoch,
    training_batches,
)
from cnnkit.errors import CnnkitError
from cnnkit.machine.devices import Devices


def numbered(count: int) -> Split:
    """Images of 1x2 pixels that tell their own place (in two bytes), with the label place % 3."""
    places = np.arange(count)
    images = np.stack([places // 256, places % 256], axis=-1).astype(np.uint8)[:, None, :, None]
    return split_from_arrays(images, places % 3)


def places_of(images: Any) -> list[int]:
    pixels = np.asarray(images).astype(int)
    return (pixels[:, 0, 0, 0] * 256 + pixels[:, 0, 1, 0]).tolist()


def batches_of(split: Split, **options: Any) -> list[tuple[list[int], Any]]:
    options = {"batch_size": 4, "seed": 0, **options}
    return [(places_of(images), np.asarray(labels)) for images, labels in training_batches(split, **options)]


def test_an_epochs_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    first = order(0, 0, 1000).numpy()
    assert sorted(first) == list(range(1000))
    assert first.tolist() == order(0, 0, 1000).numpy().tolist()
    assert first.tolist() != order(0, 1, 1000).numpy().tolist()
    assert first.tolist() != order(1, 0, 1000).numpy().tolist()
    assert first.tolist() != list(range(1000))


def test_orders_put_every_image_everywhere() -> None:
    import tensorflow as tf

    epochs = tf.data.Dataset.range(500).map(lambda epoch: order(7, epoch, 5)[0])
    first_places = np.array([int(first) for first in epochs.as_numpy_iterator()])
    counts = np.bincount(first_places, minlength=5)
    # 100 expected each; five standard deviations of a binomial are 45.
    assert counts.min() > 55
    assert counts.max() < 145


@pytest.mark.parametrize("epoch", [0, 3])
def test_each_epoch_has_every_image_once_with_its_label(epoch: int) -> None:
    found = batches_of(numbered(10), epoch=epoch)
    assert [len(places) for places, _ in found] == [4, 4, 2]
    places = [place for batch, _ in found for place in batch]
    assert sorted(places) == list(range(10))
    assert places == order(0, epoch, 10).numpy().tolist()
    for batch, labels in found:
        assert labels.dtype == np.float32
        np.testing.assert_array_equal(labels, np.eye(3)[[place % 3 for place in batch]])


def test_an_epoch_has_the_same_batches_whether_others_ran_before_it_or_not() -> None:
    """Eleven images in batches of four are three steps."""
    through = [places for places, _ in batches_of(numbered(11), epochs=5)]
    alone = [places for epoch in range(5) for places, _ in batches_of(numbered(11), epoch=epoch)]
    assert through == alone
    assert through[:3] != through[3:6]


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_iteration_begins_at_any_step(step: int) -> None:
    """At an epoch's end, too: what follows is the next one."""
    through = [places for places, _ in batches_of(numbered(11), epochs=3)]
    later = training_batches(numbered(11), batch_size=4, seed=0, epoch=1, step=step, epochs=2)
    assert int(later.cardinality()) == 6 - step
    assert [places_of(images) for images, _ in later] == through[3 + step :]


def test_batches_without_an_end_are_those_of_all_epochs() -> None:
    through = [places for places, _ in batches_of(numbered(11), epochs=4)]
    endless = training_batches(numbered(11), batch_size=4, seed=0, epochs=None)
    assert [places_of(images) for images, _ in endless.take(12)] == through


def test_the_remainder_is_dropped_where_asked() -> None:
    dropped, whole = batches_of(numbered(10), drop_remainder=True), batches_of(numbered(10))
    assert [places for places, _ in dropped] == [places for places, _ in whole[:2]]


@pytest.mark.parametrize(("size", "drop", "steps"), [(10, False, 3), (10, True, 2), (8, False, 2), (8, True, 2)])
def test_steps_per_epoch_count_the_batches(size: int, drop: bool, steps: int) -> None:
    assert steps_per_epoch(size, 4, drop) == steps
    batches = training_batches(numbered(size), batch_size=4, seed=0, drop_remainder=drop)
    assert int(batches.cardinality()) == steps == len(list(batches))


def test_an_epoch_without_a_batch_is_an_error() -> None:
    with pytest.raises(CnnkitError, match="does not fill one batch of 4"):
        steps_per_epoch(3, 4, True)


def test_transform_sees_epoch_step_and_places_and_finish_shapes_the_element() -> None:
    import tensorflow as tf

    def transform(batch: dict[str, Any], epoch: Any, step: Any, places: Any) -> dict[str, Any]:
        images = batch["images"]
        assert images.dtype == tf.uint8
        told = 256 * tf.cast(images[:, 0, 0, 0], tf.int64) + tf.cast(images[:, 0, 1, 0], tf.int64)
        tf.debugging.assert_equal(told, places)
        labels = batch["labels"] + tf.cast(100 * epoch + step, tf.float32)
        return {"images": tf.cast(images, tf.float32), "labels": labels}

    def finish(batch: dict[str, Any]) -> tuple[Any, Any, Any]:
        return batch["images"], batch["labels"], tf.reduce_min(batch["labels"])

    batches = training_batches(numbered(10), batch_size=4, seed=0, epoch=2, transform=transform, finish=finish)
    assert [float(smallest) for _, _, smallest in batches] == [200, 201, 202]


def test_images_reach_the_batches_as_bytes_of_static_shape() -> None:
    images, labels = training_batches(numbered(8), batch_size=4, seed=0).element_spec
    assert images.shape == (4, 1, 2, 1)
    assert images.dtype.name == "uint8"
    assert labels.shape == (4, 3)
    images, _ = training_batches(numbered(9), batch_size=4, seed=0).element_spec
    assert tuple(images.shape) == (None, 1, 2, 1)


@pytest.mark.parametrize(("size", "sizes"), [(10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_evaluation_keeps_the_order_and_every_image(size: int, sizes: list[int]) -> None:
    batches = list(evaluation_batches(numbered(size), batch_size=4))
    assert [len(images) for images, _ in batches] == sizes
    places = [place for images, _ in batches for place in places_of(images)]
    assert places == list(range(size))
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(labels, np.eye(3)[np.arange(size) % 3])


def test_images_read_from_files_make_the_same_batches_as_images_in_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(20):
            pixels = random.integers(0, 256, (5, 6, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    config = DataConfig.model_validate({"folder": str(tmp_path)})
    kept, streamed = load(config, 0).train, load(config, 0, memory_bytes=0).train
    assert kept is not None
    assert streamed is not None
    assert streamed.images is None
    options: dict[str, Any] = {"batch_size": 8, "seed": 5, "epoch": 1}
    pairs = zip(training_batches(kept, **options), training_batches(streamed, **options), strict=True)
    for (images, labels), (other_images, other_labels) in pairs:
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_a_batch_is_read_with_its_targets() -> None:
    split = numbered(10)
    batch = split.read_batch([7, 2])
    np.testing.assert_array_equal(batch["images"], split.read([7, 2]))
    np.testing.assert_array_equal(batch["labels"], np.eye(3)[split.labels[[7, 2]]])


@pytest.mark.parametrize(
    ("workers", "local"),
    [pytest.param(1, 2, marks=pytest.mark.long), pytest.param(3, 1, marks=pytest.mark.long), (2, 2)],
)
def test_the_shares_of_a_batch_are_the_batch(workers: int, local: int) -> None:
    """Whatever begins in the middle, and with images that are mixed across shares."""
    split = numbered(10)
    augmentations = [RandomTranslation.model_validate({"height_factor": 0.2, "width_factor": 0.2}), MixUp()]
    how: dict[str, Any] = {"batch_size": 4, "seed": 0, "epoch": 1, "step": 1, "epochs": 2}
    how["transform"] = Pipeline(augmentations, seed=0)
    whole = [(np.asarray(images), np.asarray(labels)) for images, labels in training_batches(split, **how)]
    everybody = [
        training_batches(split, devices=Devices("multi_worker", None, local, workers, rank), **how)
        for rank in range(workers)
    ]
    for (images, labels), *shares in zip(whole, *everybody, strict=True):
        parts = [part for own in shares for part in own]
        places = [tuple(int(number) for number in place) for _, place in parts]
        sizes = [len(element[0]) for element, _ in parts]
        assert places == [(sum(sizes[:index]), len(images)) for index in range(len(parts))]
        np.testing.assert_array_equal(np.concatenate([element[0] for element, _ in parts]), images)
        np.testing.assert_array_equal(np.concatenate([element[1] for element, _ in parts]), labels)


def test_validation_batches_are_dealt_out_whole() -> None:
    """Each is that of one device, and none is left out."""
    split = numbered(10)
    whole = [np.asarray(images) for images, _ in evaluation_batches(split, batch_size=3)]
    for worker in range(3):
        own = evaluation_batches(split, batch_size=3, first=worker, every=3)
        assert int(own.cardinality()) == len(whole[worker::3])
        for (images, _), expected in zip(own, whole[worker::3], strict=True):
            np.testing.assert_array_equal(images, expected)
