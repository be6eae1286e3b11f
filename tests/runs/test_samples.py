"""The test images that a run keeps: what is written is read, and anything else is refused by the file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import CnnkitError
from cnnkit.runs.directory import Run
from cnnkit.runs.interface import Interface
from cnnkit.runs.samples import read_samples, write_samples
from cnnkit.tasks.classification.answers import ClassAnswers

INTERFACE = Interface((4, 6, 3), ("a", "b"), "softmax")
ANSWERS = ClassAnswers(INTERFACE)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
LABELS = np.array([0, 0, 1, 1, 1])


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_samples(run, INTERFACE, ANSWERS)
    write_samples(run, IMAGES, LABELS)
    images, labels = read_samples(run, INTERFACE, ANSWERS)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (IMAGES.astype(np.float32), LABELS),
        (IMAGES[:, :3], LABELS),
        (IMAGES[0], LABELS),
        (IMAGES, LABELS[:4]),
        (IMAGES, LABELS + 1),
        (IMAGES, LABELS - 1),
        (IMAGES, LABELS / 2),
        (IMAGES, np.array(0)),
    ],
)
def test_what_the_network_does_not_take_is_refused(tmp_path: Path, images: Any, labels: Any) -> None:
    run = Run(tmp_path)
    write_samples(run, images, labels)
    with pytest.raises(CnnkitError, match=r"samples\.npz` is damaged"):
        read_samples(run, INTERFACE, ANSWERS)


def test_another_file_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.live.mkdir()
    run.live_samples.write_bytes(b"PK")
    with pytest.raises(CnnkitError, match=r"samples\.npz` is damaged"):
        read_samples(run, INTERFACE, ANSWERS)
