"""Tables of texts as splits of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_texts import reviews
from tables import write_table

from cnnkit.config.data import DataConfig
from cnnkit.data import DataSets, load
from cnnkit.errors import CnnkitError
from cnnkit.texts.words import UNKNOWN_SHOWN, Vocabulary


def loaded(table: Path, **changes: Any) -> DataSets:
    section = {"table": str(table), "text": "text", "target": "label", "words": 40, "length": 12, **changes}
    return load(DataConfig.model_validate(section), seed=0)


def rows_of(data: DataSets, name: str) -> list[tuple[str, str]]:
    """The texts of a split, in small letters without what is unknown, and their classes."""
    split = getattr(data, name)
    vocabulary = data.info.sample.vocabulary
    assert vocabulary is not None
    names = data.info.class_names
    texts = [" ".join(vocabulary.shown(numbers)) for numbers in split.read(range(split.size)).tolist()]
    return list(zip(texts, [names[label] for label in split.labels.tolist()], strict=True))


def test_the_vocabulary_is_that_of_the_training_texts_alone(tmp_path: Path) -> None:
    rows = reviews(60)
    for row in rows:
        if row["split"] == "test":
            row["text"] += " unseen"
    data = loaded(write_table(tmp_path / "reviews.csv", rows), split="split", validation=0, words=1000, length=20)
    assert data.train is not None
    assert data.test is not None
    vocabulary = data.info.sample.vocabulary
    assert vocabulary == Vocabulary.of([row["text"] for row in rows if row["split"] == "train"], 1000)
    assert "unseen" not in vocabulary.words
    assert all(text.endswith(UNKNOWN_SHOWN) for text, _ in rows_of(data, "test"))
    # Where texts are held out to validate, their words do not count either.
    held_out = loaded(tmp_path / "reviews.csv", split="split", validation=0.3, words=1000)
    assert held_out.train is not None
    used = {number for row in held_out.train.read(range(held_out.train.size)).tolist() for number in row}
    assert max(used) == len(held_out.info.sample.vocabulary.words) + 1


def test_the_order_of_rows_and_memory_make_no_difference(tmp_path: Path) -> None:
    rows = reviews(60)
    first = loaded(write_table(tmp_path / "a.csv", rows), split="split")
    second = loaded(write_table(tmp_path / "b.csv", rows[::-1]), split="split", memory="stream")
    assert (first.memory, second.memory) == ("cache", "stream")
    for name in ("train", "validation", "test"):
        assert rows_of(first, name) == rows_of(second, name)
    assert first.train is not None
    stored = first.train.stored
    assert stored is not None
    assert stored.dtype == np.int32
    assert stored.shape == (first.train.size, 12)


def test_texts_without_splits_are_divided_as_images_are(tmp_path: Path) -> None:
    data = loaded(write_table(tmp_path / "reviews.csv", reviews(100)))
    assert data.train is not None
    assert data.validation is not None
    assert data.test is not None
    assert (data.test.size, data.validation.size, data.train.size) == (20, 8, 72)
    assert np.bincount(data.test.labels).tolist() == [10, 10]
    assert data.test.ids[0].startswith("reviews.csv:")


def test_equal_texts_are_all_there_and_named_by_their_lines(tmp_path: Path) -> None:
    rows = [{"text": "a film", "label": label} for label in ("good", "good", "bad", "bad")]
    data = loaded(write_table(tmp_path / "reviews.csv", rows), validation=0)
    assert data.train is not None
    assert data.test is not None
    assert sorted(data.train.ids + data.test.ids) == [f"reviews.csv:{line}" for line in (2, 3, 4, 5)]


def test_rows_without_a_text_are_named_by_their_lines(tmp_path: Path) -> None:
    table = write_table(tmp_path / "reviews.csv", [*reviews(8), {"text": " ", "label": "good", "split": "train"}])
    with pytest.raises(CnnkitError, match=r"reviews.csv:10  has no text: the cell is empty"):
        loaded(table)
