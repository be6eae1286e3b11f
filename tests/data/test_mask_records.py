"""Prepared TFDS sets of images with masks, against TFDS itself, Pillow and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sets import store_masks

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataProblem, describe_data_set
from cnnkit.config.known_data_sets import KNOWN_MASKS
from cnnkit.data import DataSets, load
from cnnkit.errors import CnnkitError
from cnnkit.tasks.segmentation import Segmentation

TASK = Segmentation()


def pairs(count: int, numbers: tuple[int, int], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images of several sizes with masks of whole numbers."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = random.integers(5, 12, 2)
        image = random.integers(0, 256, (*size, 3)).astype(np.uint8)
        made.append((image, random.integers(numbers[0], numbers[1] + 1, (*size, 1)).astype(np.uint8)))
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pets as TFDS has them, whose masks count from 1; and a set that cnnkit does not know, whose count from 0."""
    folder = tmp_path_factory.mktemp("masks")
    store_masks(folder, "oxford_iiit_pet", {"train": pairs(20, (1, 3), 0), "test": pairs(6, (1, 3), 1)})
    uneven = (np.zeros((6, 8, 3), np.uint8), np.zeros((6, 7, 1), np.uint8))
    splits = {"train": pairs(20, (0, 4), 2), "uneven": [*pairs(9, (0, 1), 3), uneven]}
    store_masks(folder, "streets", splits, mask="labels")
    return folder


@pytest.fixture(autouse=True)
def prepared(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(made))


def load_named(name: str, **fields: Any) -> DataSets:
    return load(DataConfig.model_validate({"name": name, "validation": 0, **fields}), 0, TASK)


def stored(folder: Path, name: str, mask: str, split: str = "train") -> list[tuple[np.ndarray, np.ndarray]]:
    """What TFDS itself reads; from the folder, since the real set of that name has another version."""
    import tensorflow_datasets as tfds

    rows = tfds.as_numpy(tfds.builder_from_directory(folder / name / "1.0.0").as_dataset(split=split))
    return [(row["image"], row[mask][..., 0]) for row in rows]


def nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask in another size: for each pixel the one under its middle."""
    sides = zip((height, width), mask.shape, strict=True)
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in sides)
    return mask[rows][:, columns]


@pytest.mark.parametrize("memory", ["cache", pytest.param("stream", marks=pytest.mark.long)])
def test_masks_of_pets_are_those_of_tensorflow_datasets_from_zero(made: Path, memory: str) -> None:
    data = load_named("oxford_iiit_pet", image_size=[8, 6], memory=memory)
    assert data.info.class_names == ("pet", "background", "outline")
    for split in (data.train, data.test):
        assert split is not None
        truth = stored(made, "oxford_iiit_pet", "segmentation_mask", split.name)
        assert split.size == len(truth)
        masks = [nearest(mask, 8, 6) for _, mask in truth]
        np.testing.assert_array_equal(split.read_masks(range(split.size)), np.stack(masks) - 1)
        batch = split.read_batch(range(4))
        np.testing.assert_array_equal(batch["segmentation_masks"][..., 0], np.stack(masks)[:4] - 1)
        np.testing.assert_array_equal(batch["images"], split.read(range(4)))


def test_images_are_resized_as_without_masks(made: Path) -> None:
    import tensorflow as tf

    split = load_named("oxford_iiit_pet", image_size=[8, 6]).train
    assert split is not None
    truth = stored(made, "oxford_iiit_pet", "segmentation_mask")
    expected = [tf.image.resize(image, (8, 6), antialias=True).numpy() for image, _ in truth]
    assert np.abs(split.read(range(split.size)) - np.stack(expected)).max() <= 0.501


@pytest.mark.parametrize("memory", [pytest.param("cache", marks=pytest.mark.long), "stream"])
def test_borders_are_of_outermost_pixels_and_ignored(memory: str) -> None:
    fields: dict[str, Any] = {"image_size": [8, 6], "memory": memory, "ignore": 200}
    plain = load_named("oxford_iiit_pet", **fields).train
    bordered = load_named("oxford_iiit_pet", pad_to=16, **fields).train
    assert plain is not None
    assert bordered is not None
    assert bordered.shape == (16, 16, 3)
    images = np.pad(plain.read(range(20)), ((0, 0), (4, 4), (5, 5), (0, 0)), "edge")
    masks = np.pad(plain.read_masks(range(20)), ((0, 0), (4, 4), (5, 5)), constant_values=200)
    np.testing.assert_array_equal(bordered.read(range(20)), images)
    np.testing.assert_array_equal(bordered.read_masks(range(20)), masks)


def test_kept_proportions_put_the_ignored_number_around_masks(made: Path) -> None:
    split = load_named("oxford_iiit_pet", image_size=[8, 32], resize="pad", ignore=200).train
    assert split is not None
    masks = split.read_masks(range(split.size))
    # The images are at most 12 to 5, so that at least a fifth of the width is border.
    assert (masks[:, :, :3] == 200).all()
    assert (masks[:, :, -3:] == 200).all()
    assert (masks[:, 4, 16] < 3).all()


def test_other_sets_need_names_and_count_from_zero(made: Path) -> None:
    names = ["road", "car", "tree", "sky"]
    with pytest.raises(DataProblem, match="class_names"):
        describe_data_set(DataConfig.model_validate({"name": "streets", "image_size": 8}), TASK)
    split = load_named("streets", image_size=8, class_names=names, ignore=4).train
    assert split is not None
    # A fifth of them are those to test on.
    truth = stored(made, "streets", "labels")
    assert split.size == 16
    masks = [nearest(truth[place][1], 8, 8) for place in split.positions.tolist()]
    np.testing.assert_array_equal(split.read_masks(range(split.size)), np.stack(masks))


@pytest.mark.parametrize("memory", ["cache", "stream"])
def test_numbers_of_no_class_are_errors_before_training(memory: str) -> None:
    with pytest.raises(CnnkitError, match=r"mask `train/\d+` has other numbers than those of the classes, 0 to 3"):
        load_named("streets", image_size=8, class_names=["road", "car", "tree", "sky"], memory=memory)


def test_the_outline_of_pets_may_be_ignored() -> None:
    split = load_named("oxford_iiit_pet", image_size=8, class_names=["pet", "background"], ignore=2).train
    assert split is not None
    assert set(np.unique(split.read_masks(range(split.size)))) == {0, 1, 2}
    assert split.source.shape == (8, 8, 3)


def test_a_mask_of_another_size_than_its_image_is_an_error() -> None:
    with pytest.raises(CnnkitError, match="an image and its mask differ in size"):
        load_named("streets", image_size=8, class_names=["no", "yes"], splits={"train": "uneven"})


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_sets_without_masks_are_refused(name: str) -> None:
    with pytest.raises(DataProblem, match="no masks"):
        describe_data_set(DataConfig.model_validate({"name": name}), TASK)


def test_sizes_that_differ_need_a_size() -> None:
    with pytest.raises(DataProblem, match="image_size"):
        describe_data_set(DataConfig.model_validate({"name": "oxford_iiit_pet"}), TASK)


def test_known_masks_are_features_of_tensorflow_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import gcs_utils

    monkeypatch.setattr(gcs_utils, "_is_gcs_disabled", True)
    for name, known in KNOWN_MASKS.items():
        features = tfds.builder(name, data_dir=tmp_path).info.features
        assert features[known.feature].shape == (None, None, 1)
        assert features["image"].shape == known.shape
