"""Pairs of images and masks, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from cnnkit.config.mask_pairs import pair_files, pair_problems


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(1)
    for kind in ("images", "masks"):
        (tmp_path / kind / "town").mkdir(parents=True)
    for number in range(50):
        name = f"town/{number:03}" if number % 2 else f"{number:03}"
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / "images" / f"{name}.jpg")
        ids = random.integers(0, 3, (6, 8)).astype(np.uint8)
        Image.fromarray(ids).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def problems_of(folder):
    pairs = pair_files(folder / "images", folder / "masks")
    return [*pairs.problems, *(text for pair in pairs.files for text in pair_problems(*pair, known=(0, 1, 2, 11)))]


def test_pairs_by_name_in_nested_folders(folder):
    pairs = pair_files(folder / "images", folder / "masks")
    assert len(pairs.files) == 50
    assert (str(folder / "images/town/001.jpg"), str(folder / "masks/town/001.png")) in pairs.files
    assert problems_of(folder) == []


def test_four_faults_are_four_lines(folder):
    masks = folder / "masks"
    (masks / "000.png").rename(masks / "00O.png")
    Image.new("L", (7, 6)).save(masks / "002.png")
    wrong = np.zeros((6, 8), np.uint8)
    wrong[0, :3] = 7
    Image.fromarray(wrong).save(masks / "004.png")
    Image.new("RGB", (8, 6)).save(masks / "006.png")
    misnamed, size, number, color = problems_of(folder)
    assert "images/000.jpg" in misnamed
    assert "masks/00O.png" in misnamed
    assert "002.png` has 7x6" in size
    assert "8x6" in size
    assert "004.png" in number
    assert "7 (3 pixels)" in number
    assert "006.png` is a colour image" in color
    assert "Save it as" in color
    assert not any("\n" in line for line in (misnamed, size, number, color))


def test_the_ignored_number_is_known(folder):
    Image.new("L", (8, 6), 11).save(folder / "masks/000.png")
    assert problems_of(folder) == []


def test_suffixes_of_masks(folder):
    for path in (folder / "masks").rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert len(pair_files(folder / "images", folder / "masks").files) == 50
    Image.new("L", (8, 6)).save(folder / "masks/000.png")
    (problem,) = pair_files(folder / "images", folder / "masks").problems
    assert "000.png" in problem
    assert "000_mask.png" in problem


def test_unreadable_halves_are_both_named(folder):
    (folder / "images/000.jpg").write_bytes(b"")
    (folder / "masks/000.png").write_bytes(b"")
    image, mask = problems_of(folder)
    assert "000.jpg" in image
    assert "000.png" in mask
