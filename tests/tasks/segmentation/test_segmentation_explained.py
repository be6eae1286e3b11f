"""Grad-CAM of masks whose images have a border that the network needs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnkit.config.target import Mask
from cnnkit.images.colours import rgb
from cnnkit.plots.sheets import Row
from cnnkit.runs.interface import Interface
from cnnkit.tasks.segmentation import explained
from cnnkit.tasks.segmentation.colours import WRONG
from cnnkit.tasks.segmentation.predictions import Predictions

NAMES = ("dark", "bright", "red", "never")

#: Images of 4x6 with two rows below and two columns on the left.
PADDING = (0, 2, 2, 0)


@pytest.fixture
def image() -> np.ndarray:
    """uint8 [6, 8, 1]: class 1 in the two rows of the border and in the right half of the first row."""
    image = np.zeros((6, 8, 1), np.uint8)
    image[4:] = 200
    image[0, 4:] = 200
    return image


def compute(images: Any, classes: Any, pixels: Any = None) -> tuple[Any, Any]:
    """A network that takes bright pixels for class 1; each position of a map is its row, or its column for class 1."""
    probabilities = np.eye(4)[(np.asarray(images)[..., 0] > 100).astype(int)]
    rows, columns = np.mgrid[:6, :8].astype(np.float32) / 8
    return probabilities, np.stack([columns if number == 1 else rows for number in classes])


def test_image_mask_and_maps_have_no_border(image: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows: list[Row] = []
    monkeypatch.setattr(explained, "gradcam_of", lambda trained, layer: (compute, layer))
    monkeypatch.setattr(explained, "read_input", lambda *arguments: (image, "scene"))
    monkeypatch.setattr(explained, "gradcam_sheet", lambda run, place, found, path: rows.extend(found))
    trained: Any = SimpleNamespace(interface=Interface((6, 8, 1), NAMES, "softmax", padding=PADDING), run=None)
    explained.gradcam(trained, "scene.png", ["red"], tmp_path / "map.png")
    shown, mask, *maps = rows[0].pictures
    assert shown.image.shape == (4, 6, 1)
    assert mask.image.shape == (4, 6, 3)
    # Four of the 24 pixels inside are bright; the border does not count.
    assert [one.caption for one in maps] == [
        "for dark:\n83.3% of the pixels",
        "for bright:\n16.7% of the pixels",
        "for red:\nnowhere, so of all pixels",
    ]
    for one in maps:
        assert one.image.shape == (4, 6, 1)
        expected = compute(image[None], [NAMES.index(one.caption[4:].split(":")[0])])[1][0, :4, 2:]
        np.testing.assert_allclose(one.overlay, expected, atol=1e-6)


def test_what_is_confused_is_marked_without_the_border(image: np.ndarray) -> None:
    truth = np.zeros((6, 8), np.uint8)
    truth[4:] = truth[:, :2] = 9
    guess = (image[..., 0] > 100).astype(int)
    none: Any = np.zeros(1)
    target = Mask(4, NAMES, 9)
    predictions = Predictions(("one",), none, none, none, ("",), target, lambda: none, lambda images: images, PADDING)
    pair = explained.confused(predictions, image, truth, guess)
    assert (pair.true_class, pair.predicted_class, pair.share) == (0, 1, 4 / 24)
    assert pair.image.shape == (4, 6, 1)
    wrong = (pair.marked == rgb(WRONG)).all(axis=-1)
    np.testing.assert_array_equal(wrong, guess[:4, 2:] == 1)
    np.testing.assert_allclose(pair.heat(compute, 1), np.mgrid[:4, 2:8][1] / 8)
