"""Prepared TFDS sets of images with boxes, against the same boxes in Pascal VOC's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sets import store_boxes
from PIL import Image

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataProblem, describe_data_set
from cnnkit.config.known_data_sets import KNOWN_BOXES
from cnnkit.data import DataSets, load
from cnnkit.data.splits import Split
from cnnkit.tasks import task_named

NAMES = KNOWN_BOXES["voc/2007"].class_names or ()

#: Of each image: height and width, and of its objects left, top, right and bottom as VOC counts, class, difficult.
SHAPES: list[tuple[tuple[int, int], list[tuple[int, int, int, int, int, bool]]]] = [
    ((40, 60), [(1, 1, 60, 40, 3, False), (11, 6, 30, 25, 11, True)]),
    ((60, 40), []),
    ((50, 50), [(5, 20, 20, 44, 0, False)]),
    ((33, 90), [(70, 2, 88, 30, 19, False), (1, 1, 9, 9, 3, False), (40, 10, 41, 12, 3, False)]),
]


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)


def voc_example(number: int) -> tuple[Any, ...]:
    """As `tfds.object_detection.Voc` has it: VOC's numbers, which count from 1, divided by the image's sides."""
    (height, width), objects = SHAPES[number]
    boxes = [(top / height, left / width, bottom / height, right / width) for left, top, right, bottom, _, _ in objects]
    return picture(number, (height, width)), boxes, [one[4] for one in objects], [one[5] for one in objects]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    examples = [voc_example(number) for number in range(4)]
    store_boxes(folder, "voc", "2007", {"train": examples, "validation": examples[:2]}, "is_difficult", list(NAMES))
    image = picture(9, (20, 30))
    boxes = [(0.25, 0.1, 0.75, 0.5), (0.5, 0.2, 0.5, 0.4), (0.0, 0.0, 1.0, 1.0)]
    train = [(image, boxes, [79, 2, 5], [True, False, False])] * 4
    hidden = [(image, [], [], [])] * 3
    numbered = [f"class {number}" for number in range(80)]
    splits = {"train": train, "validation": train[:2], "test": hidden}
    store_boxes(folder, "coco", "2017", splits, "is_crowd", numbered)
    return folder


@pytest.fixture(autouse=True)
def prepared(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(made))


def load_boxes(**fields: Any) -> DataSets:
    return load(
        DataConfig.model_validate({"validation": 0, "image_size": [48, 64], **fields}), 0, task_named("detection")
    )


def write_voc(folder: Path) -> None:
    """The same images and boxes as files."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number, (size, objects) in enumerate(SHAPES):
        Image.fromarray(picture(number, size)).save(folder / "JPEGImages" / f"{number}.png")
        text = "".join(
            f"<object><name>{NAMES[kind]}</name><difficult>{int(hard)}</difficult><bndbox><xmin>{left}</xmin>"
            f"<ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            for left, top, right, bottom, kind, hard in objects
        )
        (folder / "Annotations" / f"{number}.xml").write_text(f"<annotation>{text}</annotation>")
    for split in ("train", "test"):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("0\n1\n2\n3\n")


def by_image(split: Split | None) -> list[list[list[float]]]:
    """The boxes of each image, in an order of their own."""
    assert split is not None
    boxes = split.labels
    return sorted(sorted(np.round(one[one[:, 4] >= 0], 3).tolist()) for one in boxes)


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("memory", ["cache", "stream"])
def test_boxes_of_voc_are_those_of_its_files(tmp_path: Path, resize: str, memory: str) -> None:
    write_voc(tmp_path)
    data = load_boxes(name="voc/2007", resize=resize, memory=memory)
    assert data.info.target.all_names == NAMES
    truth = load_boxes(folder=str(tmp_path), class_names=list(NAMES), resize=resize)
    assert data.train is not None
    assert [len(boxes) for boxes in by_image(data.train)] == [len(boxes) for boxes in by_image(truth.train)]
    for mine, theirs in zip(by_image(data.train), by_image(truth.train), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-3)
    batch = data.train.read_batch(range(4))
    assert batch["images"].shape == (4, 48, 64, 3)
    np.testing.assert_array_equal(batch["bounding_boxes"], data.train.labels)


def test_crowds_of_coco_are_marked_and_boxes_of_no_area_are_left_out() -> None:
    data = load_boxes(name="coco/2017")
    assert data.train is not None
    assert by_image(data.train) == [[[0, 0, 64, 48, 5, 0], [pytest.approx(6.4), 12, 32, 36, 79, 1]]] * 4
    assert "4 boxes have no area in `train`, and are left out" in data.notes
    # COCO keeps the objects of its test images secret.
    assert data.test is not None
    assert data.test.size == 2


def test_sets_without_boxes_and_of_several_sizes_are_refused(made: Path) -> None:
    task = task_named("detection")
    with pytest.raises(DataProblem, match="no boxes; take `voc/2007`"):
        describe_data_set(DataConfig.model_validate({"name": "mnist"}), task)
    with pytest.raises(DataProblem, match="differ in size"):
        describe_data_set(DataConfig.model_validate({"name": "voc"}), task)


def test_known_sets_are_those_of_tensorflow_datasets() -> None:
    from tensorflow_datasets.object_detection import coco, voc

    for name, known in KNOWN_BOXES.items():
        base, configuration = name.split("/")
        builder = {"coco": coco.Coco, "voc": voc.Voc}[base]
        assert configuration in builder.builder_configs
        assert known.class_names in (None, voc._VOC_LABELS)
        assert known.classes == {"coco": 80, "voc": 20}[base]
