"""What is said under an image of a training batch."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.config.target import OneClass
from cnnkit.tasks.classification import Classification


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0, 1, 0], "dog"),
        ([0.3, 0.7, 0], "70% dog\n30% cat"),
        ([0.2, 0.3, 0.5], "50% owl\n30% dog"),
        ([0.001, 0.999, 0], "dog"),
    ],
)
def test_an_image_is_said_to_be_what_its_label_says(shares: list[float], expected: str) -> None:
    batch = {"images": np.full((2, 4, 4, 1), 254.6, np.float32), "labels": np.array([[1, 0, 0], shares], np.float32)}
    image, caption = Classification().sample(batch, 1, OneClass(3, ("cat", "dog", "owl")))
    assert caption == expected
    assert image.dtype == np.uint8
    assert (image == 255).all()
