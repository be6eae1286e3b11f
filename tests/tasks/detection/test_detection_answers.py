"""What a network says as boxes: in the pixels of the file, as table, CSV, JSON and COCO."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.images.colours import COLOURS, rgb
from cnnkit.runs import predicting
from cnnkit.runs.interface import Interface
from cnnkit.tasks import task_named
from cnnkit.tasks.detection.answers import BoxAnswers

#: The network takes 32x48; places are 4 pixels apart.
ROWS, COLUMNS = 8, 12


def answers_of(resize: str = "stretch", **concluded: Any) -> BoxAnswers:
    interface = Interface((32, 48, 3), ("cat", "dog"), "logits", resize, concluded=concluded)
    answers = task_named("detection").answers(interface)
    assert isinstance(answers, BoxAnswers)
    return answers


def outputs(*boxes: tuple[int, float, float, float, float, float]) -> np.ndarray:
    """Outputs for an image that say boxes: the class, a score, and left, top, right, bottom in pixels."""
    values = np.full((1, ROWS, COLUMNS, 6), -9.0, np.float32)
    for kind, score, left, top, right, bottom in boxes:
        x, y = (left + right) / 8, (top + bottom) / 8
        place = values[0, int(y), int(x)]
        place[kind] = np.log(score / (1 - score))
        place[2:] = x - int(x), y - int(y), (right - left) / 4, (bottom - top) / 4
    return values


TWO = outputs((0, 0.9, 4, 8, 20, 24), (1, 0.4, 30, 2, 46, 10))


def predicted(
    answers: BoxAnswers, file: Path, said: np.ndarray = TWO, pictures: Any = None
) -> list[predicting.Prediction]:
    interface = Interface((32, 48, 3), answers.class_names, "logits", answers.resize)
    network = lambda images: np.repeat(said, len(images), axis=0)  # noqa: E731
    return predicting.predict_images(
        network, [file], interface=interface, answers=answers, batch_size=4, pictures=pictures
    )


def test_boxes_are_in_the_pixels_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    Image.new("RGB", (96, 128)).save(file)
    (entry,) = json.loads(predicting.as_json(predicted(answers_of(), file)))
    assert (entry["width"], entry["height"]) == (96, 128)
    # Twice as wide, four times as high.
    assert entry["boxes"][0] == {"class": "cat", "score": 0.9, "left": 8, "top": 32, "right": 40, "bottom": 96}
    assert entry["boxes"][1]["class"] == "dog"


def test_a_border_of_resizing_is_taken_off(tmp_path: Path) -> None:
    """A square becomes 32x32 between borders of 8 columns."""
    file = tmp_path / "square.png"
    Image.new("RGB", (64, 64)).save(file)
    (entry,) = json.loads(predicting.as_json(predicted(answers_of("pad"), file)))
    box = entry["boxes"][0]
    assert [box[name] for name in ("left", "top", "right", "bottom")] == pytest.approx([0, 16, 24, 48], abs=0.01)


def test_boxes_that_lie_wholly_in_a_border_are_not_in_the_file(tmp_path: Path) -> None:
    """A square fills the columns 8 to 40 of 48; one box ends where it begins, and one begins just before it ends."""
    file = tmp_path / "square.png"
    Image.new("RGB", (32, 32)).save(file)
    said = outputs(
        (0, 0.9, 0, 8, 8, 24), (1, 0.8, 12, 4, 20, 12), (0, 0.7, 39.998, 8, 47, 24), (1, 0.6, 36, 20, 46, 30)
    )
    answered = predicted(answers_of("pad"), file, said)
    (entry,) = json.loads(predicting.as_json(answered))
    places = [[box["class"], *(box[name] for name in ("left", "top", "right", "bottom"))] for box in entry["boxes"]]
    assert places == [["dog", 4, 4, 12, 12], ["dog", 28, 20, 32, 30]]
    assert answered[0].answer is not None
    assert answered[0].answer.cells(5)[0] == "2"


@pytest.mark.parametrize(("side", "enlarged"), [(64, 6), (1600, 1)])
def test_pictures_are_the_file_with_boxes_where_they_are_in_it(tmp_path: Path, side: int, enlarged: int) -> None:
    """Whatever border the network's image has; on a large file, a line is as thick as can be seen."""
    file, drawn = tmp_path / "square.png", tmp_path / "drawn.png"
    grey = np.full((side, side, 3), 90, np.uint8)
    Image.fromarray(grey).save(file)
    answers = answers_of("pad")
    (prediction,) = predicted(answers, file, pictures=[[drawn]])
    assert prediction.answer is not None
    assert prediction.pictures == (drawn,)
    picture = np.asarray(Image.open(drawn)).astype(int)
    assert picture.shape == (side * enlarged, side * enlarged, 3)
    assert (picture[[0, -1, -1], [-1, 0, -1]] == 90).all()
    (box, _) = prediction.answer.entry()["boxes"]
    colour = rgb(COLOURS[0])
    left, right, bottom = (round(box[name] * enlarged) for name in ("left", "right", "bottom"))
    assert (picture[bottom - 1, left:right] == colour).all()
    is_line = (picture[: bottom + 20, (left + right) // 2] == colour).all(axis=-1)
    assert is_line[bottom - 12 : bottom + 12].sum() == (2 if side < 768 else 4)


def test_csv_has_a_row_for_each_box_and_one_for_an_image_without(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (48, 32)).save(file)
    answers = answers_of()
    rows = list(csv.DictReader(io.StringIO(predicting.as_csv(predicted(answers, file), answers))))
    assert [(row["class"], row["score"], row["left"], row["bottom"]) for row in rows] == [
        ("cat", "0.9", "4", "24"),
        ("dog", "0.4", "30", "10"),
    ]
    (row,) = csv.DictReader(io.StringIO(predicting.as_csv(predicted(answers, file, outputs()), answers)))
    assert (row["file"], row["class"], row["left"]) == (str(file), "", "")


def test_the_threshold_is_the_chosen_one_or_the_users() -> None:
    assert [len(answers.read(TWO)[0].found.scores) for answers in
            (answers_of(), answers_of(threshold=0.5), answers_of(threshold=0.5).above(0.95))] == [2, 1, 0]  # fmt: skip


def test_coco_reads_what_is_written_for_it(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    file = tmp_path / "a.png"
    Image.new("RGB", (96, 64)).save(file)
    answers = answers_of()
    (tmp_path / "said.json").write_text(predicting.as_coco(predicted(answers, file), answers))
    read = coco.COCO(str(tmp_path / "said.json"))
    (image,) = read.loadImgs(read.getImgIds())
    assert (image["file_name"], image["height"], image["width"]) == (str(file), 64, 96)
    names = {one["id"]: one["name"] for one in read.loadCats(read.getCatIds())}
    said = [(names[one["category_id"]], one["bbox"], one["score"]) for one in read.loadAnns(read.getAnnIds())]
    assert said == [("cat", [8, 16, 32, 32], 0.9), ("dog", [60, 4, 32, 16], 0.4)]


def test_networks_without_boxes_have_no_threshold_and_no_coco() -> None:
    digits = task_named("classification").answers(Interface((8, 8, 1), ("a", "b"), "softmax"))
    with pytest.raises(UsageError, match="a threshold is for objects"):
        digits.above(0.5)
    with pytest.raises(UsageError, match="--coco"):
        digits.as_coco([])


def test_outputs_that_are_no_boxes_are_refused() -> None:
    with pytest.raises(CnnkitError, match="2 classes and 4 numbers for each place"):
        answers_of().read(np.zeros((1, 8, 12, 5)))
    with pytest.raises(CnnkitError, match="NaN"):
        answers_of().read(np.full((1, 8, 12, 6), np.nan))


def test_pages_get_boxes_and_true_ones() -> None:
    answers = answers_of()
    target = np.array([[4, 8, 20, 24, 0, 0], [0, 0, 9, 9, 1, 1], [0, 0, 0, 0, -1, 0]], np.float32)
    guess = answers.guess(TWO[0], target)
    assert [box["class"] for box in guess["boxes"]] == ["cat", "dog"]
    # Neither crowds nor what fills up.
    assert [(box["class"], box["right"]) for box in guess["truth"]] == [("cat", 20)]
    moved = outputs((0, 0.8, 4, 8, 20, 24), (1, 0.5, 30, 2, 46, 10))
    assert answers.same(TWO, moved).tolist() == [True]
    assert answers.same(TWO, outputs((0, 0.9, 4, 8, 20, 24))).tolist() == [False]
