"""`data info` and `data check`: what is said of a folder of which everything is known, because it is made here."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cnnkit.cli import cli
from cnnkit.config.data import DataConfig
from cnnkit.data import data_set_summary
from cnnkit.data.check import Finding, Report, check_folder
from cnnkit.errors import CnnkitError


def write(path: Path, value: int | np.ndarray, size: tuple[int, int] = (6, 5), **options: Any) -> None:
    """An image of one colour, or an array, as the ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(value) if isinstance(value, np.ndarray) else Image.new("RGB", size, (value, 0, 9))
    image.save(path, **options)


def fill(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 12) -> None:
    """Different images for every class."""
    for label, name in enumerate(classes):
        for number in range(count):
            write(folder / name / f"{number}.png", 100 * label + number)


def check(folder: Path, **fields: Any) -> Report:
    config = DataConfig(folder=str(folder), **fields)
    return check_folder(config, 0, lambda files, count: contextlib.nullcontext(files))


def findings(folder: Path, **fields: Any) -> dict[str, Finding]:
    return {finding.kind: finding for finding in check(folder, **fields).findings}


class TestInfo:
    def test_a_folder_of_many_sizes_is_divided_and_measured(self, tmp_path: Path) -> None:
        shapes = [(4, 10), (4, 10), (6, 8), (5, 30), (20, 3)]
        for name in ("a", "b"):
            for number, (height, width) in enumerate(shapes):
                write(tmp_path / name / f"{number}.png", number, (width, height))
        write(tmp_path / "a" / "gray.png", np.zeros((4, 10), np.uint8))
        (tmp_path / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        summary = data_set_summary(DataConfig(folder=str(tmp_path)))
        heights, widths = zip(*shapes, *shapes, (4, 10), strict=True)
        assert summary["height"] == {"min": 4, "median": int(np.median(heights)), "max": 20}
        assert summary["width"] == {"min": 3, "median": int(np.median(widths)), "max": 30}
        assert next(iter(summary["common_sizes"].items())) == ("4x10", 5)
        assert summary["modes"] == {"RGB": 10, "L": 1}
        assert list(summary["unreadable"]) == ["a/broken.png"]
        assert sum(split["images"] for split in summary["splits"].values()) == 12
        assert not {"shape", "mean", "variance"} & set(summary)

    def test_pixels_are_measured_where_a_size_is_known(self, tmp_path: Path) -> None:
        fill(tmp_path)
        summary = data_set_summary(DataConfig(folder=str(tmp_path), validation=0.0))
        assert summary["shape"] == [5, 6, 3]
        assert summary["mean"][1:] == [0.0, 9.0]
        write(tmp_path / "cat" / "large.png", 7, (60, 50))
        assert data_set_summary(DataConfig(folder=str(tmp_path), image_size=(5, 6)))["shape"] == [5, 6, 3]
        assert CliRunner().invoke(cli, ["data", "info", str(tmp_path)]).exit_code == 0


class TestCheck:
    def test_a_folder_without_fault_needs_no_decision(self, tmp_path: Path) -> None:
        fill(tmp_path)
        assert check(tmp_path).findings == ()
        result = CliRunner().invoke(cli, ["data", "check", str(tmp_path)])
        assert (result.exit_code, result.output.splitlines()[-1]) == (0, "nothing needs a decision")

    def test_copies_are_found_by_their_pixels_and_told_apart(self, tmp_path: Path) -> None:
        for number, split in enumerate(("train", "test", "validation")):
            fill(tmp_path / split, count=12)
            for place, file in enumerate(sorted((tmp_path / split).rglob("*.png"))):
                write(file, 80 * number + place)
        # The same pixels in another format, and with other metadata.
        Image.open(tmp_path / "train/cat/1.png").save(tmp_path / "test/cat/a.bmp")
        Image.open(tmp_path / "train/cat/2.png").save(tmp_path / "train/dog/b.png", compress_level=0)
        Image.open(tmp_path / "train/dog/3.png").save(tmp_path / "train/dog/c.png", dpi=(10, 10))
        found = findings(tmp_path)
        assert set(found) == {"copies_across_splits", "copies_across_classes", "copies"}
        assert found["copies_across_splits"].files == {"train/cat/1.png": ["test/cat/a.bmp"]}
        assert found["copies_across_classes"].files == {"train/cat/2.png": ["train/dog/b.png"]}
        assert found["copies"].files == {"train/dog/3.png": ["train/dog/c.png"]}
        # With a folder for each split, those that are left are in one of them.
        assert [found[kind].decide for kind in found] == [True, True, False]

    def test_copies_in_a_class_matter_where_splits_are_drawn(self, tmp_path: Path) -> None:
        fill(tmp_path)
        write(tmp_path / "cat/copy.png", 3)
        assert findings(tmp_path)["copies"].decide
        # A thumbnail is a copy once both are resized; a different image of the same size is not.
        write(tmp_path / "dog/thumbnail.png", 105, (12, 10))
        assert findings(tmp_path)["copies"].files == {"cat/3.png": ["cat/copy.png"]}
        resized = findings(tmp_path, image_size=(5, 6))
        assert resized["copies"].files == {"cat/3.png": ["cat/copy.png"], "dog/5.png": ["dog/thumbnail.png"]}

    def test_everything_odd_is_in_one_list(self, tmp_path: Path) -> None:
        fill(tmp_path)
        (tmp_path / "cat/empty.jpg").touch()
        write(
            tmp_path / "dog/turned.jpg",
            55,
            exif=bytes.fromhex("45786966000049492a0008000000010012010300010000002a00000000000000"),
        )
        write(tmp_path / "dog/large.png", 56, (40, 30))
        write(tmp_path / "dog/gray.png", np.zeros((5, 6), np.uint8))
        (tmp_path / "cat/photo.HEIC").touch()
        (tmp_path / "cat/notes.txt").touch()
        write(tmp_path / "cat/@eaDir/thumb.png", 3)
        write(tmp_path / "few/1.png", 57)
        write(tmp_path / "few/2.png", 58)
        for spelling in ("caf\u00e9.png", "cafe\u0301.png"):
            write(tmp_path / "cat" / spelling, 60 + len(spelling))
        report = check(tmp_path)
        found = {finding.kind: finding for finding in report.findings}
        assert {kind: finding.decide for kind, finding in found.items()} == {
            "layout": True,
            "unreadable": True,
            "left_out": True,
            "spelling": True,
            "system_folders": False,
            "sizes": False,
            "modes": False,
            "orientation": False,
            "few_images": False,
        }
        assert found["unreadable"].files == {"cat/empty.jpg": "it is empty"}
        assert set(found["left_out"].files) == {"cat/photo.HEIC", "cat/notes.txt"}
        assert set(found["system_folders"].files) == {"cat/@eaDir"}
        assert found["sizes"].files == {"dog/large.png": "30x40"}
        assert found["modes"].files == {"dog/gray.png": "L"}
        assert found["orientation"].files == {"dog/turned.jpg": "42"}
        assert found["few_images"].files == {"few": "2"}
        assert "class `few`" in found["layout"].message
        result = CliRunner().invoke(cli, ["data", "check", str(tmp_path), "--json"])
        assert result.exit_code == 1
        assert json.loads(result.output) == report.as_json()
        text = CliRunner().invoke(cli, ["data", "check", str(tmp_path)]).output.splitlines()
        assert text[0].endswith(": 32 images")
        assert text[-1] == "4 decisions to make"

    def test_what_stops_train_stops_no_check(self, tmp_path: Path) -> None:
        folder = tmp_path / "d"
        fill(folder)
        for name in ("none", "nothing"):
            (folder / name).mkdir()
        (folder / "cat/0.png").write_bytes(b"")
        found = findings(folder)
        assert set(found) == {"layout", "empty_folders", "unreadable"}
        assert set(found["empty_folders"].files) == {"none", "nothing"}
        config = tmp_path / "net.yaml"
        config.write_text("data: {folder: d, image_size: 8}\nmodel: {layers: [Flatten, Dense: classes]}\n")
        result = CliRunner().invoke(cli, ["data", "check", str(config), "--json"])
        assert [one["kind"] for one in json.loads(result.output)["findings"]] == list(found)

    def test_a_config_is_right_or_not(self, tmp_path: Path) -> None:
        fill(tmp_path / "d")
        write(tmp_path / "d/cat/large.png", 77, (40, 30))
        config = tmp_path / "net.yaml"

        def kinds(data: str) -> dict[str, bool]:
            config.write_text(f"data: {{folder: d, {data}}}\nmodel: {{layers: [Flatten, Dense: classes]}}\n")
            result = CliRunner().invoke(cli, ["data", "check", str(config), "--json"])
            found = {one["kind"]: one["decide"] for one in json.loads(result.output)["findings"]}
            assert result.exit_code == any(found.values())
            return found

        assert kinds("image_size: 6, shape: [6, 6, 3]") == {"sizes": False}
        assert kinds("validation: 0.1") == {"layout": True, "sizes": False}

    def test_a_folder_that_cannot_be_read_hides_no_other(self, tmp_path: Path) -> None:
        for split in ("train", "test"):
            fill(tmp_path / split, count=10)
        (tmp_path / "train/dog/more").symlink_to(tmp_path / "nowhere")
        found = findings(tmp_path)
        assert set(found) == {"layout", "unreadable_folders", "copies_across_splits"}
        assert found["unreadable_folders"].files == {"train/dog/more": "the link cannot be followed"}
        assert len(found["copies_across_splits"].files) == 10

    def test_what_is_no_folder_of_images_is_said(self, tmp_path: Path) -> None:
        for source, part in (("nothing", "neither a folder of images"), ("x.yaml", "x.yaml")):
            assert part in str(CliRunner().invoke(cli, ["data", "check", source]).exception)
        with pytest.raises(CnnkitError, match="does not exist"):
            check(tmp_path / "gone")
        config = tmp_path / "net.yaml"
        config.write_text("data: {name: digits}\nmodel: {layers: [Flatten, Dense: classes]}\n")
        assert "`digits`" in str(CliRunner().invoke(cli, ["data", "check", os.fspath(config)]).exception)
