"""Annotated images in every format: the same boxes, and what is wrong with files, by name and id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from cnnkit.cli import cli
from cnnkit.config.boxes.listing import list_boxes, listing_of
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.dataset import describe_data_set
from cnnkit.errors import UsageError
from cnnkit.tasks import task_named

HEIGHT, WIDTH = 40, 60


def image(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)
    return path


def coco(folder: Path, annotations: list[dict[str, Any]], **changes: Any) -> Path:
    """A folder with two images, `a.png` and `b.png`; categories have gaps in their ids, the first is 0."""
    for name in ("a", "b"):
        image(folder / "train" / "images" / f"{name}.png")
    document = {
        "images": [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}, {"id": 9, "file_name": "b.png"}],
        "categories": [{"id": 0, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": annotations,
        **changes,
    }
    (folder / "train" / "annotations.json").write_text(json.dumps(document))
    return folder


def box(number: int = 1, bbox: Any = (10, 5, 20, 30), **changes: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 7, "category_id": 5, "bbox": list(bbox), **changes}


def problems(folder: Path) -> list[str]:
    return [problem.message for problem in list_boxes(folder, None, 200).problems]


def found(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """For each image of the training split: class and edges of its boxes, and whether they are crowds."""
    listing = list_boxes(folder, None, 200)
    assert listing.problems == ()
    images = listing.splits["train"]
    return {
        Path(one.file).stem: sorted(
            (each.name, *(round(edge, 4) for edge in each.edges), each.crowd) for each in one.boxes
        )
        for one in images
    }


def test_coco_with_gaps_and_without_iscrowd(tmp_path: Path) -> None:
    folder = coco(tmp_path, [box(), box(2, (0, 0, 60, 40), category_id=0), box(3, (1, 2, 3, 4), iscrowd=1)])
    listing = list_boxes(folder, None, 200)
    assert listing.class_names == ("cat", "dog")
    # The second image has no objects, which is fine, and its size is that of the file.
    assert [one.size for one in listing.splits["train"]] == [(HEIGHT, WIDTH)] * 2
    assert found(folder) == {
        "a": [("cat", 0, 0, 60, 40, False), ("dog", 1, 2, 4, 6, True), ("dog", 10, 5, 30, 35, False)],
        "b": [],
    }


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (box(3, (10, 5, 0, 30)), "annotation 3 of the image `train/images/a.png` has no area"),
        (box(3, (50, 5, 20, 30)), "annotation 3 of the image `train/images/a.png` lies outside of the image"),
        (box(3, (-5, 5, 20, 30)), "annotation 3 .* lies outside of the image, which is 60 wide and 40 high"),
        (box(3, image_id=8), "annotation 3 belongs to the image 8, which is not in `images`"),
        (box(3, category_id=1), "annotation 3 is of the category 1, which is not in `categories`"),
        (box(3, image_id="7"), "annotation 3 belongs to the image '7', which is not in `images`"),
        (box(3, image_id=[1]), r"annotation 3 should have a number or text as its `image_id`, got \[1\]"),
        (box(3, category_id={"a": 1}), "annotation 3 should have a number or text as its `category_id`, got {'a': 1}"),
        (box([1]), r"annotation \[1\] should have a number or text as its `id`, got \[1\]"),  # type: ignore[arg-type]
        (box(3, (10**400, 1, 2, 2)), "annotation 3 should have a `bbox` of four numbers .* each below 1e9, got .10000"),
        (box(3, iscrowd="0"), "annotation 3 should have an `iscrowd` of 0 or 1, got '0'"),
        (box(3, iscrowd=2), "annotation 3 should have an `iscrowd` of 0 or 1, got 2"),
        (box(3, (1, 2, 3)), r"annotation 3 should have a `bbox` of four numbers .* got \[1, 2, 3\]"),
        (box(1), "annotation 1 has the id of another annotation"),
    ],
)
def test_what_is_wrong_with_an_annotation_is_said_by_file_and_id(
    tmp_path: Path, annotation: dict[str, Any], message: str
) -> None:
    import re

    (problem,) = problems(coco(tmp_path, [box(), annotation]))
    assert "train/annotations.json`" in problem
    assert re.search(message, problem), problem


@pytest.mark.parametrize(("value", "expected"), [(0, False), (False, False), (None, False), (1, True), (True, True)])
def test_a_crowd_is_said_by_a_number_or_a_boolean(tmp_path: Path, value: Any, expected: bool) -> None:
    assert found(coco(tmp_path, [box(iscrowd=value)]))["a"] == [("dog", 10, 5, 30, 35, expected)]


def test_an_image_that_is_listed_twice_is_named(tmp_path: Path) -> None:
    named = {7: "a.png", 8: "images/a.png"}
    images = [*({"id": number, "file_name": name} for number, name in named.items()), {"id": [9], "file_name": "b"}]
    said = problems(coco(tmp_path, [box(), box(2, image_id=8)], images=images))
    assert "an image needs an `id`, a number or text, and a `file_name`, got {'id': [9], 'file_name': 'b'}" in said[0]
    assert "the images with the ids 7 and 8 are the same file, `train/images/a.png`; keep one" in said[1]
    assert len(said) == 2


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_a_box_that_is_there_twice_counts_once(tmp_path: Path, kind: str) -> None:
    if kind == "coco":
        # Another class and a crowd are no repetition.
        others = [box(2), box(3, iscrowd=1), box(4, category_id=0), box(5), box(6, (0, 0, 5, 5))]
        listing = list_boxes(coco(tmp_path, [box(), *others]), None, 200)
        expected, repeated = 4, "2 boxes repeat another; each counts once"
    elif kind == "voc":
        objects = [voc_object(name, 1, 1, 5, 5) for name in ("dog", "dog", "cat")]
        listing = list_boxes(voc(tmp_path, "".join(objects)), None, 200)
        expected, repeated = 2, "1 box repeats another; each counts once"
    else:
        listing = list_boxes(yolo(tmp_path, "1 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n1 .5 .50 0.1 0.1\n"), None, 200)
        expected, repeated = 2, "1 box repeats another; each counts once"
    assert listing.problems == ()
    assert sum(len(one.boxes) for one in listing.splits["train"]) == expected
    assert listing.notes[1:] == (repeated,)


def test_edges_in_the_place_of_width_and_height_are_recognised(tmp_path: Path) -> None:
    folder = coco(tmp_path, [box(1, (30, 20, 50, 35)), box(2, (40, 10, 55, 30))])
    assert "none would as [left, top, right, bottom]" in problems(folder)[0]


def test_rounded_edges_are_cut_off_at_the_image(tmp_path: Path) -> None:
    folder = coco(tmp_path, [box(1, (-0.4, 0, 60.9, 40))])
    assert found(folder)["a"] == [("dog", 0, 0, 60, 40, False)]


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = coco(tmp_path, [])
    (folder / "train" / "images" / "a.png").unlink()
    assert "the image `a.png` (id 7) is not there" in problems(folder)[0]


def voc(folder: Path, objects: str, name: str = "a") -> Path:
    image(folder / "JPEGImages" / f"{name}.png")
    (folder / "Annotations").mkdir(exist_ok=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>"
    (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (folder / "ImageSets" / "Main" / "train.txt").write_text(f"{name}\n")
    return folder


def voc_object(name: str, *edges: float, difficult: int = 0) -> str:
    tags = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{tags}</bndbox></object>"


def test_voc_counts_from_one_and_its_last_pixel_is_inside(tmp_path: Path) -> None:
    whole = voc_object("dog", 1, 1, WIDTH, HEIGHT)
    folder = voc(tmp_path, whole + voc_object("cat", 11, 6, 11, 6) + voc_object("dog", 2, 3, 4, 5, difficult=1))
    assert found(folder)["a"] == [("cat", 10, 5, 11, 6, False), ("dog", 0, 0, 60, 40, False), ("dog", 1, 2, 4, 5, True)]
    assert list_boxes(folder, None, 200).class_names == ("cat", "dog")


def test_classes_of_voc_are_sorted_whichever_splits_they_are_in(tmp_path: Path) -> None:
    voc(tmp_path, voc_object("dog", 1, 1, 5, 5), "a")
    voc(tmp_path, voc_object("cat", 1, 1, 5, 5), "b")
    for split, name in (("train", "a"), ("test", "b")):
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{name}\n")
    assert list_boxes(tmp_path, None, 200).class_names == ("cat", "dog")


def test_voc_names_file_and_object(tmp_path: Path) -> None:
    (problem,) = problems(voc(tmp_path, voc_object("dog", 1, 1, 5, 5) + voc_object("dog", 30, 5, 20, 9)))
    assert "Annotations/a.xml`: object 2 (`dog`) of the image `JPEGImages/a.png` has no area" in problem


def yolo(folder: Path, lines: str) -> Path:
    for name in ("a", "b"):
        image(folder / "images" / "train" / f"{name}.png")
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text(lines)
    (folder / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
    return folder


def test_yolo_has_shares_of_the_image(tmp_path: Path) -> None:
    folder = yolo(tmp_path, "1 0.5 0.5 1 1\n0 0.25 0.5 0.1 0.25\n")
    assert found(folder) == {"a": [("cat", 12, 15, 18, 25, False), ("dog", 0, 0, 60, 40, False)], "b": []}


def test_yolos_splits_may_have_a_year_in_their_names(tmp_path: Path) -> None:
    """As in COCO's own set in this format; else what is to be tested on would be learned from."""
    folder = yolo(tmp_path, "1 0.5 0.5 1 1\n")
    for kind in ("images", "labels"):
        (folder / kind / "train").rename(folder / kind / "train2017")
    image(folder / "images" / "val2017" / "c.png")
    (folder / "labels" / "val2017").mkdir()
    listing = list_boxes(folder, None, 200)
    assert {split: [one.file for one in images] for split, images in listing.splits.items()} == {
        "train": ["images/train2017/a.png", "images/train2017/b.png"],
        "validation": ["images/val2017/c.png"],
    }
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir()
    with pytest.raises(DataProblem, match="two folders for the train split"):
        list_boxes(folder, None, 200)


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_hidden_files_are_no_annotations(tmp_path: Path, kind: str) -> None:
    """macOS writes such beside each file on disks of other systems."""
    if kind == "yolo":
        folder = yolo(tmp_path, "1 0.5 0.5 1 1\n")
        (folder / "labels" / "train" / "._a.txt").write_bytes(b"\0\5\26\7")
    else:
        folder = tmp_path
        image(folder / "a.png")
        (folder / "a.xml").write_text(f"<annotation>{voc_object('dog', 1, 1, WIDTH, HEIGHT)}</annotation>")
        (folder / "._a.xml").write_bytes(b"\0\5\26\7")
    assert found(folder)["a"] == [("dog", 0, 0, 60, 40, False)]


def test_capitals_in_the_ending_of_yolos_files_are_told(tmp_path: Path) -> None:
    """Else their images would have no objects."""
    folder = yolo(tmp_path, "1 0.5 0.5 1 1\n")
    (folder / "labels" / "train" / "a.txt").rename(folder / "labels" / "train" / "a.TXT")
    (problem,) = problems(folder)
    assert "labels/train/a.TXT`: is not read" in problem


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1 0.5 0.5 1 1\n2 0.5 0.5 1 1\n", "line 2 is of class 2; there are 0 to 1"),
        ("0 30 20 10 10\n", "line 1 has 0 30 20 10 10; expected shares of the image"),
        ("0 0.5 0.5 1\n", "line 1 should have a class and four numbers"),
        ("0 0.9 0.5 0.5 0.1\n", "line 1 of the image `images/train/a.png` lies outside"),
    ],
)
def test_yolo_names_file_and_line(tmp_path: Path, lines: str, message: str) -> None:
    (problem,) = problems(yolo(tmp_path, lines))
    assert "labels/train/a.txt`" in problem
    assert message in problem


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{a: red, 1: blue}", "a mapping from the numbers 0, 1, 2, ..., got {'a': 'red', 1: 'blue'}"),
        ("{0: red, true: blue}", "got {0: 'red', True: 'blue'}"),
        ("{0: red, 2: blue}", "got {0: 'red', 2: 'blue'}"),
        ("{0: red, 1: null}", "should have a text as the name of class 1, got None"),
        ("[yes, no]", "should have a text as the name of class 0, got True; write it in quotes"),
        ("[red, [blue]]", "should have a text as the name of class 1, got ['blue']"),
        ("[red, 2020-13-45]", "is not YAML: month must be in 1..12"),
    ],
)
def test_yolos_classes_have_numbers_and_names(tmp_path: Path, names: str, message: str) -> None:
    folder = yolo(tmp_path, "")
    (folder / "data.yaml").write_text(f"names: {names}\n")
    with pytest.raises(DataProblem) as refused:
        list_boxes(folder, None, 200)
    assert message in refused.value.message


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_images_of_one_name_are_told_apart_or_refused(tmp_path: Path, kind: str) -> None:
    if kind == "yolo":
        folder, images = yolo(tmp_path, "0 0.5 0.5 0.1 0.1\n"), "images/train"
    else:
        folder, images = voc(tmp_path, voc_object("dog", 1, 1, 5, 5)), "JPEGImages"
    image(folder / images / "a.jpg")
    # Of no list, and so of no split.
    image(folder / images / "other.jpg")
    if kind == "voc":
        image(folder / images / "other.png")
    (problem,) = problems(folder)
    assert problem.startswith(f"`{folder / images / 'a.png'}`: has the same annotations as `a.jpg`")


def test_a_folder_in_no_format_says_what_is_expected(tmp_path: Path) -> None:
    image(tmp_path / "cats" / "a.png")
    with pytest.raises(DataProblem, match=r"holds no annotated images; expected .*`annotations.json`"):
        list_boxes(tmp_path, None, 200)


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_converted_boxes_are_the_same(tmp_path: Path, kind: str) -> None:
    annotations = [box(), box(2, (0, 0, 60, 40), category_id=0), box(3, (1.25, 2.5, 3.5, 4.75))]
    source = coco(tmp_path / "source", annotations)
    result = CliRunner().invoke(cli, ["data", "convert", str(source), str(tmp_path / "new"), "--to", kind])
    assert result.exit_code == 0, result.output
    assert "2 images, 3 boxes" in result.output
    assert found(tmp_path / "new") == found(source)
    again = CliRunner().invoke(cli, ["data", "convert", str(source), str(tmp_path / "new"), "--to", kind])
    assert isinstance(again.exception, UsageError)
    assert "is there already" in str(again.exception)


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo", "table"])
def test_images_of_one_name_are_converted_each_with_its_own_boxes(tmp_path: Path, kind: str) -> None:
    """Files that differ in the ending or the folder, and one that is called as two of them would be together."""
    files = ["a.png", "a.jpg", "x/a.png", "x_a.png", "images_a.png"]
    source = coco(tmp_path / "source", [])
    for place, file in enumerate(files):
        image(source / "train" / "images" / file, (WIDTH + place, HEIGHT))
    document = {
        "images": [{"id": place, "file_name": file} for place, file in enumerate(files)],
        "annotations": [box(place, (place, 2, 20, 30), image_id=place) for place in range(len(files))],
        "categories": [{"id": 5, "name": "dog"}],
    }
    (source / "train" / "annotations.json").write_text(json.dumps(document))
    CliRunner().invoke(cli, ["data", "convert", str(source), str(tmp_path / "new"), "--to", kind])
    section: dict[str, Any] = {"folder": str(tmp_path / "new")}
    if kind == "table":
        boxes = ["left", "top", "right", "bottom"]
        section = {"table": str(tmp_path / "new" / "boxes.csv"), "target": "class", "boxes": boxes, "split": "split"}
    listing = listing_of(DataConfig.model_validate(section))
    assert listing.problems == ()
    # The width of a file says which it was, and its box begins where it did.
    found = {one.size[1] - WIDTH: [round(each.left, 3) for each in one.boxes] for one in listing.splits["train"]}
    assert found == {place: [place] for place in range(len(files))}


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_crowds_are_kept_where_the_format_has_them(tmp_path: Path, kind: str) -> None:
    source = coco(tmp_path / "source", [box(iscrowd=1)])
    CliRunner().invoke(cli, ["data", "convert", str(source), str(tmp_path / "new"), "--to", kind])
    assert found(tmp_path / "new")["a"] == found(source)["a"] == [("dog", 10, 5, 30, 35, True)]


def test_yolo_has_no_crowds(tmp_path: Path) -> None:
    source = coco(tmp_path / "source", [box(), box(2, iscrowd=1)])
    result = CliRunner().invoke(cli, ["data", "convert", str(source), str(tmp_path / "new"), "--to", "yolo"])
    assert "1 boxes of crowds were left out" in result.output
    assert len(found(tmp_path / "new")["a"]) == 1


def test_what_has_no_boxes_is_refused_with_what_has() -> None:
    with pytest.raises(DataProblem, match=r"give a .*folder"):
        describe_data_set(DataConfig.model_validate({"name": "mnist"}), task_named("detection"))
