"""Masks as `predict` writes them, and as pages get them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import CnnkitError
from cnnkit.images.colours import COLOURS, rgb
from cnnkit.runs.interface import Interface
from cnnkit.runs.predicting import picture_files, predict_images
from cnnkit.tasks.segmentation.answers import MaskAnswers
from cnnkit.tasks.segmentation.colours import IGNORED, RIGHT, WRONG

NAMES = ("dark", "middle", "bright")
#: Two more rows above and one column to the right of images of 4x5 pixels.
INTERFACE = Interface((6, 6, 1), NAMES, "softmax", padding=(2, 0, 0, 1))
ANSWERS = MaskAnswers(INTERFACE)

PIXELS = np.array([[0, 0, 0, 0, 0], [0, 0, 120, 120, 120], [0, 0, 120, 250, 250], [0, 0, 120, 250, 250]], np.uint8)
MASK = PIXELS // 100


def network(images: Any) -> Any:
    """One-hot classes by the brightness of each pixel."""
    return np.eye(3, dtype=np.float32)[np.asarray(images)[..., 0] // 100]


def test_predict_writes_class_numbers_with_their_colours_and_the_image_under_them(tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    Image.fromarray(PIXELS).save(file)
    (tmp_path / "cat.txt").write_text("no image")
    files = [file, tmp_path / "cat.txt"]
    targets = picture_files(files, tmp_path / "out", ANSWERS.pictures)
    read, failed = predict_images(network, files, interface=INTERFACE, answers=ANSWERS, batch_size=4, pictures=targets)
    assert [path.name for path in read.pictures] == ["cat.png.mask.png", "cat.png.overlay.png"]
    assert (failed.answer, failed.pictures) == (None, ())
    assert not any(path.exists() for path in targets[1])
    with Image.open(read.pictures[0]) as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), MASK)
        colours = np.asarray(mask.convert("RGB"))
    for number, name in enumerate(COLOURS[:3]):
        assert "#" + bytes(colours[number == MASK][0]).hex() == name
    with Image.open(read.pictures[1]) as overlay:
        np.testing.assert_allclose(np.asarray(overlay), (PIXELS[..., None] + colours.astype(float)) / 2, atol=0.51)


def test_the_share_of_each_class_is_that_of_the_pixels_of_the_image() -> None:
    """The border of the network's input, all bright here, does not count."""
    image = np.full((1, 6, 6, 1), 250, np.uint8)
    image[0, 2:, :5, 0] = PIXELS
    (answer,) = ANSWERS.read(network(image))
    shares = {"dark": 11 / 20, "middle": 5 / 20, "bright": 4 / 20}
    assert answer.entry() == {"shares": shares}
    assert list(answer.entry(top=1)["shares"]) == ["dark"]
    assert answer.cells(2) == ["dark 55.0%, middle 25.0%"]
    assert dict(zip(ANSWERS.columns, map(float, answer.fields()), strict=True)) == {
        f"share_{name}": share for name, share in shares.items()
    }


def test_the_live_page_gets_mask_and_truth_and_the_share_of_right_pixels() -> None:
    (kept,) = ANSWERS.keep(network(np.pad(PIXELS, ((2, 0), (0, 1)))[None, ..., None]))
    truth = kept.copy()
    truth[:2] = truth[:, 5] = 255
    truth[2, :2] = 1
    truth[3, 0] = 255
    guess = ANSWERS.guess(kept, truth)
    assert guess["right"] == pytest.approx(17 / 19)
    with Image.open(io.BytesIO(base64.b64decode(guess["mask"].partition(",")[2]))) as mask:
        np.testing.assert_array_equal(np.asarray(mask), MASK)
    assert ANSWERS.guess(kept, np.full_like(kept, 255))["right"] is None
    with pytest.raises(ValueError, match="mask"):
        ANSWERS.guess(kept, truth[:3])


def test_a_wrong_pixel_looks_like_no_class() -> None:
    others = np.array([rgb(colour) for colour in (*COLOURS, IGNORED, RIGHT)])
    assert np.linalg.norm(others - np.array(rgb(WRONG)), axis=1).min() > 60


@pytest.mark.parametrize(
    ("outputs", "words"),
    [(np.zeros((1, 6, 6, 2)), "3 classes for each pixel"), (np.full((1, 6, 6, 3), np.nan), "NaN")],
)
def test_outputs_that_are_no_masks_are_refused(outputs: Any, words: str) -> None:
    with pytest.raises(CnnkitError, match=words):
        ANSWERS.read(outputs)
