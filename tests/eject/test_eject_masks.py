"""Scripts move masks with their images as training does."""

from __future__ import annotations

from typing import Any

import numpy as np
from ejected import augmentation_of

from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.config.target import Mask

AUGMENTATION: list[Any] = [
    "RandomFlip",
    {"RandomRotation": {"factor": 0.1, "fill_mode": "constant"}},
    {"RandomBrightness": 0.1},
    {"RandomFlip": {"mode": "horizontal", "alternate": True}},
    {"RandomElasticTransform": {"factor": [1, 1], "scale": [0.3, 0.5]}},
    {"CutMix": [1, 1]},
    {"RandAugment": {"factor": 0.2}},
    {"RandomCrop": {"height": 10, "width": 12, "padding": 1}},
]


def test_a_script_moves_masks_as_the_pipeline_does() -> None:
    augmentation, script = augmentation_of(AUGMENTATION, Mask(11, ignore=255), 3)

    draws = np.random.default_rng(0)
    masks = draws.integers(0, 11, (4, 3, 4, 1)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    images = draws.integers(0, 256, (4, 12, 16, 3)).astype(np.uint8)
    places = np.array([7, 1, 4, 0])
    changed, moved = script.augment(images, masks, 2, 5, places)
    batch = {"images": images, "segmentation_masks": masks}
    expected = Pipeline(augmentation, 3, masks=True, ignore=255).apply_numpy(batch, 2, 5, places)
    assert moved.dtype == np.uint8
    assert moved.shape == (4, 10, 12, 1)
    np.testing.assert_array_equal(moved, expected["segmentation_masks"])
    np.testing.assert_allclose(changed, expected["images"], atol=1e-3)
