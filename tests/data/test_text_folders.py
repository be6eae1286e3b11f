"""Folders of text files, held against the table that says the same."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from review_texts import reviews
from tables import write_table

from cnnkit.config.data import DataConfig
from cnnkit.data import DataSets, labelled_texts, load
from cnnkit.errors import CnnkitError


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, str]]:
    """The rows of a table, whose texts also lie in `reviews`, in folders of splits and classes."""
    made = reviews(24)
    write_table(tmp_path / "reviews.csv", made)
    for number, row in enumerate(made):
        file = tmp_path / "reviews" / row["split"] / row["label"] / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"] + "\n", "utf-8")
    (tmp_path / "reviews" / "train" / "good" / ".hidden.txt").write_text("hidden")
    (tmp_path / "reviews" / "train" / "good" / "notes.md").write_text("no text")
    return made


def loaded(**data: Any) -> DataSets:
    section = {"words": 40, "length": 12, "validation": 0, **data}
    return load(DataConfig.model_validate(section), seed=0)


def samples(data: DataSets, name: str) -> list[tuple[list[int], int]]:
    split = getattr(data, name)
    return sorted(zip(split.read(range(split.size)).tolist(), split.labels.tolist(), strict=True))


def test_a_folder_says_what_the_table_says(rows: list[dict[str, str]], tmp_path: Path) -> None:
    folder = loaded(folder=str(tmp_path / "reviews"), text=".txt")
    table = loaded(table=str(tmp_path / "reviews.csv"), text="text", target="label", split="split")
    assert folder.info.class_names == table.info.class_names == ("bad", "good")
    assert folder.info.sample == table.info.sample
    for name in ("train", "test"):
        assert samples(folder, name) == samples(table, name)
    assert folder.test is not None
    assert folder.test.ids[0].startswith("test/bad/")
    config = DataConfig.model_validate({"folder": str(tmp_path / "reviews"), "text": ".txt"})
    other = labelled_texts(str(tmp_path / "reviews"), config, folder.info.target, folder.info.sample, (12,))
    assert other.read(range(other.size)).tolist() == folder.test.read(range(folder.test.size)).tolist()


def test_links_to_folders_are_followed(rows: list[dict[str, str]], tmp_path: Path) -> None:
    """To one of a class, and to one inside a class, as where a disk has no room."""
    before = loaded(folder=str(tmp_path / "reviews"), text=".txt")
    train = tmp_path / "reviews" / "train"
    for place, name in ((train / "bad", "bad"), (train / "good" / "more", "more")):
        place.mkdir(exist_ok=True)
        for file in list(train.glob("good/*.txt"))[:3] if name == "more" else ():
            file.rename(place / file.name)
        place.rename(tmp_path / name)
        place.symlink_to(tmp_path / name)
    after = loaded(folder=str(tmp_path / "reviews"), text=".txt")
    assert samples(after, "train") == samples(before, "train")
    assert after.train is not None
    assert sum("good/more/" in name for name in after.train.ids) == 3


def test_class_folders_of_one_name_are_refused(rows: list[dict[str, str]], tmp_path: Path) -> None:
    """One would take the place of the other, and its texts be left out."""
    for name in ("caf\u00e9", "cafe\u0301"):
        file = tmp_path / "reviews" / "train" / name / "a.txt"
        file.parent.mkdir()
        file.write_text("a text")
    with pytest.raises(CnnkitError, match="the same text in two spellings"):
        loaded(folder=str(tmp_path / "reviews"), text=".txt")


@pytest.mark.parametrize("content", ["", " \n", "\u200b"])
def test_a_file_without_a_word_is_named(content: str, rows: list[dict[str, str]], tmp_path: Path) -> None:
    file = tmp_path / "reviews" / "test" / "good" / "none.txt"
    file.write_text(content, "utf-8")
    with pytest.raises(CnnkitError, match=r"texts without a word.*: `test/good/none\.txt`; remove them"):
        loaded(folder=str(tmp_path / "reviews"), text=".txt")
    write_table(tmp_path / "reviews.csv", [*rows, {"text": content or " ", "label": "good", "split": "test"}])
    with pytest.raises(CnnkitError, match="has no text"):
        loaded(table=str(tmp_path / "reviews.csv"), text="text", target="label", split="split")


def test_a_text_of_any_length_is_read(rows: list[dict[str, str]], tmp_path: Path) -> None:
    """More than the 131,072 characters to which Python's csv limits a cell at first."""
    text = "a wonderful film " * 20_000
    write_table(tmp_path / "reviews.csv", [*rows, {"text": text, "label": "good", "split": "test"}])
    limit = csv.field_size_limit()
    data = loaded(table=str(tmp_path / "reviews.csv"), text="text", target="label", split="split")
    assert data.info.table is not None
    assert max(len(row.text) for row in data.info.table.splits["test"]) == len(text) - 1
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "txt"}, "is the ending of its files"),
        ({"text": ".md"}, "no `.md` file to train on in the class folder `bad`"),
        ({"folder": "missing"}, "does not exist"),
    ],
)
def test_what_is_no_folder_of_texts_is_refused(
    rows: list[dict[str, str]], tmp_path: Path, change: dict[str, str], message: str
) -> None:
    with pytest.raises(CnnkitError, match=message):
        loaded(**{"folder": str(tmp_path / "reviews"), "text": ".txt", **change})


def test_a_file_that_is_not_utf8_is_named(rows: list[dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "reviews" / "train" / "bad" / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(CnnkitError, match=r"latin.txt` is not UTF-8"):
        loaded(folder=str(tmp_path / "reviews"), text=".txt")
