"""`cnnkit new --from TABLE`: which columns are meant, and what is learned of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import run
from digit_tables import write_digits
from tables import write_classes, write_pictures, write_table

from cnnkit.config.load import load_config
from cnnkit.config.target import Labels, Numbers, OneClass, Target
from cnnkit.proposal.columns import kind_of


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([["cat", "dog", "cat"]], OneClass),
        ([["0", "1", "1"]], OneClass),
        ([["cat;dog", "", "dog"]], Labels),
        ([["0", "1"], ["1", "1"]], Labels),
        ([["0.5", "1", "2"]], Numbers),
        ([[str(number) for number in range(40)]], Numbers),
        ([["0", "1"], ["3", "1"]], Numbers),
        # A few cells that are no numbers, and decimal commas, are mistakes to be told of, and no classes.
        ([["0.5", "abc", "2"]], Numbers),
        ([["0.5", "", "2.25"]], Numbers),
        ([["0,5", "1,25", "2,0"]], Numbers),
        ([["1", "2", "none"]], OneClass),
        ([["1.5l", "0.5", "2l"]], OneClass),
    ],
)
def test_cells_tell_what_is_learned(columns: Sequence[Sequence[str]], kind: type[Target]) -> None:
    assert kind_of(columns) is kind


@pytest.mark.parametrize(
    ("arguments", "task", "target", "size"),
    [
        ((), "multilabel", "labels", 2),
        (("--target", "odd,above_four"), "multilabel", ["odd", "above_four"], 2),
        (("--target", "lit"), "classification", "lit", None),
        (("--target", "lit", "--task", "regression"), "regression", "lit", 1),
        (("--target", "thousandth, lit"), "regression", ["thousandth", "lit"], 2),
    ],
)
def test_a_config_learns_the_columns_that_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    task: str,
    target: str | list[str],
    size: int | None,
) -> None:
    write_digits(tmp_path, 60)
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "digits.csv", *arguments], monkeypatch) == 0
    loaded = load_config("digits.yaml")
    assert loaded.config.task.name == task
    assert loaded.config.data.target == target
    # The column that says train, validation and test is found by its cells.
    assert loaded.config.data.split == "split"
    assert size is None or loaded.info.target.size == size
    # Where something is may be what a number tells.
    assert (loaded.config.augmentation == []) == (task == "regression")


def test_columns_are_found_by_their_cells_where_their_names_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.png" for number in range(40)]
    write_pictures(tmp_path, names)
    rows = [{"where": name, "kind": "ab"[place % 2], "patient": place // 4} for place, name in enumerate(names)]
    write_table(tmp_path / "scans.csv", rows)
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "scans.csv"], monkeypatch) == 0
    data = load_config("scans.yaml").config.data
    assert (data.image, data.target, data.group) == ("where", "kind", "patient")


def test_a_cell_that_is_no_number_makes_no_classes_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path, [f"{number}.png" for number in range(24)])
    monkeypatch.chdir(tmp_path)
    for cell, message in (("abc", "has `abc`"), ("2,5", "write a point for the decimal comma")):
        cells = ["0.5", cell, *(str(number / 2) for number in range(2, 24))]
        write_table(tmp_path / "sizes.csv", [{"image": f"{n}.png", "size": one} for n, one in enumerate(cells)])
        command = ["new", "--from", "sizes.csv", "--target", "size"]
        assert run(command, monkeypatch) == 2
        said = capsys.readouterr().err
        assert "1 row of `sizes.csv` cannot be used" in said
        assert message in said
        hinted = "If they are names of classes: cnnkit new --from sizes.csv --target size --task classification"
        assert (hinted in said) == (cell == "abc")
        assert run([*command, "--task", "regression"], monkeypatch) == 2
        assert capsys.readouterr().err.splitlines()[:2] == said.splitlines()[:2]


@pytest.mark.parametrize("cell", ["trian", "", "unlabelled"])
def test_a_cell_that_is_no_split_draws_no_new_ones(
    cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else images of the test split would be learned from, for the sake of a typing error."""
    rows = write_classes(tmp_path, {"cat": 12, "dog": 12})
    rows = [{**row, "part": "test" if place % 4 == 0 else "train"} for place, row in enumerate(rows)]
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "whole.csv", rows)
    assert run(["new", "--from", "whole.csv"], monkeypatch) == 0
    assert load_config("whole.yaml").config.data.split == "part"
    rows[7]["part"] = cell
    write_table(tmp_path / "pets.csv", rows)
    capsys.readouterr()
    assert run(["new", "--from", "pets.csv"], monkeypatch) == 2
    said = capsys.readouterr().err
    assert "pets.csv:9  is in" in said
    assert (f"`{cell}`" if cell else "the cell is empty") in said
    # What is another kind of column altogether is none of splits.
    for place, row in enumerate(rows):
        row["part"] = ("train", "test", "car", "bus", "tram")[place % 5]
    write_table(tmp_path / "other.csv", rows)
    assert run(["new", "--from", "other.csv", "--target", "label"], monkeypatch) == 0
    assert load_config("other.yaml").config.data.split is None


def test_what_nobody_can_know_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path, ["0.png", "1.png"])
    write_table(tmp_path / "both.csv", [{"image": f"{n}.png", "one": f"a{n}", "two": f"b{n}"} for n in range(2)])
    write_table(tmp_path / "none.csv", [{"one": "a", "two": "b"}])
    monkeypatch.chdir(tmp_path)

    def refusal(*arguments: str) -> str:
        assert run(list(arguments), monkeypatch) == 2
        return capsys.readouterr().err

    asked = "which column of `both.csv` is meant? Name it with --target; it has `image`, `one`, `two`"
    assert asked in refusal("new", "--from", "both.csv")
    assert asked in refusal("train", "both.csv")
    assert "Name it with --image" in refusal("new", "--from", "none.csv")
    assert "no column `three` (`data.target`)" in refusal("new", "--from", "both.csv", "--target", "three")
    assert "there is no task `x`; expected one of classification" in refusal(
        "new", "--from", "both.csv", "--target", "one", "--task", "x"
    )
    assert "--from FOLDER" in refusal("new", "--target", "one")
    (tmp_path / "photos").mkdir()
    assert "are for tables; `photos` is none" in refusal("new", "--from", "photos", "--target", "one")
