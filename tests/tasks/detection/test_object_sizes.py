"""How large objects are: in `inspect` against the receptive field, and in `data info`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from shapes import CONFIG, write_shapes

from cnnkit.cli import cli
from cnnkit.config.data import DataConfig
from cnnkit.config.load import load_config
from cnnkit.data import load
from cnnkit.data.labelled import labelled_boxes
from cnnkit.errors import CnnkitError
from cnnkit.tasks.detection import Detection
from cnnkit.tasks.detection.evaluation import evaluate


def said(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten training images of 64x32 (height x width) and a config that stretches them to 32x32."""
    boxes = [(0, 0, 8, 16), (2, 2, 20, 50), (10, 10, 9, 12)]  # left, top, width, height
    for split, count in (("train", 10), ("test", 2)):
        (tmp_path / "boxes" / split / "images").mkdir(parents=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            Image.new("L", (32, 64)).save(tmp_path / "boxes" / split / "images" / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 32})
            for box in boxes if number else []:
                annotations.append({"id": len(annotations), "image_id": number, "category_id": 1, "bbox": box})
        annotations.append({"id": 99, "image_id": 0, "category_id": 2, "bbox": [0, 0, 32, 64], "iscrowd": 1})
        categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "boxes" / split / "annotations.json").write_text(json.dumps(document))
    config = {**CONFIG, "data": {**CONFIG["data"], "folder": "boxes", "image_size": [32, 32], "validation": 0}}
    (tmp_path / "detect.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_inspect_holds_objects_against_the_receptive_field(folder: Path) -> None:
    # Two convolutions of 3 with strides of 2, then one of 5: 3 + 2 * 2 + 4 * 4 = 23. Heights are halved.
    table = said("inspect", folder / "detect.yaml")
    assert "receptive field  23x23 of 32x32\n" in table
    assert "objects          8x9 (median) to 25x20: 9 of 27 (33.3%) are larger than the receptive field\n" in table
    facts = json.loads(said("inspect", folder / "detect.yaml", "--json"))["objects"]
    assert facts == {"count": 27, "median": [8, 9], "largest": [25, 20], "beyond_receptive_field": 9}
    wider = said("inspect", folder / "detect.yaml", "--set", "model.layers.2.Conv2D.kernel_size=7")
    assert "8x9 (median) to 25x20: the receptive field holds all of them" in wider


def test_data_info_counts_and_measures(folder: Path) -> None:
    train = json.loads(said("data", "info", folder / "detect.yaml", "--json"))["splits"]["train"]
    assert (train["objects"], train["crowds"], train["without_objects"]) == (27, 1, 0)
    assert train["images_with_class"] == {"square": 9, "disc": 0}
    assert train["median_size"] == {"width": 9, "height": 8}
    assert train["share_of_image"]["height"]["largest"] == pytest.approx(50 / 64, abs=1e-3)
    assert train["share_of_image"]["width"]["smallest"] == pytest.approx(8 / 32, abs=1e-3)
    assert train["in_the_same_place"] == 0


def test_a_folder_of_boxes_is_known_without_a_config(folder: Path) -> None:
    summary = json.loads(said("data", "info", folder / "boxes", "--json"))
    assert summary["class_names"] == ["square", "disc"]
    assert summary["splits"]["train"]["share_of_image"]["width"]["largest"] == pytest.approx(20 / 32, abs=1e-3)


def test_what_is_wrong_with_a_box_is_said_with_file_and_id(folder: Path) -> None:
    file = folder / "boxes" / "train" / "annotations.json"
    document = json.loads(file.read_text())
    document["annotations"][3]["bbox"] = [30, 0, 20, 9]
    file.write_text(json.dumps(document))
    result = CliRunner().invoke(cli, ["data", "info", str(folder / "boxes")])
    assert "annotation 3 of the image `train/images/2.png` lies outside of the image" in str(result.exception)


@pytest.mark.parametrize("mistake", [{"iscrowd": "0"}, {"category_id": 7}, {"bbox": [0, 0, 0, 0]}])
def test_what_is_wrong_with_all_boxes_is_not_hidden_by_what_it_leaves(folder: Path, mistake: dict[str, Any]) -> None:
    for split in ("train", "test"):
        file = folder / "boxes" / split / "annotations.json"
        document = json.loads(file.read_text())
        document["annotations"] = [{**one, **mistake} for one in document["annotations"]]
        file.write_text(json.dumps(document))
    result = CliRunner().invoke(cli, ["data", "info", str(folder / "detect.yaml")])
    assert "32 images or boxes cannot be used" in str(result.exception)


def test_objects_of_unknown_classes_are_named_where_no_image_is_left(folder: Path) -> None:
    config = DataConfig.model_validate({"folder": "anything"})
    for memory_bytes in (None, 0):
        with pytest.raises(CnnkitError, match=r"classes that are not among the names: `disc`"):
            labelled_boxes(
                str(folder / "boxes"), config, class_names=["cat"], shape=(32, 32, 1), memory_bytes=memory_bytes
            )


def test_a_config_whose_classes_no_image_has_says_so(folder: Path) -> None:
    for split in ("train", "test"):
        file = folder / "boxes" / split / "annotations.json"
        document = json.loads(file.read_text())
        document["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cow"}]
        file.write_text(json.dumps(document))
    result = CliRunner().invoke(cli, ["inspect", str(folder / "detect.yaml"), "--set", "data.class_names=[disc]"])
    said = str(result.exception)
    assert "can be learned from: " in said
    assert "has objects of classes that are not among the names: `cow` (the first of 12 mistakes)" in said


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_splits_in_which_nothing_counts_are_refused_before_training(tmp_path: Path, split: str) -> None:
    """Crowds alone are nothing that could be found or missed; `data info` shows them all the same."""
    write_shapes(tmp_path / "shapes", {"train": 8, "val": 8, "test": 8})
    file = tmp_path / "shapes" / split / "annotations.json"
    document = json.loads(file.read_text())
    document["annotations"] = [{**one, "iscrowd": 1} for one in document["annotations"]]
    file.write_text(json.dumps(document))
    (tmp_path / "detect.yaml").write_text(yaml.safe_dump(CONFIG))
    message = {
        "train": "no training image has an object that counts",
        "val": "none of the 8 validation images has an object that counts, so that nothing can be measured on them",
        "test": "none of the 8 test images has an object that counts, so that nothing can be measured on them",
    }[split]
    config, task = load_config(str(tmp_path / "detect.yaml")).config, Detection()
    with pytest.raises(CnnkitError, match=message):
        load(config.data, 0, task, splits=("train", "validation"))
    result = CliRunner().invoke(cli, ["data", "check", str(tmp_path / "detect.yaml")])
    assert message in result.output
    if split != "train":
        images = load(config.data, 0, task, splits=("validation", "test"))
        measured = images.validation if split == "val" else images.test
        assert measured is not None
        # Without a network: it would have nothing to say.
        with pytest.raises(CnnkitError, match=message):
            evaluate(task.settings, [SimpleNamespace()], measured)  # type: ignore[list-item]
        assert json.loads(said("data", "info", tmp_path / "detect.yaml", "--json"))["splits"]["train"]["objects"]


def test_a_folder_of_classes_with_a_file_of_json_is_not_taken_for_boxes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (8, 8), number).save(tmp_path / "train" / name / f"{number}.png")
    (tmp_path / "train" / "annotations.json").write_text('{"made": "by hand"}')
    assert json.loads(said("data", "info", tmp_path, "--json"))["class_names"] == ["cat", "dog"]


def test_data_check_names_every_wrong_box(folder: Path) -> None:
    file = folder / "boxes" / "train" / "annotations.json"
    document = json.loads(file.read_text())
    document["annotations"][3]["bbox"] = [30, 0, 20, 9]
    document["annotations"][6]["bbox"] = [3, 3, 0, 9]
    file.write_text(json.dumps(document))
    result = CliRunner().invoke(cli, ["data", "check", str(folder / "boxes"), "--json"])
    assert result.exit_code == 1
    (finding,) = [one for one in json.loads(result.output)["findings"] if one["kind"] == "boxes"]
    assert finding["message"] == "2 mistakes in boxes or annotations"
    said = finding["files"]["train/annotations.json"]
    assert "annotation 3 of the image `train/images/2.png` lies outside" in said
    assert "annotation 6 of the image `train/images/3.png` has no area" in said
