"""Which files of a folder are its images: endings, hidden and system folders, links, and what cannot be read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cnnkit.config.data import DataProblem
from cnnkit.config.image_folder import list_image_folder, list_labelled_folder
from cnnkit.errors import CnnkitError
from cnnkit.images.files import folders_in, image_files, left_out_text
from cnnkit.runs.inputs import collect_images


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def images_of(root: Path) -> list[str]:
    return [Path(file).relative_to(root).as_posix() for file in image_files(root)[0]]


def unreadable(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A folder that may not be listed; root may list any."""
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_endings_decide_and_hidden_files_and_those_of_systems_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/1.png", "a.png", "a/x.webp", ".hidden.png", ".git/x.png", "notes.txt", "b/x.HEIC")
    for folder in ("@eaDir/1.png", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found", "@Recycle", ".AppleDouble"):
        touch(tmp_path, f"{folder}/1.png", f"b/{folder}/1.png")
    assert images_of(tmp_path) == ["a.png", "a/x.webp", "b/1.png", "b/2.JPG"]
    others = image_files(tmp_path)[1]
    assert [Path(file).name for file in others] == ["x.HEIC", "notes.txt"]
    assert left_out_text(others) == "left out 2 files: 1 .heic, 1 .txt"
    assert [path.name for path in folders_in(tmp_path)[0]] == ["a", "b"]


def test_links_to_folders_are_followed_once_behind_the_folders_own_files(tmp_path: Path) -> None:
    touch(tmp_path, "d/up/z/1.png", "elsewhere/2.png", "elsewhere/deep/3.png", "d/.store/4.png")
    up = tmp_path / "d" / "up"
    (up / "a").symlink_to(up / "z")
    (up / "more").symlink_to("../../elsewhere")
    (up / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (up / "stored").symlink_to("../.store")
    assert images_of(up) == ["again/3.png", "more/2.png", "stored/4.png", "z/1.png"]
    assert collect_images([up]) == [up / name for name in images_of(up)]


def test_training_and_prediction_take_the_same_files(tmp_path: Path) -> None:
    """Through a linked class folder, a link inside a class, one folder linked twice there, and links that lead back."""
    touch(tmp_path, "d/up/1.png", "d/up/deep/2.png", "store/down/3.png", "store/down/more/4.png", "shared/5.png")
    root = tmp_path / "d"
    (root / "down").symlink_to("../store/down")
    (root / "up" / "shared").symlink_to(tmp_path / "shared")
    (root / "up" / "twice").symlink_to("../../shared")
    (root / "up" / "deep" / "back").symlink_to("..")
    (tmp_path / "store" / "down" / "more" / "back").symlink_to(tmp_path / "store" / "down")
    (tmp_path / "shared" / "round").symlink_to(root / "up")
    listing = list_image_folder(root)
    assert listing.splits["train"] == (
        ("down/3.png", "down/more/4.png"),
        ("up/1.png", "up/deep/2.png", "up/shared/5.png"),
    )
    assert collect_images([root]) == [root / file for file in listing.files()]


@pytest.mark.parametrize(("link", "target"), [("d/b", "d/a"), ("d/c/more", "d/a"), ("d/c/inner", "d/a/inner")])
def test_a_folder_is_of_one_class(tmp_path: Path, link: str, target: str) -> None:
    touch(tmp_path, "d/a/1.png", "d/a/inner/2.png", "d/c/3.png")
    (tmp_path / link).symlink_to(tmp_path / target)
    with pytest.raises(DataProblem, match="are the same folder by a link") as caught:
        list_image_folder(tmp_path / "d")
    assert all(f"`{tmp_path / one}`" in str(caught.value.message) for one in (link, target))
    # What it shows, a network can be asked all the same; once.
    found = [os.path.realpath(file) for file in collect_images([tmp_path / "d"])]
    assert len(found) == len(set(found)) == 3


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    touch(tmp_path, "d/up/1.png", "d/down/2.png", "other/3.png")
    (tmp_path / "d" / "up" / "here").symlink_to(".")
    (tmp_path / "d" / "up" / "parent").symlink_to("..")
    (tmp_path / "d" / "up" / "other").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "d" / "up")
    (tmp_path / "d" / "all").symlink_to(tmp_path)
    assert images_of(tmp_path / "d" / "up") == ["1.png", "other/3.png"]
    assert list_image_folder(tmp_path / "d").class_names == ("down", "up")


def test_the_current_folder_is_listed_as_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "up/more/1.png", "down/2.png")
    (tmp_path / "up" / "loop").symlink_to("..")
    (tmp_path / "self").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    assert list_image_folder(".").splits == {"train": (("down/2.png",), ("up/more/1.png",))}
    assert image_files(".")[0] == ["./down/2.png", "./up/more/1.png"]


def test_a_link_that_leads_nowhere_is_an_unreadable_image_or_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "d/up/1.png", "d/down/2.png")
    (tmp_path / "d" / "up" / "gone.png").symlink_to("nowhere.png")
    assert list_image_folder(tmp_path / "d").splits["train"][1] == ("up/1.png", "up/gone.png")
    for link in (tmp_path / "d" / "up" / "gone", tmp_path / "d" / "sideways"):
        link.symlink_to("nowhere")
        with pytest.raises(DataProblem, match=rf"cannot read the folder `{link}`: the link cannot be followed"):
            list_image_folder(tmp_path / "d")
        link.unlink()


@pytest.mark.parametrize("folder", ["up/more", "up", "."])
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    touch(tmp_path, "up/1.png", "up/more/2.png", "down/3.png")
    unreadable(monkeypatch, tmp_path / folder)
    message = f"cannot read the folder `?{tmp_path / folder}`?: Permission denied"
    with pytest.raises(DataProblem, match=message):
        list_image_folder(tmp_path)
    with pytest.raises(CnnkitError, match=message):
        collect_images([tmp_path])


def test_no_name_of_a_file_controls_the_terminal(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "b/x.\x1b[2J", "b\x1b[2J/1.png")
    notes = [*list_image_folder(tmp_path).notes, left_out_text(image_files(tmp_path)[1])]
    (tmp_path / "b\x1b[2J" / "1.png").unlink()
    notes += list_labelled_folder(tmp_path).notes
    assert len(notes) == 4
    assert all(note.isprintable() and r"\x1b[2" in note for note in notes)


def test_what_a_listing_leaves_out_is_counted(tmp_path: Path) -> None:
    for part in ("", "train/", "test/"):
        touch(tmp_path, *(f"{part}{name}" for name in ("a/1.png", "a/1.svg", "b/1.png", "b/2.HEIC", "labels.csv")))
    touch(tmp_path / "train", "stray.png")
    listing = list_image_folder(tmp_path / "train")
    assert left_out_text(listing.left_out) == ("left out 4 files: 1 .csv, 1 .svg, 1 .heic, 1 outside the class folders")
    for name in ("a", "b"):
        for file in (tmp_path / name).iterdir():
            file.unlink()
        (tmp_path / name).rmdir()
    assert left_out_text(list_image_folder(tmp_path).left_out) == (
        "left out 8 files: 3 .csv, 2 .svg, 2 .heic, 1 outside the class folders"
    )
