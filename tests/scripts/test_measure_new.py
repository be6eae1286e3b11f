"""scripts/measure_new.py makes the folders that it says, and trains the tutorials' networks for as long as it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return


def test_digits_are_divided_once_and_the_tutorial_learns_them(tmp_path: Path) -> None:
    import measure_new
    from sklearn.datasets import load_digits

    measure_new.make_folder(tmp_path / "digits", "digits", 0)
    files = {split: sorted((tmp_path / "digits" / split).rglob("*.png")) for split in ("train", "test")}
    assert {split: len(found) for split, found in files.items()} == {"train": 1437, "test": 360}
    # Each of scikit-learn's images is there once, under its class.
    every = [*files["train"], *files["test"]]
    found = sorted((np.asarray(Image.open(file)).tobytes(), file.parent.name) for file in every)
    digits = load_digits()
    expected = [
        ((image * 255 / 16).round().astype(np.uint8).tobytes(), str(label))
        for image, label in zip(digits.images, digits.target, strict=True)
    ]
    assert found == sorted(expected)
    begin = sum(os.times()[:2])
    result = measure_new.run_tutorial(tmp_path / "digits", "digits", 0, 5.0)
    assert sum(os.times()[:2]) - begin >= 5
    assert result["accuracy"] > 0.8
    assert result["epochs"] > 1


def test_the_tutorials_networks_are_those_of_their_pages() -> None:
    import measure_new

    # As keras.io and tensorflow.org print them in their summaries.
    assert measure_new.mnist_convnet((28, 28, 1), 10).count_params() == 34_826
    assert measure_new.cifar_cnn((32, 32, 3), 10).count_params() == 122_570


@pytest.mark.usefixtures("tfds_data")
def test_of_mnist_as_many_of_each_class_are_drawn(tmp_path: Path) -> None:
    import measure_new

    splits = measure_new.of_tfds("mnist", 200, 1)
    assert np.bincount(splits["train"][1]).tolist() == [20] * 10
    assert len(splits["test"][1]) == 10_000
    again = measure_new.of_tfds("mnist", 200, 2)
    assert not np.array_equal(again["train"][0], splits["train"][0])
