"""Scripts of networks that find objects: their boxes, augmentation and training are those of `cnnkit train`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from ejected import figures, run_script, splits_of
from PIL import Image

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.config import shipped
from cnnkit.config.data import DataConfig
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.config.target import Boxes
from cnnkit.data import load
from cnnkit.data.box_formats import convert
from cnnkit.eject import eject
from cnnkit.eject.augmentation import write_augmentation
from cnnkit.eject.text import import_lines
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.base import Choice
from cnnkit.format.seeds import derive_seed
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
    content = {
        name: {**value, **sections.pop(name, {})} if isinstance(value, dict) else value
        for name, value in {**CONFIG, "seed": 2}.items()
    }
    content["data"] = {**content["data"], "folder": str(folder / place)}
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
    assert "test image 2:" in shown
    weights = keras.models.load_model(folder / "net.keras", compile=False).get_weights()
    for mine, theirs in zip(weights, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-4)


def assert_same_data(loaded: LoadedConfig) -> None:
    """Holds the images and boxes that a script reads against those that cnnkit does."""
    config = loaded.config
    expected = load(config.data, config.seed, config.task)
    found = splits_of(eject(loaded))
    for name in ("train", "validation", "test"):
        split = getattr(expected, name)
        assert (split is None) == (name not in found), name
        if split is not None:
            images, boxes = found[name]
            np.testing.assert_array_equal(images, split.read_batch(range(split.size))["images"], err_msg=name)
            assert boxes.dtype == np.float32
            for mine, theirs in zip(boxes, split.targets.each(), strict=True):
                np.testing.assert_allclose(mine[mine[:, 4] >= 0], theirs, rtol=1e-6, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_folders_of_each_format_are_read_the_same(kind: str, folder: Path) -> None:
    convert(DataConfig(folder=str(folder / "shapes")), folder / "other", kind)
    assert_same_data(written(folder, "other"))


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


def test_a_script_moves_boxes_as_the_pipeline_does() -> None:
    augmentation = [Choice(AUGMENTATIONS).validate(one) for one in MOVING]
    body = "\n\n".join(write_augmentation(augmentation, Boxes(3)))
    standard, others = import_lines(body)
    script = ModuleType("ejected")
    text = "\n".join(["from __future__ import annotations", *standard, *others, body])
    script.__dict__["seed_of"] = lambda *path: derive_seed(3, *path)
    exec(compile(text, "ejected.py", "exec"), script.__dict__)

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


def test_a_table_of_boxes_is_refused(folder: Path) -> None:
    convert(DataConfig(folder=str(folder / "shapes")), folder / "table", "table")
    table = {"table": str(folder / "table" / "boxes.csv"), "target": "class", "split": "split"}
    data = {**CONFIG["data"], **table, "boxes": ["left", "top", "right", "bottom"], "crowd": None}
    del data["folder"], data["crowd"]
    (folder / "net.yaml").write_text(yaml.safe_dump({**CONFIG, "data": data}))
    with pytest.raises(UsageError, match="no script reads boxes from a table") as refused:
        eject(load_config(str(folder / "net.yaml")))
    assert "cnnkit data convert CONFIG NEW_FOLDER --to coco" in str(refused.value.hint)


def test_scripts_are_sound_python(tmp_path: Path) -> None:
    """Of the shipped configs and of each format, ruff finds no name that is not defined and none that is not used."""
    write_voc(tmp_path / "VOC2007", {"train": 40, "val": 4})
    write_shapes(tmp_path / "shapes", {"train": 8, "test": 4})
    convert(DataConfig(folder=str(tmp_path / "shapes")), tmp_path / "yolo", "yolo")
    voc = load_config(str(shipped.find("detect_voc")), (f"data.folder={tmp_path / 'VOC2007'}",))
    sized = ("data.shape=null", "data.classes=null", "data.image_size=128")
    digits = load_config(str(shipped.find("detect_digits")), (f"data.folder={tmp_path / 'shapes'}", *sized))
    yolo = written(tmp_path, "yolo", augmentation=MOVING, data={"skip_corrupt": True, "image_size": 48})
    for name, loaded in {"voc": voc, "digits": digits, "yolo": yolo}.items():
        (tmp_path / f"{name}.py").write_text(eject(loaded))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E5,E7,E9,F"]
    done = subprocess.run([*command, "--line-length", "120", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
