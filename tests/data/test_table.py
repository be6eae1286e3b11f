"""Images of a table: the same as those of class folders, in whole groups, and with labels or numbers."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damages import run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import write_classes, write_pictures, write_table
from trainings import config, run_training, weights
from trainings import rows as metrics

from cnnkit.config.data import DataConfig
from cnnkit.config.target import Labels, Numbers
from cnnkit.data import DataSets, load
from cnnkit.data.catalog import data_set_summary
from cnnkit.data.check import check_folder
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import EvaluationOptions, evaluate_run
from cnnkit.runs.trained import open_run
from cnnkit.task import Figure, Task

SPLITS = ("train", "validation", "test")


class Tags(Task):
    """A task that learns any number of labels of each image."""

    figures = (Figure("share", "share"),)
    target = Labels


class Amounts(Task):
    """A task that learns numbers of each image."""

    figures = (Figure("error", "error", larger_is_better=False),)
    target = Numbers


def data(section: dict[str, Any], task: Task | None = None, seed: int = 0) -> DataSets:
    return load(DataConfig.model_validate(section), seed, task)


@pytest.mark.parametrize("memory", ["cache", "stream"])
@pytest.mark.parametrize("parts", [("",), ("train/", "test/"), ("train/", "val/", "test/")])
def test_a_table_gives_what_class_folders_give(tmp_path: Path, parts: tuple[str, ...], memory: str) -> None:
    rows = []
    for part in parts:
        found = write_classes(tmp_path / part, {"dog": 12, "cat": 17, "Éclair": 11})
        split = {"split": part[:-1]} if part else {}
        rows += [{**row, "image": part + row["image"], **split, "width": 5} for row in found]
    write_table(tmp_path / "images.csv", rows)
    same = {"memory": memory, "validation": 0.2}
    folder = data({"folder": str(tmp_path), **same}, seed=4)
    columns = {"target": "label", **({"split": "split"} if parts[0] else {})}
    table = data({"table": str(tmp_path / "images.csv"), **columns, **same}, seed=4)
    assert table.info.class_names == folder.info.class_names == ("cat", "dog", "Éclair")
    assert table.info.shape == folder.info.shape == (6, 5, 3)
    for name in SPLITS:
        of_table, of_folder = getattr(table, name), getattr(folder, name)
        assert of_table.ids == of_folder.ids
        assert of_table.labels.tolist() == of_folder.labels.tolist()
        assert (of_table.read(range(of_table.size)) == of_folder.read(range(of_folder.size))).all()


def test_labels_and_numbers_reach_the_batches_as_the_table_has_them(tmp_path: Path) -> None:
    from cnnkit.data import evaluation_batches

    random = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(40)]
    write_pictures(tmp_path, names)
    rows = [
        {
            "tags": ";".join(tag for tag in ("b", "a", "c") if random.random() < 0.5),
            "image": name,
            "mass": round(float(random.normal(70, 10)), 2),
            "length": int(random.integers(100, 200)),
        }
        for name in names
    ]
    table = str(write_table(tmp_path / "images.tsv", rows, "\t"))
    by_name = {str(row["image"]): row for row in rows}

    tagged = data({"table": table, "target": "tags"}, Tags())
    assert tagged.info.class_names == ("a", "b", "c")
    measured = data({"table": table, "target": ["mass", "length"]}, Amounts())
    assert measured.info.class_names == ("mass", "length")
    assert measured.info.target.values == {"targets": 2}
    for name in SPLITS:
        split = getattr(tagged, name)
        expected = [[tag in str(by_name[file]["tags"]).split(";") for tag in "abc"] for file in split.ids]
        batches = list(evaluation_batches(split, batch_size=7))
        assert np.concatenate([labels for _, labels in batches]).tolist() == expected
        split = getattr(measured, name)
        expected = [[by_name[file]["mass"], by_name[file]["length"]] for file in split.ids]
        assert split.labels.tolist() == np.array(expected, np.float32).tolist()
    sizes = [getattr(measured, name).size for name in SPLITS]
    assert sizes == [28, 4, 8]


def test_a_changed_table_is_another_data_set_and_a_changed_order_is_not(tmp_path: Path) -> None:
    rows = write_classes(tmp_path, {"cat": 5, "dog": 5})

    def fingerprint(rows: list[dict[str, Any]]) -> str:
        file = str(write_table(tmp_path / "t.csv", rows))
        return data({"table": file, "target": "label", "memory": "stream", "group": "who"}).fingerprint

    rows = [{**row, "who": number} for number, row in enumerate(rows)]
    first = fingerprint(rows)
    assert first == fingerprint([{"remark": "none", **row} for row in reversed(rows)])
    relabelled = [{**row, "label": "dog"} if row["image"] == "cat/3.png" else row for row in rows]
    regrouped = [{**row, "who": 0} for row in rows[:2]] + rows[2:]
    changed = {fingerprint(relabelled), fingerprint(regrouped), fingerprint(rows[1:])}
    with (tmp_path / "cat/3.png").open("ab") as stream:
        stream.write(b"longer")
    assert len({first, *changed, fingerprint(rows)}) == 5


def trained(folder: Path, name: str, section: dict[str, Any]) -> Run:
    return run_training(folder, config(data={"name": None, "batch_size": 16, **section}, training=SHORT), name)


SHORT = {"epochs": 2, "optimizer": "Adam"}


@pytest.mark.long
def test_a_training_by_table_is_that_by_folder_and_another_table_tests_it(tmp_path: Path) -> None:
    rows = write_classes(tmp_path / "images", {"cat": 20, "dog": 20, "emu": 20})
    table = write_table(tmp_path / "images/t.csv", rows)
    by_table = trained(tmp_path, "by_table", {"table": str(table), "target": "label"})
    by_folder = trained(tmp_path, "by_folder", {"folder": str(tmp_path / "images")})
    assert metrics(by_table) == metrics(by_folder)
    for one, other in zip(weights(by_table), weights(by_folder), strict=True):
        assert (one == other).all()

    write_classes(tmp_path / "others", {"dog": 3, "cat": 4})
    others = [{"image": f"dog/{n}.png", "label": "dog"} for n in range(3)]
    others += [{"image": f"cat/{n}.png", "label": "cat"} for n in range(4)]
    other_table = str(write_table(tmp_path / "others/other.csv", others))
    run = open_run(by_table)
    measured = evaluate_run(run, EvaluationOptions(folder=other_table))
    expected = evaluate_run(run, EvaluationOptions(folder=str(tmp_path / "others")))
    assert measured.pop("split") == other_table
    expected.pop("split")
    assert measured == expected
    assert measured["images"] == 7
    write_table(Path(other_table), [*others[:-1], {**others[-1], "label": "fox"}])
    with pytest.raises(CnnkitError, match=r"other.csv:8  has the unknown class `fox`"):
        evaluate_run(run, EvaluationOptions(folder=other_table))
    with pytest.raises(UsageError, match="names no columns of a table"):
        evaluate_run(open_run(by_folder), EvaluationOptions(folder=other_table))


# --- data info, data check ------------------------------------------------------------------------------


def test_data_info_counts_labels_and_measures_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    names = [f"{number}.png" for number in range(30)]
    write_pictures(tmp_path, names)
    tags = [";".join(tag for tag in "ab" if random.random() < 0.4) for _ in names]
    sizes = [float(f"{random.normal(5, 2):.3f}") for _ in names]
    parts = ["train"] * 20 + ["test"] * 10
    columns = zip(names, tags, sizes, parts, strict=True)
    rows = [{"image": name, "tags": tag, "size": size, "part": part} for name, tag, size, part in columns]
    section = {"table": str(write_table(tmp_path / "t.csv", rows)), "split": "part", "validation": 0}
    summary = data_set_summary(DataConfig.model_validate({**section, "target": "tags"}), 0, Tags())
    assert (summary["labels"], summary["label_names"], summary["modes"]) == (2, ["a", "b"], {"RGB": 30})
    for split, said in (("train", tags[:20]), ("test", tags[20:])):
        part = summary["splits"][split]
        assert part["per_label"] == {name: sum(name in tag for tag in said) for name in "ab"}
        assert part["without_label"] == said.count("")
    summary = data_set_summary(DataConfig.model_validate({**section, "target": "size"}), 0, Amounts())
    assert summary["target_names"] == ["size"]
    measures = summary["splits"]["test"]["per_target"]["size"]
    expected = {"mean": statistics.fmean, "std": statistics.pstdev, "min": min, "max": max}
    assert measures == pytest.approx({name: of(sizes[20:]) for name, of in expected.items()}, rel=1e-5)


def test_a_table_alone_is_looked_at_by_its_columns(tmp_path: Path) -> None:
    rows = [{**row, "camera": "x"} for row in write_classes(tmp_path, {"cat": 12, "dog": 13})]
    table = str(write_table(tmp_path / "t.csv", rows))
    summary = json.loads(run_command("data", "info", table, "--json").output)
    counts = [split["per_class"] for split in summary["splits"].values()]
    assert {name: sum(count[name] for count in counts) for name in counts[0]} == {"cat": 12, "dog": 13}

    unusual = [{"picture": row["image"], "kind": row["label"], "camera": "x"} for row in rows]
    table = str(write_table(tmp_path / "t.csv", unusual))
    refused = run_command("data", "info", table)
    assert "Name it with --image; it has `picture`, `kind`, `camera`" in str(refused.exception)
    done = run_command("data", "info", table, "--image", "picture", "--target", "kind", "--json")
    assert json.loads(done.output)["class_names"] == ["cat", "dog"]
    assert "does not exist" in str(run_command("data", "info", str(tmp_path / "none.csv")).exception)
    assert "--image and --target are for tables" in str(
        run_command("data", "info", "digits", "--target", "x").exception
    )


def test_data_check_finds_what_a_table_hides(tmp_path: Path) -> None:
    rows = [{**row, "part": "train"} for row in write_classes(tmp_path, {"cat": 12, "dog": 12})]
    by_name = {row["image"]: row for row in rows}
    shutil.copy(tmp_path / "cat/0.png", tmp_path / "cat/1.png")
    by_name["cat/1.png"]["part"] = "test"
    shutil.copy(tmp_path / "cat/2.png", tmp_path / "dog/2.png")
    (tmp_path / "dog/3.png").write_bytes(b"no image")
    # No row names these.
    (tmp_path / "stray.png").write_bytes(b"no image")
    table = str(write_table(tmp_path / "t.csv", rows))
    config = DataConfig.model_validate({"table": table, "target": "label", "split": "part"})
    report = check_folder(config, 0, lambda files, count: contextlib.nullcontext(files))
    decisions = {finding.kind: dict(finding.files) for finding in report.findings if finding.decide}
    assert report.images == 24
    assert decisions.pop("unreadable").keys() == {"dog/3.png"}
    assert decisions == {
        "copies_across_classes": {"cat/2.png": ["dog/2.png"]},
        "copies_across_splits": {"cat/0.png": ["cat/1.png"]},
    }
    by_name["dog/5.png"]["part"] = "?"
    write_table(tmp_path / "t.csv", rows)
    result = run_command("data", "check", table, "--image", "image", "--target", "label")
    assert result.exit_code == 1
    report = check_folder(config, 0, lambda files, count: contextlib.nullcontext(files))
    assert [finding.kind for finding in report.findings] == ["layout"]
    assert "is in the split `?`" in report.findings[0].message


# --- Groups ---------------------------------------------------------------------------------------------


@given(data_of=st.data())
@settings(deadline=None, max_examples=25)
def test_groups_are_never_torn_apart(data_of: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("groups")
    groups = data_of.draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=12, max_size=40))
    kinds = data_of.draw(st.lists(st.sampled_from(["cat", "dog"]), min_size=len(groups), max_size=len(groups)))
    names = [f"{number}.png" for number in range(len(groups))]
    for name in names:
        (folder / name).hardlink_to(PICTURE)
    rows = [{"image": name, "kind": kind, "who": group} for name, kind, group in zip(names, kinds, groups, strict=True)]
    table = str(write_table(folder / "images.csv", rows))
    section = {"table": table, "target": "kind", "group": "who", "memory": "stream", "validation": 0.25}
    try:
        made, problem = data(section, seed=data_of.draw(st.integers(0, 100))), ""
    except CnnkitError as error:
        made, problem = None, error.message
    if made is None:
        assert re.search("at least two are needed|in one group|the last of some", problem)
        return
    of_split = [{groups[names.index(name)] for name in getattr(made, split).ids} for split in SPLITS]
    assert sum(len(there) for there in of_split) == len(set(groups))
    assert all(of_split)
    assert {kinds[names.index(name)] for name in made.train.ids if made.train} == {"cat", "dog"}


@pytest.fixture(autouse=True, scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> None:
    global PICTURE
    folder = tmp_path_factory.mktemp("picture")
    write_pictures(folder, ["0.png"])
    PICTURE = folder / "0.png"


PICTURE: Path
