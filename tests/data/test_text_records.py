"""TFDS sets of texts, held against the table that says the same, and against TensorFlow Datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_sets import store_texts
from review_texts import reviews
from tables import write_table

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataProblem, describe_data_set
from cnnkit.config.known_data_sets import KNOWN_TEXTS
from cnnkit.config.texts import text_feature
from cnnkit.data import DataSets, labelled_texts, list_data_sets, load
from cnnkit.errors import CnnkitError
from cnnkit.texts.words import Vocabulary

CLASSES = {"bad": 0, "good": 1}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `imdb_reviews` of a few texts, and the table of the same."""
    folder = tmp_path_factory.mktemp("texts")
    rows = reviews(60)
    splits: dict[str, Any] = {"train": [], "test": [], "unsupervised": [("nobody says", -1), ("what this is", -1)]}
    for row in rows:
        splits[row["split"]].append((row["text"], CLASSES[row["label"]]))
    store_texts(folder, splits)
    write_table(folder / "reviews.csv", rows)
    return folder


@pytest.fixture(autouse=True)
def prepared(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(stored))


def loaded(**data: Any) -> DataSets:
    section = {"text": "text", "words": 40, "length": 12, **data}
    return load(DataConfig.model_validate(section), seed=0)


def samples(data: DataSets, name: str) -> list[tuple[list[int], int]]:
    split = getattr(data, name)
    return sorted(zip(split.read(range(split.size)).tolist(), split.labels.tolist(), strict=True))


def test_a_set_says_what_the_table_says(stored: Path) -> None:
    named = loaded(name="imdb_reviews", validation=0)
    table = loaded(table=str(stored / "reviews.csv"), target="label", split="split", validation=0)
    assert named.info.class_names == ("neg", "pos")
    assert named.info.sample == table.info.sample
    for name in ("train", "test"):
        assert samples(named, name) == samples(table, name)
    assert named.test is not None
    assert named.test.ids[:2] == ["test/0", "test/1"]
    assert "test 20 texts" in named.fingerprint
    # Class folders and tables are measured by it, too.
    rows = [{"text": row["text"], "label": {"good": "pos", "bad": "neg"}[row["label"]]} for row in reviews(60)]
    for number, row in enumerate(rows):
        file = stored / "other" / row["label"] / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"], "utf-8")
    config = DataConfig.model_validate({"name": "imdb_reviews", "text": "text"})
    other = labelled_texts(str(stored / "other"), config, named.info.target, named.info.sample, (12,))
    assert other.size == 60


@pytest.mark.parametrize("memory", ["cache", "stream"])
def test_words_of_texts_that_validate_do_not_count(memory: str) -> None:
    data = loaded(name="imdb_reviews:1.0.0", validation=0.3, words=1000, memory=memory)
    assert data.train is not None
    assert data.validation is not None
    texts = [data.train.source.text(int(position)) for position in data.train.positions]
    assert data.info.sample.vocabulary == Vocabulary.of(texts, 1000)
    assert (data.train.size, data.validation.size) == (28, 12)
    assert not set(data.train.ids) & set(data.validation.ids)
    assert data.validation.read([0]).tolist() == [
        data.info.sample.vocabulary.numbers(data.validation.source.text(int(data.validation.positions[0])), 12)
    ]


def test_slices_are_those_of_tfds_and_have_to_be_labelled() -> None:
    data = loaded(name="imdb_reviews", splits={"train": "train[:50%]", "validation": "train[50%:]"})
    assert data.train is not None
    assert data.validation is not None
    assert (data.train.size, data.validation.size) == (20, 20)
    with pytest.raises(CnnkitError, match=r"`unsupervised` of .* has texts without labels"):
        loaded(name="imdb_reviews", splits={"train": "unsupervised"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"text": "tekst"}, "no feature `tekst` of texts; expected `text`"),
        ({"target": "labels"}, "no feature `labels` of classes; did you mean `label`?"),
        ({"name": "mnist"}, "`mnist` is a data set of images; remove `text`"),
        ({"name": "imdb_revews"}, "unknown data set `imdb_revews`; did you mean `imdb_reviews`"),
        ({"name": "ag_news_subset"}, "no texts `text`; expected one of `description`, `title`"),
        ({"classes": 3}, "`data.classes` is 3, but the data set has 2"),
        ({"splits": {"train": "train+test"}}, "takes of the test split"),
        ({"text": None}, "to learn from texts, add `text: text`"),
        ({"text": None, "name": "trec"}, "is a data set of texts; to learn from them, add `text: text`"),
    ],
)
def test_what_is_no_set_of_such_texts_is_refused(data: dict[str, Any], message: str) -> None:
    config = DataConfig.model_validate({"name": "imdb_reviews", "text": "text", **data})
    with pytest.raises(DataProblem) as caught:
        describe_data_set(config)
    assert message in caught.value.message


def test_a_tables_splits_are_no_slices(stored: Path) -> None:
    config = {"table": str(stored / "reviews.csv"), "text": "text", "target": "label", "splits": {"train": "train"}}
    with pytest.raises(DataProblem, match="is a TFDS slice"):
        describe_data_set(DataConfig.model_validate(config))


def test_a_text_that_is_not_utf8_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    store_texts(tmp_path, {"train": [(b"caf\xe9", 0), ("a plot", 1)], "test": [("film", 0)]})
    with pytest.raises(CnnkitError, match=r"train/0 .* is not UTF-8"):
        loaded(name="imdb_reviews", validation=0)


def test_sets_of_texts_are_listed_with_their_feature() -> None:
    rows = {row.name: row for row in list_data_sets()}
    assert (rows["imdb_reviews/plain_text"].where, rows["imdb_reviews/plain_text"].text) == ("prepared", "text")
    assert rows["imdb_reviews/plain_text"].splits["unsupervised"] == 2
    assert (rows["glue/sst2"].where, rows["glue/sst2"].text) == ("download", "sentence")
    assert (text_feature("imdb_reviews"), text_feature("mnist")) == ("text", None)


def test_known_texts_are_as_tensorflow_datasets_describes_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import gcs_utils

    monkeypatch.setattr(gcs_utils, "_is_gcs_disabled", True)
    for name, known in KNOWN_TEXTS.items():
        info = tfds.builder(name, data_dir=tmp_path).info
        assert info.features[known.label].names == list(known.class_names), name
        assert all(isinstance(info.features[feature], tfds.features.Text) for feature in known.features), name
        if info.supervised_keys is not None:
            assert info.supervised_keys == (known.features[0], known.label)
