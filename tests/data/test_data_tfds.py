"""Prepared TFDS data sets: made ones with every oddity, and the real MNIST and CIFAR-10."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.config.data import DataConfig
from cnnkit.data import (
    DataSets,
    channel_statistics,
    data_set_summary,
    list_data_sets,
    load,
    training_batches,
)
from cnnkit.errors import CnnkitError

REAL = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (REAL / name).is_dir(), reason=f"no prepared {name}; set TFDS_DATA_DIR to a folder that has it"
    )


def load_named(name: str, seed: int = 0, memory_bytes: int | None = None, **fields: Any) -> DataSets:
    return load(DataConfig.model_validate({"name": name, **fields}), seed, memory_bytes=memory_bytes)


@pytest.fixture
def prepared(made_sets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(made_sets))
    return made_sets


@pytest.mark.parametrize("memory_bytes", [None, 0])
def test_pixels_and_labels_are_those_of_tensorflow_datasets(prepared: Path, memory_bytes: int | None) -> None:
    import tensorflow_datasets as tfds

    config = DataConfig.model_validate({"name": "fixed", "validation": 0})
    split = load(config, 0, memory_bytes=memory_bytes).train
    assert split is not None
    assert (split.images is None) == (memory_bytes == 0)
    expected = list(tfds.load("fixed", split="train", data_dir=prepared).as_numpy_iterator())
    np.testing.assert_array_equal(split.read(np.arange(30)), np.stack([row["image"] for row in expected]))
    assert split.labels.tolist() == [row["label"] for row in expected]


@pytest.mark.parametrize("memory_bytes", [None, 0])
def test_images_that_differ_in_size_are_resized_as_tensorflow_does(prepared: Path, memory_bytes: int | None) -> None:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    split = load_named("varied", image_size=[6, 4], memory_bytes=memory_bytes).test
    assert split is not None
    expected = [
        tf.image.resize(row["image"], (6, 4), antialias=True).numpy()
        for row in tfds.load("varied", split="validation", data_dir=prepared)
    ]
    assert np.abs(split.read(np.arange(8)) - np.stack(expected)).max() <= 0.501


def test_batches_decoded_from_records_are_those_of_images_in_memory(prepared: Path) -> None:
    kept, streamed = load_named("varied", image_size=6), load_named("varied", image_size=6, memory_bytes=0)
    assert kept.train is not None
    assert streamed.train is not None
    assert streamed.train.images is None
    options: dict[str, Any] = {"batch_size": 8, "seed": 5, "epoch": 1}
    pairs = zip(training_batches(kept.train, **options), training_batches(streamed.train, **options), strict=True)
    for (images, labels), (other_images, other_labels) in pairs:
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)
    assert channel_statistics(kept.train) == channel_statistics(streamed.train)


def test_the_validation_split_is_the_test_split_where_there_is_no_other(prepared: Path) -> None:
    data = load_named("varied", image_size=6)
    assert data.train is not None
    assert data.validation is not None
    assert data.test is not None
    assert (data.train.size, data.validation.size, data.test.size) == (36, 4, 8)
    assert {name.partition("/")[0] for name in data.test.ids} == {"validation"}


def test_a_validation_slice_is_not_the_test_split_too(prepared: Path) -> None:
    data = load_named("varied", image_size=6, splits={"validation": "validation"})
    assert data.train is not None
    assert data.validation is not None
    assert data.test is not None
    # The fifth of the 40 training images is the test split instead.
    assert (data.train.size, data.validation.size, data.test.size) == (32, 8, 8)
    assert not set(data.test.ids) & {*data.train.ids, *data.validation.ids}
    assert data.notes == (
        "the test split is a fixed fifth of the training split; the data set's own `validation` validates",
    )


def test_a_test_split_without_labels_is_not_used(prepared: Path) -> None:
    data = load_named("blind", image_size=6)
    assert data.test is not None
    assert {name.partition("/")[0] for name in data.test.ids} == {"train"}
    assert data.notes == (
        "the test split is a fixed fifth of the training split; the data set's own `test` has no labels",
    )
    with pytest.raises(CnnkitError, match="without labels"):
        load_named("blind", image_size=6, splits={"test": "test"})


def test_slices_are_those_of_tensorflow_datasets(prepared: Path) -> None:
    splits = {"train": "train[:50%]", "validation": "train[50%:60%]+train[80%:]", "test": "test[-4:]"}
    data = load_named("fixed", splits=splits)
    whole = load_named("fixed", validation=0)
    assert data.train is not None
    assert data.validation is not None
    assert data.test is not None
    assert whole.train is not None
    assert whole.test is not None
    assert (data.train.size, data.validation.size, data.test.size) == (15, 9, 4)
    places = [*range(15, 18), *range(24, 30)]
    np.testing.assert_array_equal(data.validation.read(np.arange(9)), whole.train.read(places))
    np.testing.assert_array_equal(data.test.read(np.arange(4)), whole.test.read(np.arange(6, 10)))


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"validation": "train[90%:]"}, "overlap"),
        ({"train": "train+test", "test": "test"}, "overlap"),
        ({"test": "tets"}, "no split `tets`; did you mean `test`"),
        ({"test": "test[:"}, "test\\[:"),
        ({"test": "test[5:5]"}, "empty"),
    ],
)
def test_slices_that_leak_or_do_not_exist_are_errors(prepared: Path, splits: Any, words: str) -> None:
    with pytest.raises(CnnkitError, match=words):
        load_named("fixed", splits=splits)


def test_a_set_without_a_training_split_can_be_evaluated(prepared: Path) -> None:
    config = DataConfig.model_validate({"name": "untrained"})
    data = load(config, 0, splits=("test",))
    assert data.test is not None
    assert data.test.size == 10
    with pytest.raises(CnnkitError, match="no `train` split"):
        load(config, 0)


def test_a_config_that_contradicts_the_prepared_set_is_an_error(prepared: Path) -> None:
    with pytest.raises(CnnkitError, match=r"data\.classes"):
        load_named("fixed", classes=3)


def test_the_list_shows_what_is_bundled_prepared_and_known(prepared: Path) -> None:
    rows = {row.name: row for row in list_data_sets()}
    assert rows["digits"].where == "bundled"
    assert (rows["fixed"].where, rows["fixed"].splits) == ("prepared", {"train": 30, "test": 10})
    assert rows["cifar10"].where == "download"


def test_the_summary_counts_every_class(prepared: Path) -> None:
    summary = data_set_summary(DataConfig.model_validate({"name": "fixed", "validation": 0}))
    assert summary["splits"]["train"]["per_class"] == {"no": 15, "yes": 15}
    assert summary["splits"]["test"]["images"] == 10
    assert summary["shape"] == [6, 6, 3]
    assert len(summary["mean"]) == len(summary["variance"]) == 3


# --- Real images --------------------------------------------------------------------------------------


@needs("mnist")
def test_mnist_is_mnist() -> None:
    data = load_named("mnist", validation=0)
    assert data.train is not None
    assert data.test is not None
    assert data.train.images is not None
    assert data.train.images.shape == (60000, 28, 28, 1)
    assert data.train.images.dtype == np.uint8
    assert data.test.size == 10000
    # Counts and statistics as published with LeCun's files and in the PyTorch examples.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.train.labels).tolist() == counts
    mean, variance = channel_statistics(data.train)
    assert mean[0] / 255 == pytest.approx(0.1307, abs=5e-5)
    assert variance[0] ** 0.5 / 255 == pytest.approx(0.3081, abs=5e-5)


@needs("mnist")
def test_the_validation_share_of_mnist_is_stratified_and_seeded() -> None:
    data = load_named("mnist", seed=0)
    other = load(DataConfig.model_validate({"name": "mnist"}), 1, splits=("validation",))
    assert data.train is not None
    assert data.validation is not None
    assert other.validation is not None
    assert (data.train.size, data.validation.size) == (54000, 6000)
    assert not set(data.train.ids) & set(data.validation.ids)
    counts = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    assert np.abs(np.bincount(data.validation.labels) - counts / 10).max() < 1
    assert data.validation.ids != other.validation.ids


@pytest.mark.long
@needs("cifar10")
def test_cifar10_is_cifar10() -> None:
    data = load_named("cifar10:3.0.2")
    assert data.train is not None
    assert data.validation is not None
    assert data.test is not None
    assert (data.train.size, data.validation.size, data.test.size) == (45000, 5000, 10000)
    assert data.train.images is not None
    assert data.train.images.shape == (45000, 32, 32, 3)
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert np.bincount(data.validation.labels).tolist() == [500] * 10
    names = (REAL / "cifar10" / "3.0.2" / "label.labels.txt").read_text().split()
    assert data.info.class_names == tuple(names)
    mean, _ = channel_statistics(data.train)
    # The published means of the three channels; JPEG copies of the images keep them.
    np.testing.assert_allclose(np.array(mean) / 255, [0.4914, 0.4822, 0.4465], atol=0.01)
