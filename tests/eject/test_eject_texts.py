"""Scripts of text networks: they read and number words as `cnnkit train` does, and learn the same."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ejected import as_module, each_split, figures, run_script, splits_of
from made_sets import store_texts
from review_texts import reviews, text_config, write_reviews
from tables import write_table

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.data import DataSets, load
from cnnkit.eject import eject
from cnnkit.errors import UsageError
from cnnkit.training.model import build_model


def written(folder: Path, content: dict[str, Any]) -> LoadedConfig:
    file = folder / "net.yaml"
    file.write_text(yaml.safe_dump(content))
    return load_config(str(file))


def assert_same(loaded: LoadedConfig, script: str | None = None) -> DataSets:
    """Holds the numbers and targets of all splits against what cnnkit reads; the words, too."""
    config = loaded.config
    expected = load(config.data, config.seed, config.task)
    found = splits_of(script or eject(loaded))
    for name, read, split in each_split(found, expected):
        np.testing.assert_array_equal(read[0], split.read(np.arange(split.size)), err_msg=name)
        np.testing.assert_array_equal(read[1], split.targets.values, err_msg=name)
    assert expected.info.sample.vocabulary is not None
    assert tuple(found["vocabulary"]) == expected.info.sample.vocabulary.words
    return expected


def odd_table(folder: Path) -> Path:
    """A table in which nothing is plain: texts twice, of several lines, with accents in two spellings, and no words."""
    rows: list[dict[str, object]] = []
    for number, row in enumerate(reviews(60)):
        text = row["text"]
        text = f'Cafe\u0301 "{text}"\nIt\u2019s caf\u00e9' if number % 7 == 0 else text
        # Longer than Python's csv reads at first; marks, and a character that nobody sees.
        text = f"हिन्दी {text} so\u00adfort {'long ' * 30_000}" if number == 3 else text
        rows.append(
            {
                "said": rows[number - 20]["said"] if number % 9 == 8 and number > 20 else text,
                "kind": row["label"],
                "all": "; ".join(["long"] * (len(text) > 40) + ["film"] * ("film" in text)),
                "length": len(text),
                "part": ("train", "Train", "VAL", "test")[number % 4],
            }
        )
    return write_table(folder / "t.tsv", rows, "\t")


@pytest.mark.parametrize("more", [{}, {"split": "part"}, {"validation": 0}], ids=str)
@pytest.mark.parametrize(
    ("task", "target", "units"),
    [("classification", "kind", "classes"), ("multilabel", "all", "classes"), ("regression", "length", "targets")],
)
def test_tables_are_divided_and_numbered_the_same(
    task: str, target: str, units: str, more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = text_config(odd_table(tmp_path), data={"text": "said", "target": target, "validation": 0.3, "words": 20})
    del content["data"]["split"]
    content["data"] |= more
    content["model"]["layers"][-1] = {"Dense": units}
    loaded = written(tmp_path, {"task": task, "seed": 3, **content})
    assert_same(loaded)
    words = (tmp_path / "net.words.txt").read_text("utf-8").split("\n")
    assert len(words) == 18
    (tmp_path / "script.py").write_text(eject(loaded))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E5,E7,E9,F"]
    done = subprocess.run([*command, "--line-length", "120", "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("splits", [True, False])
def test_folders_are_divided_and_numbered_the_same(
    splits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, row in enumerate(reviews(40)):
        # macOS takes the letters of a name apart.
        name = {"good": "gut", "bad": "u\u0308bel"}[row["label"]]
        file = (
            tmp_path
            / "reviews"
            / (row["split"] if splits else "")
            / name
            / ("more" if number % 5 else "")
            / f"{number}.TXT"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"] + "\n", "utf-8-sig" if number % 3 else "utf-8")
        (file.parent / ".hidden.txt").write_text("hidden")
    content = text_config(tmp_path, data={"text": ".txt", "validation": 0.2})
    for name in ("table", "target", "split"):
        del content["data"][name]
    content["data"]["folder"] = "reviews"
    data = assert_same(written(tmp_path, content))
    assert data.test is not None
    assert data.info.class_names == ("gut", "\u00fcbel")


@pytest.mark.parametrize("is_here", [True, pytest.param(False, marks=pytest.mark.long)])
def test_tfds_sets_are_divided_and_numbered_the_same(
    is_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    monkeypatch.chdir(tmp_path)
    splits: dict[str, Any] = {"train": [], "test": [], "unsupervised": [("nobody says", -1)]}
    for row in reviews(48):
        splits[row["split"]].append((row["text"], int(row["label"] == "good")))
    store_texts(tmp_path, splits)
    # TFDS reads TFDS_DATA_DIR when it is imported, which another test may have done with another folder.
    monkeypatch.setattr(tfds, "load", functools.partial(tfds.load, data_dir=tmp_path, download=False))
    monkeypatch.setattr(tfds, "builder", functools.partial(tfds.builder, data_dir=tmp_path))
    content = text_config(tmp_path, data={"name": "imdb_reviews", "validation": 0.25})
    for name in ("table", "target", "split"):
        del content["data"][name]
    script = None
    if not is_here:
        # Written where the set is not.
        with monkeypatch.context() as patch:
            patch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
            script = eject(written(tmp_path, content))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert_same(written(tmp_path, content), script)


def test_nobody_knows_the_classes_of_a_set_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    content = text_config(tmp_path, data={"name": "my_texts", "classes": 2})
    for name in ("table", "target", "split"):
        del content["data"][name]
    with pytest.raises(UsageError, match="nothing here says which feature of `my_texts` has the classes"):
        eject(written(tmp_path, content))
    content["data"]["target"] = "stars"
    assert 'row["text"], row["stars"]' in eject(written(tmp_path, content))


def built(loaded: LoadedConfig) -> tuple[Any, Any]:
    """The network of a config as cnnkit builds it, and as the script does."""
    module = as_module(eject(loaded))
    second = module.build_model()
    module.draw_weights(second)
    return build_model(loaded.config, loaded.steps, loaded.info.target, None), second


def test_initial_outputs_are_those_of_training(tmp_path: Path) -> None:
    first, second = built(written(tmp_path, text_config(write_reviews(tmp_path, 24))))
    assert second.input_shape == (None, 12)
    assert second.inputs[0].dtype == "int32"
    for one, other in zip(first.trainable_variables, second.trainable_variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    ids = np.random.default_rng(0).integers(0, 40, (16, 12)).astype(np.int32)
    ids[:8, 5:] = 0
    np.testing.assert_allclose(first(ids), second(ids), rtol=1e-5)
    # With dropout's draws.
    np.testing.assert_allclose(first(ids, training=True), second(ids, training=True), rtol=1e-5)


@pytest.mark.parametrize("padding", [0, None])
def test_layers_that_know_masks_see_the_same(padding: int | None, tmp_path: Path) -> None:
    content = text_config(write_reviews(tmp_path, 24))
    embedding = {"input_dim": "words", "output_dim": 8, "mask_zero": True, "padding_idx": padding}
    content["model"]["layers"] = [{"Embedding": embedding}, "GlobalAveragePooling1D", {"Dense": "classes"}]
    first, second = built(written(tmp_path, content))
    ids = np.random.default_rng(0).integers(1, 40, (6, 12)).astype(np.int32)
    ids[:, 7:] = 0
    np.testing.assert_allclose(first(ids), second(ids), rtol=1e-5)
    np.testing.assert_allclose(second(ids), second(np.pad(ids[:, :7], [(0, 0), (0, 5)])), rtol=1e-6)
    content["model"]["layers"][0]["Embedding"]["padding_idx"] = 1
    with pytest.raises(UsageError, match="masks the id 0"):
        eject(written(tmp_path, content))


@pytest.mark.long
def test_texts_are_learned_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an average of the weights; and what is saved answers as the script says, in plain Keras."""
    import keras

    optimizer = {"Adam": {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9}}
    training = {"epochs": 3, "label_smoothing": 0.1, "optimizer": optimizer}
    loaded = written(tmp_path, text_config(write_reviews(tmp_path), training=training))
    expected = figures(loaded, tmp_path)
    found, shown = run_script(eject(loaded), tmp_path, monkeypatch)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name
    (accuracy,) = re.findall(r"test accuracy ([01]\.\d{4})", shown)
    model = keras.models.load_model(tmp_path / "net.keras")
    module = as_module(eject(loaded))
    vocabulary = {word: 2 + place for place, word in enumerate((tmp_path / "net.words.txt").read_text().split("\n"))}
    numbers, labels = module.as_numbers(*module.read_texts("test"), vocabulary)
    assert np.mean(np.argmax(model.predict(numbers, verbose=0), axis=-1) == labels) == pytest.approx(
        float(accuracy), abs=1e-4
    )
    embeddings = next(layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)).embeddings
    assert not np.any(np.asarray(embeddings)[0])
