"""Images with masks from folders, against Pillow and NumPy; and what is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cnnkit.cli import cli
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.dataset import describe_data_set
from cnnkit.data.catalog import data_set_summary
from cnnkit.data.images import CorruptFiles
from cnnkit.data.labelled import labelled_pairs
from cnnkit.data.loading import load
from cnnkit.data.splits import Split
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.task import Task
from cnnkit.tasks import TASKS
from tests.images.test_masks_read import packed_png
from tests.tasks.segmentation.scenes import IGNORE, NAMES, scene, write_scenes


def task() -> Task:
    """One that learns masks."""
    made = TASKS.get("segmentation").with_defaults()  # type: ignore[union-attr]
    assert isinstance(made, Task)
    return made


def section(folder: Path, **fields: Any) -> DataConfig:
    return DataConfig.model_validate({"folder": str(folder), "ignore": IGNORE, "validation": 0, **fields})


def training(folder: Path, **fields: Any) -> Split:
    made = load(section(folder, **fields), 0, task(), splits=("train",)).train
    assert made is not None
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scenes(tmp_path, 10)
    return tmp_path


def number_of(split: Split, index: int) -> int:
    """The number of the scene at a place of a split."""
    return int(Path(split.ids[index]).stem)


@pytest.mark.parametrize("memory", ["cache", "stream"])
def test_pixels_and_masks_are_those_of_the_files(folder: Path, memory: str) -> None:
    split = training(folder, memory=memory)
    for _ in range(2):  # decoded, then from the cache
        split = training(folder, memory=memory)
        batch = split.read_batch(range(split.size))
        for index in range(split.size):
            image, mask = scene(number_of(split, index))
            np.testing.assert_array_equal(batch["images"][index], image)
            np.testing.assert_array_equal(batch["segmentation_masks"][index, ..., 0], mask)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_masks_are_resized_to_the_nearest_pixel(folder: Path, resize: str) -> None:
    """From 32x32 to 12x24, of twice the width: `crop` takes the 16 rows in the middle, `pad` adds columns."""
    split = training(folder, image_size=[12, 24], resize=resize)
    mask = scene(number_of(split, 0))[1]
    read = split.read_masks([0])[0]
    if resize == "pad":
        inner = np.asarray(Image.fromarray(mask).resize((32, 12), Image.Resampling.NEAREST))
        framed = np.pad(inner, ((0, 0), (16, 16)), constant_values=IGNORE)
        expected = np.asarray(Image.fromarray(framed).resize((24, 12), Image.Resampling.NEAREST))
    else:
        part = mask[8:24] if resize == "crop" else mask
        expected = np.asarray(Image.fromarray(part).resize((24, 12), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(read, expected)


def test_a_border_of_resize_needs_a_number_that_is_ignored(folder: Path) -> None:
    with pytest.raises(DataProblem, match=r"data\.ignore"):
        describe_data_set(section(folder, image_size=[12, 24], resize="pad", ignore=None), task())


@pytest.mark.parametrize("kind", ["palette", "gray of 4 bits"])
def test_numbers_are_those_in_the_file(folder: Path, kind: str) -> None:
    before = training(folder).read_masks(range(8))
    for file in (folder / "masks").iterdir():
        mask = np.asarray(Image.open(file))
        if kind == "palette":
            indexed = Image.fromarray(mask)
            indexed.putpalette([value for number in range(256) for value in (255 - number, number, 7)])
            indexed.save(file)
        else:
            file.write_bytes(packed_png(4, 0, mask))
    np.testing.assert_array_equal(training(folder).read_masks(range(8)), before)


@pytest.mark.parametrize("ignore", [IGNORE, None])
def test_a_border_to_a_multiple(folder: Path, ignore: int | None) -> None:
    """32 is padded to 40, by 4 on each side; where nothing is ignored, with a number that no class has."""
    if ignore is None:
        for file in (folder / "masks").iterdir():
            mask = np.array(Image.open(file))
            mask[mask == IGNORE] = 0
            Image.fromarray(mask).save(file)
    config = section(folder, pad_to=20, ignore=ignore)
    info = describe_data_set(config, task())
    assert (info.shape, info.padding) == ((40, 40, 3), (4, 4, 4, 4))
    border = info.target.ignore
    assert border == (255 if ignore is None else ignore)
    split = training(folder, pad_to=20, ignore=ignore)
    plain = training(folder, ignore=ignore)
    np.testing.assert_array_equal(split.read_masks([0])[0], np.pad(plain.read_masks([0])[0], 4, constant_values=border))
    np.testing.assert_array_equal(split.read([0])[0], np.pad(plain.read([0])[0], ((4, 4), (4, 4), (0, 0)), "edge"))


def test_a_number_of_the_border_is_none_that_masks_may_hold(folder: Path) -> None:
    """255 in a mask is not taken as ignored because a border has it."""
    mask = np.zeros((32, 32), np.uint8)
    mask[3, :5] = 255
    Image.fromarray(mask).save(folder / "masks" / "003.png")
    with pytest.raises(CorruptFiles, match=r"003\.png` holds .*255 \(5 pixels\)"):
        training(folder, pad_to=20, ignore=None)


def break_folder(folder: Path) -> None:
    masks = folder / "masks"
    (masks / "005.png").rename(masks / "005x.png")
    Image.fromarray(scene(11, 30)[1]).save(masks / "011.png")
    strange = scene(17)[1]
    strange[5, :7] = 42
    Image.fromarray(strange).save(masks / "017.png")
    Image.new("RGB", (32, 32)).save(masks / "023.png")


@pytest.mark.parametrize("memory", ["cache", "stream"])
def test_all_that_is_wrong_with_pairs_is_told_at_once(tmp_path: Path, memory: str) -> None:
    write_scenes(tmp_path, 50)
    break_folder(tmp_path)
    with pytest.raises(CorruptFiles) as caught:
        training(tmp_path, memory=memory, skip_corrupt=True)
    assert len(caught.value.errors) == 4
    misnamed, size, number, colour = (
        next(error.message for error in caught.value.errors if name in error.message)
        for name in ("005x.png", "011.png", "017.png", "023.png")
    )
    assert "005.png" in misnamed
    assert "30x30" in size
    assert "32x32" in size
    assert "42 (7 pixels)" in number
    assert "colour" in colour


def truncate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_both_damaged_halves_of_a_pair_are_named(folder: Path) -> None:
    for kind in ("images", "masks"):
        truncate(folder / kind / "004.png")
    strange = np.full((32, 32), 7, np.uint8)
    Image.fromarray(strange).save(folder / "masks" / "006.png")
    truncate(folder / "images" / "006.png")
    with pytest.raises(CorruptFiles) as caught:
        training(folder)
    damaged = [Path(error.file or "").relative_to(folder).as_posix() for error in caught.value.errors]
    assert sorted(damaged) == ["images/004.png", "images/006.png", "masks/004.png", "masks/006.png"]
    # What is wrong with 006 would stop the training then, too.
    assert "skip_corrupt" not in str(caught.value)
    # What cannot be read may be left out with its other half; what says something wrong may not.
    with pytest.raises(CorruptFiles, match=r"masks/006\.png` holds 7 \(1,024 pixels\)") as caught:
        training(folder, skip_corrupt=True)
    assert len(caught.value.errors) == 1


def test_only_what_can_be_left_out_is_said_to_be(folder: Path) -> None:
    for kind in ("images", "masks"):
        truncate(folder / kind / "004.png")
    with pytest.raises(CorruptFiles, match=r"set `data\.skip_corrupt: true` to leave them out"):
        training(folder)
    training(folder, skip_corrupt=True)
    (folder / "masks" / "007.png").unlink()
    with pytest.raises(CorruptFiles, match=r"007\.png` has no mask") as caught:
        training(folder)
    assert "skip_corrupt" not in str(caught.value)


def test_of_many_bad_masks_the_rest_is_counted_and_said_where_to_see(folder: Path) -> None:
    write_scenes(folder, 15)
    with pytest.raises(CorruptFiles) as caught:
        training(folder, ignore=None)
    lines = str(caught.value).splitlines()
    assert lines[1].endswith("or set `data.ignore: 9`")
    assert lines[-1] == "and 5 more; `cnnkit data check CONFIG --json` lists all"
    found = json.loads(CliRunner().invoke(cli, ["data", "check", str(folder), "--json"]).output)["findings"]
    (pairs,) = [finding for finding in found if finding["kind"] == "pairs"]
    assert sorted(pairs["files"]) == [f"masks/{number:03}.png" for number in range(15)]


def test_data_info_counts_pixels(folder: Path) -> None:
    """The border that `pad_to` adds is not counted."""
    masks = np.stack([scene(number)[1] for number in range(10)])
    for pad_to in (None, 20):
        found = data_set_summary(section(folder, pad_to=pad_to, splits={}), 0, task())
        counts = np.zeros(len(NAMES))
        for split in found["splits"].values():
            size = split["images"] * 32 * 32 * (1 - split["ignored_pixels"])
            counts += size * np.array([split["pixels"][name] for name in NAMES])
            assert split["ignored_pixels"] == pytest.approx(1 / 32, abs=1e-6)
        np.testing.assert_allclose(counts, [(masks == number).sum() for number in range(3)], atol=0.5)


def test_data_info_notes_classes_that_are_tested_and_never_trained(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_scenes(tmp_path / split, 4)
    (tmp_path / "train" / "classes.txt").rename(tmp_path / "classes.txt")
    before = data_set_summary(section(tmp_path), 0, task()).get("notes", [])
    assert not [note for note in before if "no training mask" in note]
    for file in (tmp_path / "train" / "masks").iterdir():
        mask = np.asarray(Image.open(file)).copy()
        mask[mask == 2] = 0
        Image.fromarray(mask).save(file)
    notes = data_set_summary(section(tmp_path), 0, task())["notes"]
    assert "masks of the test split have classes that no training mask has: `disc`" in notes


def measured(folder: Path, **how: Any) -> Split:
    info = describe_data_set(section(folder.parent / "learned", pad_to=20), task())
    config = section(folder.parent / "learned")
    return labelled_pairs(folder, config, target=info.target, shape=info.shape, padding=info.padding, **how)


def test_other_pairs_as_a_network_takes_them(tmp_path: Path) -> None:
    write_scenes(tmp_path / "learned", 10)
    write_scenes(tmp_path / "other", 3, first=30)
    split = measured(tmp_path / "other")
    assert [number_of(split, index) for index in range(3)] == [30, 31, 32]
    np.testing.assert_array_equal(split.read_masks([1])[0], np.pad(scene(31)[1], 4, constant_values=IGNORE))


def test_other_pairs_of_the_split_to_test_on(tmp_path: Path) -> None:
    write_scenes(tmp_path / "learned", 10)
    write_scenes(tmp_path / "other" / "train", 2, first=20)
    with pytest.raises(CnnkitError, match="only the training split"):
        measured(tmp_path / "other")
    write_scenes(tmp_path / "other" / "test", 3, first=30)
    assert number_of(measured(tmp_path / "other"), 0) == 30


def other_classes(folder: Path) -> None:
    (folder / "classes.txt").write_text("sky\nroad\ncar\n")


@pytest.mark.parametrize(("spoil", "words"), [(other_classes, "sky, road, car"), (break_folder, "4 images or masks")])
def test_other_pairs_that_cannot_be_measured(tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    write_scenes(tmp_path / "learned", 10)
    write_scenes(tmp_path / "other", 30)
    spoil(tmp_path / "other")
    with pytest.raises(CnnkitError, match=words):
        measured(tmp_path / "other")
    with pytest.raises(UsageError, match="does not exist"):
        measured(tmp_path / "nowhere")


@pytest.mark.skipif("CAMVID_DIR" not in os.environ, reason="CAMVID_DIR names no folder of CamVid")
def test_camvid() -> None:
    folder = Path(os.environ["CAMVID_DIR"])
    split = load(section(folder, ignore=11), 0, task(), splits=("test",)).test
    assert split is not None
    for index in (0, split.size - 1):
        file = Path((split.paths or [])[index])
        np.testing.assert_array_equal(split.read([index])[0], np.asarray(Image.open(file)))
        mask = next((folder / "test" / "masks").glob(f"{file.stem}.*"))
        np.testing.assert_array_equal(split.read_masks([index])[0], np.asarray(Image.open(mask)))


def test_commands_see_pairs_in_a_folder_without_a_config(tmp_path: Path) -> None:
    write_scenes(tmp_path, 30)
    for file in (tmp_path / "masks").iterdir():
        mask = np.array(Image.open(file))
        mask[mask == IGNORE] = 0
        Image.fromarray(mask).save(file)
    runner = CliRunner()
    info = runner.invoke(cli, ["data", "info", str(tmp_path), "--json"])
    assert info.exit_code == 0, info.output
    assert set(json.loads(info.output)["splits"]["train"]["pixels"]) == set(NAMES)
    sound = runner.invoke(cli, ["data", "check", str(tmp_path)])
    assert (sound.exit_code, "30 images" in sound.output) == (0, True)
    break_folder(tmp_path)
    truncate(tmp_path / "masks" / "003.png")
    spoilt = runner.invoke(cli, ["data", "check", str(tmp_path), "--json"])
    assert spoilt.exit_code == 1
    files = {finding["kind"]: finding["files"] for finding in json.loads(spoilt.output)["findings"]}
    assert files["unreadable_masks"] == {"masks/003.png": "image file is truncated"}
    reasons = {"images/005.png": "005x.png", "masks/011.png": "30x30", "masks/017.png": "42", "masks/023.png": "colour"}
    assert files["pairs"].keys() == reasons.keys()
    for file, words in reasons.items():
        assert words in files["pairs"][file]


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_sets_of_one_class_for_each_image_have_no_masks(name: str) -> None:
    with pytest.raises(DataProblem, match=f"{name}.*`folder:`"):
        describe_data_set(DataConfig(name=name), task())
