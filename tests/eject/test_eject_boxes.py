"""Scripts of networks that find objects: their boxes, augmentation and training are those of `cnnkit train`."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ejected import as_module, augmentation_of, each_split, figures, run_script, splits_of
from made_sets import store_boxes
from PIL import Image

from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.config import shipped
from cnnkit.config.data import DataConfig
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.config.target import Boxes
from cnnkit.data import load
from cnnkit.data.box_formats import convert
from cnnkit.eject import eject
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run
from tests.tasks.detection.shapes import CONFIG, write_shapes
from tests.tasks.detection.test_detect_voc import write_voc

MOVING: list[Any] = [
    {"RandomFlip": "horizontal"},
    {"RandomFlip": {"mode": "vertical", "alternate": True}},
    {"RandomZoom": {"height_factor": 0.3, "fill_mode": "constant"}},
    {"RandomBrightness": 0.1},
    {"RandomTranslation": {"height_factor": 0.2, "width_factor": 0.1, "fill_mode": "constant"}},
    {"RandomCrop": {"padding": 4}},
]


def written(folder: Path, place: str = "shapes", **sections: Any) -> LoadedConfig:
    """The network of the shapes with other sections, for a folder of images."""
    base = {**CONFIG, "seed": 2, "data": {**CONFIG["data"], "folder": str(folder / place)}}
    content = {
        name: {**value, **sections.pop(name, {})} if isinstance(value, dict) else value for name, value in base.items()
    }
    (folder / "net.yaml").write_text(yaml.safe_dump(content | sections))
    return load_config(str(folder / "net.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shapes(tmp_path / "shapes", {"train": 20, "val": 6, "test": 6})
    return tmp_path


@pytest.mark.long
def test_the_first_epochs_are_those_of_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of each, and the weights after them."""
    import keras

    loaded = written(folder, augmentation=MOVING, data={"batch_size": 5}, training={"epochs": 2, "tensorboard": False})
    expected = figures(loaded, folder)
    history, shown = run_script(eject(loaded), folder, monkeypatch)
    assert history.keys() == expected.keys() - {"learning_rate"}
    for name, values in history.items():
        assert values == pytest.approx(expected[name], rel=2e-3, abs=1e-6), name
    (mean,) = re.findall(r"test mAP@0.5:0.95 ([01]\.\d{4})", shown)
    run = open_run(Run(folder / "run"))
    # Scores are counted in steps.
    assert float(mean) == pytest.approx(evaluate_run(run)["map"], abs=0.02)
    assert "test image 2, objects" in shown
    weights = keras.models.load_model(folder / "net.keras", compile=False).get_weights()
    for mine, theirs in zip(weights, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-4)


def assert_same_data(loaded: LoadedConfig) -> None:
    """Holds the images and boxes that a script reads against those that cnnkit does."""
    config = loaded.config
    expected = load(config.data, config.seed, config.task)
    found = splits_of(eject(loaded))
    for name, read, split in each_split(found, expected):
        images, boxes = read
        np.testing.assert_array_equal(images, split.read_batch(range(split.size))["images"], err_msg=name)
        assert boxes.dtype == np.float32
        for mine, theirs in zip(boxes, split.targets.each(), strict=True):
            np.testing.assert_allclose(mine[mine[:, 4] >= 0], theirs, rtol=1e-6, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_folders_of_each_format_are_read_the_same(kind: str, folder: Path) -> None:
    convert(DataConfig(folder=str(folder / "shapes")), folder / "other", kind)
    assert_same_data(written(folder, "other"))


def test_a_box_that_is_there_twice_counts_once(folder: Path) -> None:
    file = folder / "shapes" / "train" / "annotations.json"
    document = json.loads(file.read_text())
    document["annotations"] += [{**one, "id": 1000 + one["id"]} for one in document["annotations"][:5]]
    file.write_text(json.dumps(document))
    assert_same_data(written(folder))


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_boxes_move_with_images_that_are_resized(resize: str, tmp_path: Path) -> None:
    """VOC as it is handed out, with objects that are difficult; what a crop leaves out is no object any more."""
    write_voc(tmp_path / "voc", {"train": 12, "val": 4})
    assert_same_data(written(tmp_path, "voc", data={"image_size": [96, 160], "resize": resize}))


def test_one_folder_is_divided_the_same(tmp_path: Path) -> None:
    """Without a file that cannot be decoded; and where the classes' numbers are others than the network's."""
    write_shapes(tmp_path / "shapes", {"train": 14})
    convert(DataConfig(folder=str(tmp_path / "shapes")), tmp_path / "yolo", "yolo")
    shutil.move(tmp_path / "yolo" / "classes.txt", tmp_path / "yolo" / "train" / "classes.txt")
    data = {"validation": 0.3, "image_size": [64, 48], "resize": "crop"}
    assert_same_data(written(tmp_path, "yolo/train", data=data | {"class_names": ["disc", "square"]}))
    file = tmp_path / "shapes" / "train" / "images" / "003.png"
    file.write_bytes(file.read_bytes()[:-30])
    assert_same_data(written(tmp_path, "shapes/train", data=data | {"skip_corrupt": True}))


def of_table(folder: Path, **columns: Any) -> LoadedConfig:
    """The network of the shapes for a table `table/boxes.csv`."""
    data = {"folder": None, "table": str(folder / "table" / "boxes.csv"), "target": "class", "validation": 0.25}
    return written(folder, data={**data, **columns})


@pytest.fixture
def rows(folder: Path) -> list[dict[str, str]]:
    """The shapes in a table with their splits, one of them marked as a crowd; a row is there twice."""
    convert(DataConfig(folder=str(folder / "shapes")), folder / "table", "table")
    with open(folder / "table" / "boxes.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    crowd = next(row for row in found if row["class"])
    crowd["crowd"] = "1"
    return [*found, crowd]


def write_rows(folder: Path, rows: list[dict[str, Any]], delimiter: str = ",", *, header: bool = True) -> None:
    with open(folder / "table" / "boxes.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        if header:
            writer.writeheader()
        writer.writerows(rows)


def test_tables_of_edges_are_read_the_same(folder: Path, rows: list[dict[str, str]]) -> None:
    write_rows(folder, rows, ";")
    boxes = {"left": "left", "top": "top", "right": "right", "bottom": "bottom", "crowd": "crowd"}
    assert_same_data(loaded := of_table(folder, boxes=boxes, split="split"))
    assert_is_sound({"table": loaded}, folder)
    write_rows(folder, [{**row, "group": row["image"]} for row in rows])
    with pytest.raises(UsageError, match="keeps the groups of a table"):
        eject(of_table(folder, boxes=boxes, group="group"))


def test_tables_of_shares_and_sides_are_read_the_same(folder: Path, rows: list[dict[str, str]]) -> None:
    changed = []
    for row in rows:
        left, top, right, bottom = (float(row[edge] or 0) / 32 for edge in ("left", "top", "right", "bottom"))
        numbers = {"x": left, "y": top, "w": right - left, "h": bottom - top}
        if not row["class"]:
            numbers = dict.fromkeys(numbers, "")
        changed.append({"file": row["image"], **numbers, "class": row["class"]})
    write_rows(folder, changed)
    boxes = {"left": "x", "top": "y", "width": "w", "height": "h", "unit": "shares"}
    assert_same_data(loaded := of_table(folder, boxes=boxes, image="file"))
    assert_is_sound({"table": loaded}, folder)


def test_tables_without_a_header_are_read_the_same(folder: Path, rows: list[dict[str, str]]) -> None:
    changed = [{name: row[name] for name in ("image", "left", "top", "right", "bottom", "class")} for row in rows]
    write_rows(folder, changed, header=False)
    assert_same_data(loaded := of_table(folder, boxes=["x1", "y1", "x2", "y2"]))
    assert_is_sound({"table": loaded}, folder)


def stored_set(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, crowd: str, first: int) -> None:
    """A TFDS set of images of several sizes, a few boxes of no area, and a split without objects."""
    import tensorflow_datasets as tfds

    random = np.random.default_rng(0)

    def examples(count: int, most: int = 4) -> list[tuple[Any, ...]]:
        found = []
        for size in random.integers(20, 50, (count, 2)):
            several = int(random.integers(0, most))
            corners = np.sort(random.integers(first, 20, (several, 2, 2)), axis=1).reshape(-1, 4)
            image = random.integers(0, 256, (*size, 3)).astype(np.uint8)
            numbers = random.integers(0, 20, several)
            found.append((image, corners / [*size, *size], numbers, random.random(several) < 0.3))
        return found

    base, _, configuration = name.partition("/")
    splits = {"train": examples(9), "validation": examples(4), "test": examples(2, most=1)}
    store_boxes(folder, base, configuration, splits, crowd, [f"class {number}" for number in range(20)])
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    # The real set of that name has another version.
    builder = tfds.builder_from_directory(folder / base / configuration / "1.0.0")
    monkeypatch.setattr(tfds, "load", lambda _, **options: builder.as_dataset(**options))
    monkeypatch.setattr(tfds, "builder", lambda _: builder)


@pytest.mark.parametrize(
    ("name", "crowd", "first", "resize"),
    [
        ("voc/2007", "is_difficult", 1, "pad"),
        pytest.param("streets/all", "is_crowd", 0, "crop", marks=pytest.mark.long),
    ],
)
def test_sets_of_tfds_are_read_the_same(
    name: str, crowd: str, first: int, resize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has objects is the split to test on."""
    stored_set(tmp_path, monkeypatch, name, crowd, first)
    data = {"folder": None, "name": name, "image_size": [32, 48], "resize": resize, "validation": 0.3}
    loaded = written(tmp_path, data=data, augmentation=MOVING)
    assert_same_data(loaded)
    if name.startswith("voc"):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
        with pytest.raises(UsageError, match="nothing here says what `voc/2007` calls its boxes"):
            eject(written(tmp_path, data=data))


def test_a_script_moves_boxes_as_the_pipeline_does() -> None:
    augmentation, script = augmentation_of(MOVING, Boxes(3), 3)

    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (4, 24, 32, 3)).astype(np.uint8)
    boxes = np.zeros((4, 3, 6), np.float32)
    boxes[..., :2] = draws.uniform(0, 14, (4, 3, 2))
    boxes[..., 2:4] = boxes[..., :2] + draws.uniform(2, 10, (4, 3, 2))
    boxes[..., 4] = [0, 2, -1]
    places = np.array([7, 1, 4, 0])
    changed, moved = script.augment(images, boxes, 2, 5, places)
    batch = {"images": images, "bounding_boxes": boxes}
    expected = Pipeline(augmentation, 3, boxes=True).apply_numpy(batch, 2, 5, places)
    np.testing.assert_allclose(moved, expected["bounding_boxes"], atol=1e-4)
    np.testing.assert_allclose(changed, expected["images"], atol=1e-3)
    assert not np.allclose(moved, boxes)


def test_a_script_says_what_is_wrong_with_boxes(folder: Path) -> None:
    script = eject(written(folder))
    images = folder / "shapes" / "train" / "images"
    named = max(images.iterdir(), key=lambda file: np.asarray(Image.open(file)).mean())
    shutil.copy(named, folder / "kept.png")
    Image.new("L", (1, 32)).save(named)
    with pytest.raises(ValueError, match=rf"{named.stem}\.png' has boxes of no area, or outside of it"):
        splits_of(script)
    shutil.copy(folder / "kept.png", named)
    document = folder / "shapes" / "train" / "annotations.json"
    document.write_text(document.read_text().replace('"bbox": [', '"bbox": [400, ', 1))
    with pytest.raises(CnnkitError, match="annotation 0 should have a `bbox` of four numbers"):
        eject(written(folder))


def test_a_script_prints_what_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = as_module(eject(written(folder)))
    outputs = np.full((2, 8, 8, 6), -5, np.float32)
    # A disc of 12x8 pixels, whose centre is half a place right of that place.
    outputs[1, 3, 2] = [-5, 2, 0.5, 0, 3, 2]
    module.print_objects(outputs)
    assert capsys.readouterr().out.splitlines() == [
        "test image 0, objects with a score of 0.3 or more: 0",
        "test image 1, objects with a score of 0.3 or more: 1",
        "  disc from (4.0, 8.0) to (16.0, 16.0), score 0.88",
    ]


def test_scripts_are_sound_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the shipped configs and of each format, ruff finds no name that is not defined and none that is not used."""
    write_voc(tmp_path / "VOC2007", {"train": 40, "val": 4})
    write_shapes(tmp_path / "shapes", {"train": 8, "test": 4})
    convert(DataConfig(folder=str(tmp_path / "shapes")), tmp_path / "yolo", "yolo")
    voc = load_config(str(shipped.find("detect_voc")), (f"data.folder={tmp_path / 'VOC2007'}",))
    sized = ("data.shape=null", "data.classes=null", "data.image_size=128")
    digits = load_config(str(shipped.find("detect_digits")), (f"data.folder={tmp_path / 'shapes'}", *sized))
    yolo = written(tmp_path, "yolo", augmentation=MOVING, data={"skip_corrupt": True, "image_size": 48})
    stored_set(tmp_path, monkeypatch, "coco/2017", "is_crowd", 0)
    coco = written(tmp_path, data={"folder": None, "name": "coco/2017", "image_size": 48})
    assert_is_sound({"voc": voc, "digits": digits, "yolo": yolo, "coco": coco}, tmp_path)


def assert_is_sound(configs: dict[str, LoadedConfig], folder: Path) -> None:
    for name, loaded in configs.items():
        (folder / f"{name}.py").write_text(eject(loaded))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E5,E7,E9,F"]
    done = subprocess.run([*command, "--line-length", "120", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
