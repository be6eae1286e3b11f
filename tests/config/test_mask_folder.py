"""Folders of pairs: which files belong together, and what the classes are."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cnnkit.config.data import DataProblem
from cnnkit.config.mask_folder import list_mask_folder, list_masks_to_measure


def make(folder: Path, image: str, mask: str | None = None) -> None:
    for kind, name in (("images", f"{image}.jpg"), ("masks", f"{mask or image}.png")):
        path = folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(path)


def test_splits_and_nested_folders(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        make(tmp_path / split, "town/a")
        make(tmp_path / split, "a")
    (tmp_path / "classes.txt").write_text("road\nsky\n\n")
    listing = list_mask_folder(tmp_path, None)
    assert listing.class_names == ("road", "sky")
    assert listing.splits["validation"] == (
        ("val/images/a.jpg", "val/masks/a.png"),
        ("val/images/town/a.jpg", "val/masks/town/a.png"),
    )
    assert list(listing.splits) == ["test", "train", "validation"]
    measured = list_masks_to_measure(tmp_path, ("road", "sky"))
    assert list(measured.splits) == ["test"]
    assert measured.splits["test"] == listing.splits["test"]


def test_splits_inside_the_folders_of_images_and_masks(tmp_path: Path) -> None:
    """As many sets are handed out: no image of `val` or `test` is to be learned from."""
    for split in ("train", "val_2017", "Test"):
        make(tmp_path, f"{split}/a")
        make(tmp_path, f"{split}/town/b")
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    listing = list_mask_folder(tmp_path, None)
    assert {split: [image for image, _ in pairs] for split, pairs in listing.splits.items()} == {
        "train": ["images/train/a.jpg", "images/train/town/b.jpg"],
        "validation": ["images/val_2017/a.jpg", "images/val_2017/town/b.jpg"],
        "test": ["images/Test/a.jpg", "images/Test/town/b.jpg"],
    }
    assert listing.splits["test"][0] == ("images/Test/a.jpg", "masks/Test/a.png")
    assert not listing.unpaired
    measured = list_masks_to_measure(tmp_path, ("road", "sky"))
    assert dict(measured.splits) == {"test": listing.splits["test"]}


@pytest.mark.parametrize(
    "images", [("train/a", "town/a"), ("train/a", "training/b"), ("val/a", "test/a"), ("train/a", "test/a", "b")]
)
def test_other_folders_inside_are_no_splits(images: tuple[str, ...], tmp_path: Path) -> None:
    for image in images:
        make(tmp_path, image)
    listing = list_mask_folder(tmp_path, ["x", "y"])
    assert list(listing.splits) == ["train"]
    assert len(listing.splits["train"]) == len(images)


def test_splits_inside_have_masks_too(tmp_path: Path) -> None:
    make(tmp_path, "train/a")
    (tmp_path / "images" / "test").mkdir()
    with pytest.raises(DataProblem, match=r"images/test`.*no `masks`.*masks/test"):
        list_mask_folder(tmp_path, ["x", "y"])


def test_names_of_the_config_come_first(tmp_path: Path) -> None:
    make(tmp_path, "a")
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    assert list_mask_folder(tmp_path, ["x", "y"]).class_names == ("x", "y")


def test_a_misnamed_mask_is_one_line_with_both_halves(tmp_path: Path) -> None:
    make(tmp_path, "b")
    make(tmp_path, "street_01", "stret_01")
    (problem,) = list_mask_folder(tmp_path, ["x", "y"]).unpaired
    assert "images/street_01.jpg" in problem.message
    assert "masks/stret_01.png" in problem.message


@pytest.mark.parametrize(
    ("names", "words"), [(None, r"classes\.txt.*data\.class_names"), ("a\na\n", "another name"), ("", "one class")]
)
def test_classes_have_to_be_known(tmp_path: Path, names: str | None, words: str) -> None:
    make(tmp_path, "a")
    if names is not None:
        (tmp_path / "classes.txt").write_text(names)
    with pytest.raises(DataProblem, match=words):
        list_mask_folder(tmp_path, None)


def test_a_folder_without_masks(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataProblem, match="no `masks`"):
        list_mask_folder(tmp_path, ["x", "y"])
