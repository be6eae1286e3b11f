"""Copies of training images in other splits, counted in folders that are made with so many of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import describe_data_set
from cnnkit.data import labelled_folder, load
from cnnkit.data.copies import find_copies, measured
from cnnkit.data.loading import training_images

SPLITS = ("train", "validation")


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 255, (5, 6, 3)).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten different images of each of two classes to train on, four to test on."""
    for label, name in enumerate(("a", "b")):
        for number in range(14):
            split = "train" if number < 10 else "test"
            write(tmp_path / "d" / split / name / f"{number}.png", 100 * label + number)
    return tmp_path / "d"


def note(config: DataConfig, seed: int, splits: tuple[str, ...] = SPLITS) -> str:
    """What loading says of copies; empty for nothing."""
    return "".join(line for line in load(config, seed, splits=splits).notes if line.startswith("exact copies"))


def test_copies_are_counted_before_the_training(folder: Path) -> None:
    config = DataConfig(folder=str(folder), validation=0.0)
    assert note(config, 0) == ""
    shutil.copy(folder / "train/a/3.png", folder / "test/a/copy.png")
    shutil.copy(folder / "train/a/4.png", folder / "test/b/wrong.png")
    with Image.open(folder / "train/b/5.png") as image:
        image.save(folder / "test/b/other format.bmp")
    # The same pixels in another order have the same sums, and are no copy.
    with Image.open(folder / "train/b/6.png") as image:
        Image.fromarray(np.asarray(image)[::-1]).save(folder / "test/b/turned.png")
    expected = (
        "exact copies of training images: 3 of 12 in test (1 of them in another class): "
        "test/a/copy.png, test/b/other format.bmp, test/b/wrong.png; `cnnkit data check` lists all"
    )
    assert note(config, 0) == expected
    assert note(config, 0, ("train", "validation", "test")) == expected
    # What is not in memory is not compared.
    assert note(config.model_copy(update={"memory": "stream"}), 0) == ""


def test_copies_in_a_drawn_split_are_those_that_the_draw_parts(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(20):
            # Each image twice.
            write(tmp_path / name / f"{number}.png", number // 2 + (100 if name == "b" else 0))
    config = DataConfig(folder=str(tmp_path), validation=0.25)
    data = load(config, 3)
    assert data.train is not None
    known = {image.tobytes() for image in data.train.read(np.arange(data.train.size))}
    for split in (data.validation, data.test):
        assert split is not None
        copies = sum(image.tobytes() in known for image in split.read(np.arange(split.size)))
        assert copies > 0
        assert f"{copies} of {split.size} in {split.name}" in note(config, 3)


def test_another_folder_is_compared_with_what_a_run_was_trained_on(folder: Path, tmp_path: Path) -> None:
    config = DataConfig(folder=str(folder), image_size=(5, 6))
    new = tmp_path / "new"
    for name in ("a", "b"):
        shutil.copytree(folder / "test" / name, new / name)
    data = load(config, 0, splits=SPLITS)
    assert data.train is not None
    learned = data.train.ids[0]
    shutil.copy(folder / learned, new / "b/learned.png")
    images = measured(labelled_folder(new, class_names=("a", "b"), shape=(5, 6, 3)))
    training = training_images(config, 0, describe_data_set(config))
    assert images is not None
    assert training is not None
    found = find_copies(training, images)
    assert found is not None
    assert (found.files, found.images) == (("b/learned.png",), 9)
    assert found.mislabelled == (learned.split("/")[1] == "a")
