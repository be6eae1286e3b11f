"""Tables with a row for each box: how they are written by others, and what is wrong with rows, by their lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from cnnkit.cli import cli
from cnnkit.config.boxes.listing import listing_of
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.dataset import describe_data_set
from cnnkit.data import load
from cnnkit.errors import ConfigError
from cnnkit.tasks import task_named

HEIGHT, WIDTH = 40, 60

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with six images, of which the tests write tables."""
    (tmp_path / "images").mkdir()
    for name in "abcdef":
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "images" / f"{name}.png")
    return tmp_path


def section(folder: Path, text: str, **changes: Any) -> DataConfig:
    (folder / "boxes.csv").write_text(text, "utf-8")
    fields = {"table": str(folder / "boxes.csv"), "target": "class", "boxes": ["x1", "y1", "x2", "y2"], **changes}
    return DataConfig.model_validate(fields)


def found(config: DataConfig) -> dict[str, list[tuple[Any, ...]]]:
    """For each image: class and edges of its boxes, and whether they are crowds."""
    listing = listing_of(config)
    assert listing.problems == ()
    return {
        Path(one.file).stem: [(box.name, *(round(edge, 4) for edge in box.edges), box.crowd) for box in one.boxes]
        for images in listing.splits.values()
        for one in images
    }


def refused(config: DataConfig) -> str:
    with pytest.raises(DataProblem) as error:
        listing_of(config)
    return error.value.message


HEADER = "image,x1,y1,x2,y2,class\n"
BOXES = {"a": [("dog", 10, 5, 30, 35, False), ("cat", 0, 0, 60, 40, False)], "b": []}


def test_rows_are_boxes_and_an_image_without_any_has_empty_cells(folder: Path) -> None:
    rows = "images/a.png,10,5,30,35,dog\nimages/b.png,,,,,\nimages/a.png,0,0,60,40,cat\n"
    assert found(section(folder, HEADER + rows)) == BOXES
    assert listing_of(section(folder, HEADER + rows)).class_names == ("cat", "dog")


def test_tables_of_retinanet_have_no_header(folder: Path) -> None:
    # As https://github.com/fizyr/keras-retinanet describes them.
    config = section(folder, "images/a.png,10,5,30,35,dog\nimages/a.png,0,0,60,40,cat\nimages/b.png,,,,,\n")
    assert found(config) == BOXES
    assert "has no header" in listing_of(config).notes[0]
    assert (
        found(section(folder, "images/b.png,,,,,\nimages/a.png,10,5,30,35,dog\nimages/a.png,0,0,60,40,cat\n")) == BOXES
    )


def test_columns_may_be_called_as_they_are(folder: Path) -> None:
    # As TensorFlow's object detection API and Roboflow write them; columns that are not named do not count.
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    text = f"{header}images/a.png,60,40,dog,10,5,30,35\nimages/a.png,60,40,cat,0,0,60,40\nimages/b.png,60,40,,,,,\n"
    assert found(section(folder, text, image="filename", boxes=["xmin", "ymin", "xmax", "ymax"])) == BOXES


def test_boxes_may_be_a_corner_and_sides_and_shares(folder: Path) -> None:
    columns = {"left": "x", "top": "y", "width": "w", "height": "h"}
    text = "image,x,y,w,h,class\nimages/a.png,10,5,20,30,dog\nimages/a.png,0,0,60,40,cat\nimages/b.png,,,,,\n"
    assert found(section(folder, text, boxes=columns)) == BOXES
    text = "image,x,y,w,h,class\nimages/a.png,0.5,0.25,0.25,0.5,dog\n"
    shares = found(section(folder, text, boxes={**columns, "unit": "shares"}))
    assert shares == {"a": [("dog", 30, 10, 45, 30, False)]}


def test_crowds_have_a_column(folder: Path) -> None:
    text = "image,l,t,r,b,class,hard\nimages/a.png,1,2,3,4,dog,1\nimages/a.png,1,2,9,9,dog,0\nimages/b.png,,,,,,\n"
    columns = {"left": "l", "top": "t", "right": "r", "bottom": "b", "crowd": "hard"}
    assert [box[-1] for box in found(section(folder, text, boxes=columns))["a"]] == [True, False]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("images/a.png,10,5,10,35,dog", "has a box that has no area: left, top, right, bottom are 10, 5, 10, 35"),
        ("images/a.png,50,5,70,35,dog", "has a box that lies outside of the image, which is 60 wide and 40 high"),
        ("images/a.png,10,5,30,many,dog", "has `many` in the column `y2`; expected a number"),
        ("images/a.png,10,5,30,,dog", "has an empty cell in the column `y2`; expected a number"),
        ("images/a.png,10,5,30,35,", "has a box and no class: the cell is empty"),
        ("images/b.png,,,,,dog", "has the class `dog` and no box"),
        ("images/z.png,10,5,30,35,dog", "names `images/z.png`, which is no file"),
        ("images/a.png,,,,,", "has no box of `images/a.png`; line 2 has one"),
        ("images/a.png,10,5,30", "has 4 cells; the header has 6"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_by_its_line(folder: Path, row: str, reason: str) -> None:
    message = refused(section(folder, f"{HEADER}images/a.png,0,0,60,40,cat\n{row}\n"))
    assert "1 row of" in message
    assert f"boxes.csv:3  {reason}" in message


def test_unknown_classes_are_those_that_the_config_does_not_name(folder: Path) -> None:
    config = section(folder, f"{HEADER}images/a.png,0,0,60,40,dgo\n", class_names=["dog", "cat"])
    assert "boxes.csv:2  has the unknown class `dgo`; did you mean `dog`?" in refused(config)


def test_a_row_that_is_there_twice_counts_once(folder: Path) -> None:
    config = section(folder, f"{HEADER}images/a.png,0,0,60,40,cat\nimages/a.png,0,0,60,40,cat\n")
    assert len(found(config)["a"]) == 1
    assert "1 row repeats a box or an image; each counts once" in listing_of(config).notes


def test_sides_in_the_place_of_edges_are_recognised(folder: Path) -> None:
    message = refused(section(folder, f"{HEADER}images/a.png,30,20,20,15,dog\nimages/b.png,1,2,9,9,dog\n"))
    assert "`boxes: {left: x1, top: y1, width: x2, height: y2}`" in message


def test_one_box_of_no_width_is_no_hint_at_sides(folder: Path) -> None:
    message = refused(section(folder, f"{HEADER}images/a.png,20,10,20,25,dog\nimages/b.png,1,2,9,9,dog\n"))
    assert "has no area" in message
    assert "width:" not in message


def test_a_config_without_boxes_is_not_converted(folder: Path) -> None:
    result = CliRunner().invoke(
        cli, ["data", "convert", str(CONFIGS / "digits.yaml"), str(folder / "x"), "--to", "voc"]
    )
    assert "takes the data set `digits`; `data convert` looks at folders and tables" in str(result.exception)


def test_shares_in_the_place_of_pixels_are_recognised(folder: Path) -> None:
    message = refused(section(folder, f"{HEADER}images/a.png,0.1,0.2,0.5,0.75,dog\n"))
    assert "unit: shares" in message


def test_columns_that_nothing_names_are_proposed(folder: Path) -> None:
    text = "image,class,xmin,ymin,xmax,ymax\nimages/a.png,dog,1,2,3,4\n"
    assert "add `boxes: [xmin, ymin, xmax, ymax]`" in refused(section(folder, text, boxes=None))
    text = "image,class,x,y,w,h\nimages/a.png,dog,1,2,3,4\n"
    assert "add `boxes: {left: x, top: y, width: w, height: h}`" in refused(section(folder, text, boxes=None))
    assert "its columns are `image`, `class`, `x1`" in refused(section(folder, "image,class,x1\na,b,c\n", boxes=None))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (["x1", "y1", "x2"], "expected the columns of the edges"),
        ({"left": "a", "top": "b", "right": "c"}, "needs either `bottom` and `height`"),
        ({"left": "a", "top": "b", "right": "c", "width": "d", "bottom": "e"}, "needs one of `right` and `width`"),
    ],
)
def test_columns_are_four(boxes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig.model_validate({"table": "a.csv", "target": "class", "boxes": boxes})


def test_boxes_belong_to_tables_and_to_tasks_that_learn_them(folder: Path) -> None:
    with pytest.raises(ValueError, match="`boxes` says how a `table` is read"):
        DataConfig.model_validate({"folder": "a", "boxes": ["a", "b", "c", "d"]})
    config = section(folder, f"{HEADER}images/a.png,0,0,60,40,cat\n")
    with pytest.raises(DataProblem, match="the task classification learns classes of whole images"):
        describe_data_set(config, task_named("classification"))


def test_splits_and_groups_are_columns(folder: Path) -> None:
    rows = [
        f"images/{name}.png,1,2,30,31,dog,{split},{group}"
        for name, split, group in zip("abcdef", "ttttvx", "112233", strict=True)
    ]
    words = {"t": "train", "v": "val", "x": "test"}
    text = "image,x1,y1,x2,y2,class,part,who\n" + "\n".join(rows) + "\n"
    for letter, word in words.items():
        text = text.replace(f",{letter},", f",{word},")
    torn = section(folder, text, split="part", group="who")
    listing = listing_of(section(folder, text, split="part"))
    assert {name: len(images) for name, images in listing.splits.items()} == {"train": 4, "validation": 1, "test": 1}
    assert listing_of(torn).groups["images/f.png"] == "3"
    undivided = section(folder, text, group="who", validation=0)
    data = load(undivided, 0, task_named("detection"))
    assert data.train is not None
    assert data.test is not None
    groups = [{listing_of(undivided).groups[name] for name in split.ids} for split in (data.train, data.test)]
    assert groups[0].isdisjoint(groups[1])
    changed = text.replace(",train,2", ",train,1")
    assert (
        load(section(folder, changed, group="who", validation=0), 0, task_named("detection")).fingerprint
        != data.fingerprint
    )
    both = section(folder, text + "images/a.png,9,9,20,20,dog,test,1\n", split="part")
    assert "puts `images/a.png` in the split `test`; line 2 puts it in `train`" in refused(both)


def test_a_table_is_converted_to_coco_and_back(folder: Path) -> None:
    rows = "images/a.png,10,5,30,35,dog\nimages/b.png,,,,,\nimages/a.png,0,0,60,40,cat\n"
    section(folder, HEADER + rows)
    for source, new, kind in (("boxes.csv", "coco", "coco"), ("coco", "table", "table")):
        result = CliRunner().invoke(cli, ["data", "convert", str(folder / source), str(folder / new), "--to", kind])
        assert result.exit_code == 0, result.output + str(result.exception)
    document = json.loads((folder / "coco" / "train" / "annotations.json").read_text())
    assert sorted(entry["bbox"] for entry in document["annotations"]) == [[0, 0, 60, 40], [10, 5, 20, 30]]
    assert (folder / "table" / "boxes.csv").read_text().splitlines() == [
        "image,left,top,right,bottom,class,crowd,split",
        "train/images/a.png,10,5,30,35,dog,0,train",
        "train/images/a.png,0,0,60,40,cat,0,train",
        "train/images/b.png,,,,,,,train",
    ]
    columns = {"left": "left", "top": "top", "right": "right", "bottom": "bottom", "crowd": "crowd"}
    fields = {"table": str(folder / "table" / "boxes.csv"), "target": "class", "boxes": columns, "split": "split"}
    assert found(DataConfig.model_validate(fields)) == BOXES


def test_data_info_knows_the_usual_columns(folder: Path) -> None:
    section(
        folder,
        "filename,xmin,ymin,xmax,ymax,label\n" + "".join(f"images/{name}.png,1,2,9,9,dog\n" for name in "abcdef"),
    )
    result = CliRunner().invoke(cli, ["data", "info", str(folder / "boxes.csv"), "--json"])
    assert result.exit_code == 0, result.output + str(result.exception)
    splits = json.loads(result.output)["splits"]
    assert sum(split["objects"] for split in splits.values()) == 6


def test_broken_columns_are_one_mistake(folder: Path) -> None:
    section(folder, f"{HEADER}images/a.png,0,0,60,40,cat\n")
    text = "task: detection\ndata: {table: boxes.csv, target: class, boxes: [x1, y1, x2]}\nmodel: {layers: [Flatten]}\n"
    (folder / "config.yaml").write_text(text)
    result = CliRunner().invoke(cli, ["inspect", str(folder / "config.yaml")])
    assert isinstance(result.exception, ConfigError)
    assert [problem.path for problem in result.exception.problems] == ["data.boxes"]
