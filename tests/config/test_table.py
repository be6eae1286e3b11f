"""Tables of images: what is read, whatever they are written with, and what is refused, by its lines."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import write_pictures, write_table

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, describe_data_set
from cnnkit.config.table import ImageTable, read_image_table
from cnnkit.config.target import Labels, Mask, Numbers, OneClass, Target
from cnnkit.task import Figure, Task


class Tags(Task):
    """A task that learns any number of labels of each image."""

    figures = (Figure("share", "share"),)
    target = Labels


def read(file: Path, kind: type[Target] = OneClass, **fields: Any) -> ImageTable:
    section = {"table": str(file), "target": "label", **fields}
    return read_image_table(DataConfig.model_validate(section), kind)


def refused(file: Path, kind: type[Target] = OneClass, **fields: Any) -> DataProblem:
    with pytest.raises(DataProblem) as caught:
        read(file, kind, **fields)
    return caught.value


def written(folder: Path, text: str, images: str = "ab", name: str = "t.csv") -> Path:
    """A file of a text, beside a picture for each letter."""
    write_pictures(folder, [f"{letter}.png" for letter in images])
    file = folder / name
    file.write_bytes(text.encode())
    return file


def named(table: ImageTable, split: str = "train") -> dict[str, Any]:
    """What a table says of each image: the name of its class, its labels or its numbers."""
    values = {image.file: image.value for image in table.splits[split]}
    return {file: table.names[value] if isinstance(value, int) else value for file, value in values.items()}


# --- What a file is written with ------------------------------------------------------------------------

#: Text that may stand in a cell: anything that a person types, with what files of tables make special.
CELLS = st.text(st.sampled_from("abcÄß,;\t\"\n' |=#"), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(
    classes=st.lists(CELLS, min_size=2, max_size=8),
    extra=st.lists(CELLS, min_size=8, max_size=8),
    columns=st.permutations(["image", "label", "other"]),
    delimiter=st.sampled_from(",;\t"),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mark=st.sampled_from(["", "\ufeff"]),
)
@settings(deadline=None, max_examples=60)
@example(["a", "b"], ["x"] * 8, ["label", "other", "image"], "\t", "\r\n", csv.QUOTE_ALL, "\ufeff")
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    classes: list[str],
    extra: list[str],
    columns: list[str],
    delimiter: str,
    ending: str,
    quoting: int,
    mark: str,
) -> None:
    folder = tmp_path_factory.mktemp("written")
    rows = [
        {"image": f"{place}.png", "label": name, "other": more}
        for place, (name, more) in enumerate(zip(classes, extra, strict=False))
    ]
    for row in rows:
        (folder / row["image"]).touch()
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, delimiter=delimiter, lineterminator=ending, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    file = folder / "t.csv"
    file.write_bytes((mark + stream.getvalue()).encode())
    if len(set(classes)) < 2:
        assert "at least two are needed" in refused(file).message
        return
    from cnnkit.terminal.printable import printable

    assert named(read(file)) == {row["image"]: printable(row["label"]) for row in rows}
    assert read(file).names == tuple(printable(name) for name in sorted(set(classes)))


def test_tabs_separate_the_cells_of_a_tsv_whatever_its_header_has(tmp_path: Path) -> None:
    file = written(tmp_path, "image\tlabel\tsize, in mm, of it\na.png\tx\t1\nb.png\ty\t2\n", name="t.tsv")
    assert named(read(file)) == {"a.png": "x", "b.png": "y"}


def test_blanks_around_cells_empty_lines_and_dots_in_paths_say_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, "\nimage , label\n\n./a.png , x\n\n  b.png,\ty \n")
    assert named(read(file)) == {"a.png": "x", "b.png": "y"}


def test_paths_belong_to_the_folder_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path, ["images/a.png", "b.png"])
    (tmp_path / "lists").mkdir()
    rows = [{"image": "../images/a.png", "label": "x"}, {"image": str(tmp_path / "b.png"), "label": "y"}]
    file = write_table(tmp_path / "lists/t.csv", rows)
    monkeypatch.chdir(tmp_path / "images")
    table = read(file)
    assert [(table.root / name).resolve() for name in table.files()] == [
        tmp_path / "images/a.png",
        tmp_path / "b.png",
    ]


def test_a_relative_table_belongs_to_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.config.load import load_config

    (tmp_path / "configs").mkdir()
    written(tmp_path / "configs", "image,label\na.png,x\nb.png,y\n")
    config = tmp_path / "configs/net.yaml"
    config.write_text(
        "data: {table: t.csv, target: label}\n"
        "model: {layers: [Flatten, {Dense: {units: classes, activation: softmax}}]}\n"
        "training: {epochs: 1, optimizer: Adam}\n"
    )
    monkeypatch.chdir(tmp_path)
    loaded = load_config(str(config))
    assert loaded.config.data.table == str(tmp_path / "configs/t.csv")
    assert (loaded.info.shape, loaded.info.class_names, loaded.info.source) == ((6, 5, 3), ("x", "y"), "table")


# --- Targets --------------------------------------------------------------------------------------------


def test_classes_are_sorted_as_text_and_compared_as_they_look(tmp_path: Path) -> None:
    file = written(tmp_path, "image,label\na.png,10\nb.png,9\nc.png,e\u0301\nd.png,\u00e9\n", "abcd")
    assert read(file).names == ("10", "9", "\u00e9")
    given_order = read(file, class_names=["e\u0301", "9", "10", "11"])
    assert given_order.names == ("e\u0301", "9", "10", "11")
    assert [image.value for image in given_order.splits["train"]] == [0, 0, 1, 2]
    assert given_order.notes == ("no image has `11`",)


@pytest.mark.parametrize(
    ("fields", "argument"),
    [({"target": ["cat", "dog;wolf"]}, "target"), ({"class_names": ["cat", "dog;wolf"]}, "class_names")],
)
def test_a_label_with_what_stands_between_labels_is_refused(
    tmp_path: Path, fields: dict[str, Any], argument: str
) -> None:
    problem = refused(written(tmp_path, "image,label,cat,dog;wolf\na.png,cat,1,0\nb.png,,0,1\n"), Labels, **fields)
    assert problem.argument == argument
    assert "`dog;wolf` holds `;`" in problem.message


def test_labels_of_one_cell_and_of_columns_are_the_same(tmp_path: Path) -> None:
    text = "image,label,cat,dog\na.png,dog; cat,1,1\nb.png,,0,False\nc.png,cat;,1.0,0\n"
    file = written(tmp_path, text, "abc")
    in_cells, in_columns = read(file, Labels), read(file, Labels, target=["cat", "dog"])
    assert in_cells.names == in_columns.names == ("cat", "dog")
    assert named(in_cells) == named(in_columns) == {"a.png": (1, 1), "b.png": (0, 0), "c.png": (1, 0)}


def test_numbers_are_those_of_the_columns_in_their_order(tmp_path: Path) -> None:
    file = written(tmp_path, "image,x,y\na.png,1.5,-2e3\nb.png,0,7\n")
    table = read(file, Numbers, target=["y", "x"])
    assert table.names == ("y", "x")
    assert named(table) == {"a.png": (-2000.0, 1.5), "b.png": (7.0, 0.0)}
    assert read(file, Numbers, target="x").names == ("x",)


def test_splits_have_the_names_that_folders_may_have(tmp_path: Path) -> None:
    text = "image,label,part\na.png,x,Training\nb.png,y,val\nc.png,x,TEST\nd.png,y,train\n"
    table = read(written(tmp_path, text, "abcd"), split="part")
    assert {split: [image.file for image in images] for split, images in table.splits.items()} == {
        "train": ["a.png", "d.png"],
        "validation": ["b.png"],
        "test": ["c.png"],
    }


def test_a_row_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    table = read(written(tmp_path, "image,label\na.png,x\nb.png,y\n./a.png,x\n"))
    assert named(table) == {"a.png": "x", "b.png": "y"}
    assert table.notes == ("1 row repeats an image; each counts once",)


# --- What is refused ------------------------------------------------------------------------------------


def test_everything_wrong_with_rows_is_told_at_once_by_the_lines(tmp_path: Path) -> None:
    text = (
        "image,label,part,who\n"
        "a.png,x,train,p1\n"
        "b.png,y,test,p1\n"  # 3: the group is in two splits
        "c.png,,train,p2\n"  # 4: no class
        '"no\nsuch.png",x,train,p2\n'  # 5, and 6
        "d.png,x,trian,\n"  # 7: no such split, no group
        ",x,train,p2\n"  # 8: no image
        "a.png,y,train,p1\n"  # 9: another class
        "e.png,x,train\n"  # 10: ragged
        "f,y,train,p3\n"  # 11: without its ending
    )
    problem = refused(written(tmp_path, text, "abcdef"), split="part", group="who")
    assert problem.argument == "table"
    first, *lines = problem.message.split("\n")
    assert first == f"8 rows of `{tmp_path / 't.csv'}` cannot be used:"
    assert [line.strip() for line in lines] == [
        "t.csv:3  puts the group `p1` in the test split; line 2 puts it in the train split",
        "t.csv:4  has no class: the cell is empty",
        r"t.csv:5  names `no\nsuch.png`, which is no file",
        "t.csv:7  is in the split `trian`; expected `train`, `validation` (or `val`) or `test`; has no group: the cell "
        "is empty",
        "t.csv:8  names no image: the cell is empty",
        "t.csv:9  names `a.png` again, which line 2 gives another target, split or group",
        "t.csv:10  has 3 cells; the header has 4",
        "t.csv:11  names `f`, which is no file; `f.png` is",
    ]


def test_of_very_many_wrong_rows_twenty_are_shown(tmp_path: Path) -> None:
    rows = [{"image": f"{number}.png", "label": "xy"[number % 2]} for number in range(500)]
    lines = refused(write_table(tmp_path / "t.csv", rows)).message.split("\n")
    assert len(lines) == 23
    assert lines[-3:] == [
        "  t.csv:21  names `19.png`, which is no file",
        "  ... and 480 more",
        f"  paths of images are relative to the folder of the table, `{tmp_path}`",
    ]


@pytest.mark.parametrize(
    ("kind", "target", "cells", "expected"),
    [
        (OneClass, "label", "cat,dgo", "has the unknown class `dgo`; did you mean `dog`?"),
        (Labels, "label", "cat,dog;cta", "has the unknown label `cta`; did you mean `cat`?"),
        (Labels, ["label"], "1,2", "has `2` in the column `label`; expected 0 or 1"),
        (Labels, ["label"], "1,", "has an empty cell in the column `label`; expected 0 or 1"),
        (Numbers, "label", "1,x", "has `x` in the column `label`; expected a number"),
        (Numbers, "label", "1,", "has an empty cell in the column `label`; expected a number"),
        (Numbers, "label", '1,"2,5"', "has `2,5` in the column `label`; expected a number; write a point for the"),
        (Numbers, "label", "1,nan", "has `nan` in the column `label`; expected a finite number"),
        (Numbers, "label", "1,1e39", "has `1e39` in the column `label`; expected a finite number"),
        (Numbers, "label", "1,1_000", "has `1_000` in the column `label`; expected a number"),
    ],
)
def test_cells_that_do_not_say_what_they_should(
    tmp_path: Path, kind: type[Target], target: str | list[str], cells: str, expected: str
) -> None:
    first, second = cells.split(",", 1)
    more = {} if kind is Numbers or isinstance(target, list) else {"class_names": ["cat", "dog"]}
    file = written(tmp_path, f"image,label\na.png,{first}\nb.png,{second}\n")
    assert f"t.csv:3  {expected}" in refused(file, kind, target=target, **more).message


@pytest.mark.parametrize(
    ("kind", "fields", "argument", "message"),
    [
        (OneClass, {"target": "labl"}, "target", "no column `labl` (`data.target`, did you mean `label`?)"),
        (OneClass, {"image": "path"}, "image", "no column `path` (`data.image`); its columns are `image`, `label`"),
        (OneClass, {"target": "who"}, "target", "2 columns `who` (`data.target`)"),
        (OneClass, {"split": "s", "group": "g"}, "split", "no column `s` (`data.split`) and no column `g` (`data.gr"),
        (OneClass, {"target": ["label", "image"]}, "target", "each image has one class, which is in one column; got 2"),
        (OneClass, {"target": "same"}, "target", "has only 1 class (`1`); at least two are needed"),
        (Labels, {"target": "same"}, "target", "holds only 0 and 1. A column for each label is named in a list"),
        (Labels, {"target": "pipes"}, "target", "`;` stands between the labels of a cell"),
        (Labels, {"target": "none"}, "target", "no row of the column `none` has a label"),
        (Labels, {"target": ["same"], "class_names": ["a"]}, "class_names", "each label has a column"),
        (Numbers, {"target": "same", "class_names": ["a"]}, "class_names", "numbers have no classes"),
        (Mask, {}, "table", "a table has classes, labels or numbers in its cells"),
    ],
)
def test_columns_that_cannot_be_what_the_config_says(
    tmp_path: Path, kind: type[Target], fields: dict[str, Any], argument: str, message: str
) -> None:
    text = "image,label,who,who,same,pipes,none\na.png,x,1,2,1,a|b,\nb.png,y,1,2,1,a,\n"
    problem = refused(written(tmp_path, text), kind, **fields)
    assert message in problem.message
    assert problem.argument == argument


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,label\n", "has no rows below its header"),
        (b"image,label\na.png\n", "t.csv:2  has 1 cell; the header has 2"),
        (b"image,label\na.png,caf\xe9\n", "is not UTF-8 (line 2); save it as UTF-8"),
        ("image,label\n".encode("utf-16"), "is UTF-16 (line 1); save it as UTF-8"),
        (b'image,label\na.png,x\nb.png,"y\n', "cannot be read from line 3 on: unexpected end of data"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    assert message in refused(file).message


def test_what_is_no_file_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, reason in (("pipe", "is no regular file"), ("folder", "is a folder"), ("none", "does not exist")):
        assert reason in refused(tmp_path / f"{name}.csv").message


def describe(**fields: Any) -> DataSetInfo:
    return describe_data_set(DataConfig.model_validate(fields))


def test_a_table_needs_images_to_train_on_of_every_class(tmp_path: Path) -> None:
    file = written(tmp_path, "image,label,part\na.png,x,test\nb.png,y,test\n")
    with pytest.raises(DataProblem, match=r"only images of the split `test`, and none of `train`"):
        describe(table=str(file), target="label", split="part")
    file = written(tmp_path, "image,label,part\na.png,x,train\nb.png,y,test\n")
    with pytest.raises(DataProblem, match=r"no training image has the class `y` \(line 3\)"):
        describe(table=str(file), target="label", split="part")


def test_a_network_can_be_looked_at_before_its_table_is_there(tmp_path: Path) -> None:
    file = str(tmp_path / "none.csv")
    info = describe(table=file, target="label", shape=(6, 5, 3), classes=4)
    assert info.shape == (6, 5, 3)
    assert info.classes == 4
    assert "does not exist" in str(info.missing)
    with pytest.raises(DataProblem, match=r"with `data.shape` and `data.classes`"):
        describe(table=file, target="label")


def test_labels_are_not_looked_for_in_folders(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["x/a.png", "y/b.png"])
    for section in ({"folder": str(tmp_path)}, {"name": "digits"}):
        with pytest.raises(DataProblem, match="the task learns labels of each; name a `table:`"):
            describe_data_set(DataConfig.model_validate(section), Tags())


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"table": "t.csv"}, "`table` needs `target:`"),
        ({"table": "t.csv", "folder": "f", "target": "x"}, "has both `folder` and `table`"),
        ({"folder": "f", "group": "who"}, "`group` says how a `table` is read"),
        ({"table": "t.csv", "target": []}, "expected a list of names"),
        ({"table": "t.csv", "target": ["a", "a"]}, "`a` is there twice"),
        ({"table": "t.csv", "target": 3}, "expected a list of names, got 3"),
        ({"table": "t.csv", "target": "x", "class_names": [1, 2]}, "put numbers in quotes"),
        ({}, "or `table:` (a file with a row for each image)"),
    ],
)
def test_sections_that_name_no_table_or_half_of_one(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig.model_validate(section)
    assert message in str(caught.value)


def test_slices_are_not_for_tables(tmp_path: Path) -> None:
    file = written(tmp_path, "image,label\na.png,x\nb.png,y\n")
    with pytest.raises(DataProblem, match=r"a table has a column for them \(`split:`\)"):
        describe(table=str(file), target="label", splits={"train": "train[:90%]"})
