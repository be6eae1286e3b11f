"""Pairs of images and masks, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from cnnkit.config.mask_pairs import pair_files


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


def test_pairs_by_name_in_nested_folders(folder):
    pairs = pair_files(folder / "images", folder / "masks")
    assert len(pairs.files) == 50
    assert (str(folder / "images/town/001.jpg"), str(folder / "masks/town/001.png")) in pairs.files
    assert pairs.problems == ()


def test_a_misnamed_mask_is_one_line_that_names_both_halves(folder):
    (folder / "masks/000.png").rename(folder / "masks/00O.png")
    (problem,) = pair_files(folder / "images", folder / "masks").problems
    assert "images/000.jpg" in problem.message
    assert "masks/00O.png" in problem.message


def test_suffixes_of_masks(folder):
    for path in (folder / "masks").rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert len(pair_files(folder / "images", folder / "masks").files) == 50
    Image.new("L", (8, 6)).save(folder / "masks/000.png")
    (problem,) = pair_files(folder / "images", folder / "masks").problems
    assert "000.png" in problem.message
    assert "000_mask.png" in problem.message
