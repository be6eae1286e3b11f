"""The few test images that pages show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.config.data import DataConfig
from cnnkit.data import CorruptImage, load, sample_test_images
from cnnkit.data.samples import spread_over_classes

DIGITS = DataConfig.model_validate({"name": "digits"})


def test_they_are_of_all_classes_and_truly_of_the_test_split() -> None:
    samples = sample_test_images(DIGITS, 3, 24)
    assert samples.images.shape == (24, 8, 8, 1)
    assert sorted(np.bincount(samples.targets, minlength=10).tolist()) == [2] * 6 + [3] * 4
    sets = load(DIGITS, 3, splits=("test",))
    test = sets.test
    assert test is not None
    assert samples.fingerprint == sets.fingerprint
    pairs = {(image.tobytes(), label) for image, label in zip(test.read(range(test.size)), test.labels, strict=True)}
    assert all((image.tobytes(), label) in pairs for image, label in zip(samples.images, samples.targets, strict=True))
    np.testing.assert_array_equal(sample_test_images(DIGITS, 3, 24).images, samples.images)


def test_they_are_spread_over_classes() -> None:
    labels = np.array([0] * 500 + [1] * 3 + [2] * 40)
    chosen = spread_over_classes(labels, 24)
    assert len(set(chosen.tolist())) == 24
    counts = np.bincount(labels[chosen])
    assert counts[1] == 3
    assert abs(counts[0] - counts[2]) <= 1
    assert labels[chosen].tolist() == sorted(labels[chosen].tolist())
    many = spread_over_classes(np.arange(1000).repeat(2), 24)
    assert len(set((many // 2).tolist())) == 24
    assert len(spread_over_classes(np.array([1, 0]), 24)) == 2


def test_a_corrupt_test_image_is_left_out_where_the_config_says_so(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for number in range(4):
            file = tmp_path / part / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (5, 5), 20 * number).save(file)
    (tmp_path / "test" / "b" / "1.png").write_bytes(b"broken")
    section = DataConfig.model_validate({"folder": str(tmp_path), "validation": 0})
    with pytest.raises(CorruptImage, match=r"1\.png"):
        sample_test_images(section, 0, 24)
    samples = sample_test_images(section.model_copy(update={"skip_corrupt": True}), 0, 24)
    assert sorted(samples.images[:, 0, 0, 0].tolist()) == [0, 40, 60]
    assert samples.targets.tolist() == [0, 0, 1]
