"""The config that is written for a table or folder of texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run
from review_texts import reviews
from tables import write_table

from cnnkit.config.load import load_config
from cnnkit.errors import UsageError
from cnnkit.proposal.config import proposer
from cnnkit.texts.words import words_in


def written(source: Path, target: str | None = None) -> Path:
    """The file of the config that is proposed for texts."""
    file = source.parent / "proposed.yaml"
    file.write_text(proposer(str(source), target=target)(file).text, "utf-8")
    return file


def test_a_table_of_texts_gets_kims_network_sized_to_its_texts(tmp_path: Path) -> None:
    rows = reviews(60)
    rows[2]["text"] += " once"
    loaded = load_config(str(written(write_table(tmp_path / "reviews.csv", rows))))
    config = loaded.config
    assert (config.task.name, config.data.text, config.data.target, config.data.split) == (
        *("classification", "text", "label", "split"),
    )
    texts = [words_in(row["text"]) for row in rows if row["split"] == "train"]
    frequent = {word for text in texts for word in text if sum(other.count(word) for other in texts) > 1}
    assert config.data.words == len(frequent) + 2
    assert config.data.length == 16
    kinds = [step.layer.kind for step in loaded.steps]
    assert kinds == ["Embedding", "Dropout", "ZeroPadding1D", "Branches", "GlobalMaxPooling1D", "Dropout", "Dense"]


def test_what_the_cells_say_decides_the_task(tmp_path: Path) -> None:
    rows = [{**row, "stars": str(number / 7), "tags": "a;b"} for number, row in enumerate(reviews(60))]
    table = write_table(tmp_path / "reviews.csv", rows)
    assert load_config(str(written(table, "stars"))).config.task.name == "regression"
    assert load_config(str(written(table, "tags"))).config.task.name == "multilabel"


def test_a_column_of_many_words_holds_texts_and_one_of_files_does_not(tmp_path: Path) -> None:
    rows = [{"said": row["text"], "label": row["label"]} for row in reviews(60)]
    assert load_config(str(written(write_table(tmp_path / "said.csv", rows)))).config.data.text == "said"
    files = [
        {"image": f"{number}.png", "text": row["text"], "label": row["label"]} for number, row in enumerate(reviews(12))
    ]
    # Where all are files of images, and where one is not.
    for name in ("0.png", "0.heic", ""):
        files[0]["image"] = name
        with pytest.raises(UsageError, match="which is no file"):
            proposer(str(write_table(tmp_path / "files.csv", files)))


def test_class_folders_of_text_files_are_told_from_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, row in enumerate(reviews(24)):
        file = tmp_path / "reviews" / row["split"] / row["label"] / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"], "utf-8")
    config = load_config(str(written(tmp_path / "reviews"))).config
    assert (config.data.text, config.data.batch_size) == (".txt", 16)
    with pytest.raises(UsageError, match="--backbone is for images"):
        proposer(str(tmp_path / "reviews"), backbone="MobileNetV2")
    assert run(["data", "check", str(tmp_path / "reviews")], monkeypatch) == 2
    assert "holds texts" in capsys.readouterr().err
    assert run(["data", "info", str(tmp_path / "reviews")], monkeypatch) == 0
    assert "in_training_texts" in capsys.readouterr().out
