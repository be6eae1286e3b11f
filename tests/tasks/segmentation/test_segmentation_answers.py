"""Masks as `predict` writes them, and as pages get them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.data.images import RESIZERS, read_for
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


#: (height, width) of what a network takes, of files, and the way from these to that.
PLACES = [
    ((24, 32), (8, 64), "pad"),
    ((24, 32), (50, 9), "pad"),
    ((24, 32), (7, 13), "pad"),
    ((18, 14), (62, 200), "pad"),
    ((24, 32), (1, 900), "pad"),
    ((24, 32), (8, 64), "crop"),
    ((24, 32), (50, 9), "crop"),
    ((24, 32), (8, 64), "stretch"),
    ((24, 32), (24, 32), "pad"),
]


def by_brightness(images: Any) -> Any:
    """One-hot classes: dark up to 99, bright from 200 on."""
    return np.eye(3, dtype=np.float32)[np.clip(np.asarray(images)[..., 0].astype(int) // 100, 0, 2)]


@pytest.mark.parametrize(("shape", "size", "resize"), PLACES)
def test_a_border_of_proportions_counts_for_no_class(
    shape: tuple[int, int], size: tuple[int, int], resize: str, tmp_path: Path
) -> None:
    """A file that is bright all over: bars around it are dark."""
    interface = Interface((*shape, 1), NAMES, "softmax", resize=resize)
    answers = MaskAnswers(interface)
    Image.fromarray(np.full(size, 255, np.uint8)).save(tmp_path / "white.png")
    image = read_for(interface, tmp_path / "white.png")
    # The bars as a mask gets them that is padded for training.
    ignored = RESIZERS[resize](Image.new("L", size[::-1]), shape[1], shape[0], nearest=True, fill=255)
    counts = np.asarray(ignored) == 0
    expected = (image[..., 0] >= 200)[counts].mean() if counts.any() else None
    (read,) = answers.read(by_brightness(image[None]))
    for answer in (answers.in_file(read, size), answers.counted(read, size)):
        assert expected is None or answer.shares[2] == pytest.approx(expected)
        assert answer.shares.sum() == pytest.approx(1)
        # What Grad-CAM explains where nothing else is asked for.
        assert answers.subject(by_brightness(image), size) == answer.shares.argmax()
    (mask, overlay) = answers.draw(image[None], by_brightness(image[None]), [size])[0]
    if counts.any():
        np.testing.assert_array_equal(mask.pixels == 255, ~counts)
        np.testing.assert_array_equal(overlay.pixels[~counts], np.repeat(image[~counts], 3, axis=-1))


@pytest.mark.parametrize(("shape", "size", "resize"), PLACES)
def test_a_mask_lies_on_the_file_that_it_is_of(
    shape: tuple[int, int], size: tuple[int, int], resize: str, tmp_path: Path
) -> None:
    """Bands across the longer side: each pixel of the file has the class of its band."""
    interface = Interface((*shape, 1), NAMES, "softmax", resize=resize)
    answers = MaskAnswers(interface)
    height, width = size
    middles = np.stack(np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij"), axis=-1)
    along = middles[..., int(width > height)]
    truth = (3 * along // max(size)).astype(np.uint8)
    pixels = np.array([0, 150, 255], np.uint8)[truth]
    Image.fromarray(pixels).save(tmp_path / "bands.png")
    targets = picture_files([tmp_path / "bands.png"], tmp_path / "out", answers.pictures)
    (said,) = predict_images(
        by_brightness, [tmp_path / "bands.png"], interface=interface, answers=answers, batch_size=1, pictures=targets
    )
    with Image.open(said.pictures[0]) as file, Image.open(said.pictures[1]) as overlay:
        mask, both = np.asarray(file), np.asarray(overlay)
    assert mask.shape == both.shape[:2] == size
    # What a crop keeps has the proportions of what the network takes, and lies in the middle.
    scale = (min if resize == "crop" else max)(height / shape[0], width / shape[1])
    outside = np.zeros(size, bool)
    if resize == "crop":
        cut = [round((whole - scale * part) / 2) for whole, part in zip(size, shape, strict=True)]
        outside = ~((middles > cut) & (middles < np.subtract(size, cut))).all(axis=-1)
        np.testing.assert_array_equal(both[outside][:, 0], pixels[outside])
    np.testing.assert_array_equal(mask == 255, outside)
    # A pixel of the network mixes bands, or the file and a bar, within a pixel and a half of their edges.
    unsure = 1.5 * np.max(np.divide(size, shape)) if resize == "stretch" else 1.5 * scale
    near = (np.abs(along[..., None] - max(size) * np.array([1, 2]) / 3) < unsure).any(axis=-1)
    near |= (np.minimum(middles, size - middles) < unsure).any(axis=-1) & (resize == "pad")
    assert min(size) == 1 or not (near | outside).all()
    np.testing.assert_array_equal(mask[~near & ~outside], truth[~near & ~outside])


def test_answers_for_many_files_hold_no_masks(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "cat.png")
    (said,) = predict_images(network, [tmp_path / "cat.png"], interface=INTERFACE, answers=ANSWERS, batch_size=1)
    assert said.answer is not None
    assert not any(isinstance(value, np.ndarray) and value.size > 3 for value in vars(said.answer).values())


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
