"""`extends`: one config on top of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken import BASE, edited

from cnnkit.config.load import load_config
from cnnkit.config.run import RunConfig
from cnnkit.errors import ConfigError
from cnnkit.format.override import read_tree
from cnnkit.format.schema import Schema


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def merged(child: str, base: str = BASE) -> Any:
    Path("base.yaml").write_text(base)
    Path("c.yaml").write_text("extends: base.yaml\n" + child)
    return read_tree("c.yaml", Schema("model", model=RunConfig)).plain()


def plain(text: str) -> Any:
    Path("plain.yaml").write_text(text)
    return read_tree("plain.yaml", Schema("model", model=RunConfig)).plain()


def test_without_changes_it_is_the_base() -> None:
    assert merged("") == plain(BASE)


def test_mappings_merge() -> None:
    expected = plain(
        edited(("epochs: 3", "epochs: 9"), ("batch_size: 64", "batch_size: 8"), ("patience: 2", "patience: 4"))
    )
    assert merged("data: {batch_size: 8}\ntraining: {epochs: 9, early_stopping: {patience: 4}}") == expected


def test_new_keys_are_added() -> None:
    found = merged("training: {warmup_epochs: 1, early_stopping: {mode: min}}")["training"]
    assert found["warmup_epochs"] == 1
    assert found["early_stopping"] == {"patience": 2, "mode": "min"}


def test_lists_replace() -> None:
    found = merged("model: {layers: [Flatten, {Dense: classes}]}\naugmentation: []\ntraining: {metrics: [Precision]}")
    assert found["model"]["layers"] == ["Flatten", {"Dense": "classes"}]
    assert found["augmentation"] == []
    assert found["training"]["metrics"] == ["Precision"]


@pytest.mark.parametrize(
    ("base", "child", "expected"),
    [
        ("{SGD: {learning_rate: 0.1, momentum: 0.9}}", "{Adam: {beta_1: 0.5}}", {"Adam": {"beta_1": 0.5}}),
        ("{SGD: {momentum: 0.9}}", "{SGD: {nesterov: true}}", {"SGD": {"momentum": 0.9, "nesterov": True}}),
        ("{SGD: {momentum: 0.9}}", "{SGD: {momentum: 0.5}}", {"SGD": {"momentum": 0.5}}),
        ("{SGD: {momentum: 0.9}}", "SGD", "SGD"),
        ("{SGD: {momentum: 0.9}}", "Adam", "Adam"),
        ("SGD", "{SGD: {momentum: 0.9}}", {"SGD": {"momentum": 0.9}}),
        ("{SGD: {momentum: 0.9}}", "{SGD: 0.5}", {"SGD": {"momentum": 0.9, "learning_rate": 0.5}}),
        ("{SGD: 0.5}", "{SGD: {momentum: 0.9}}", {"SGD": {"learning_rate": 0.5, "momentum": 0.9}}),
        ("{SGD: 0.5}", "{SGD: 0.1}", {"SGD": {"learning_rate": 0.1}}),
        ("{sgd: {momentum: 0.9}}", "{SGD: {nesterov: true}}", {"SGD": {"momentum": 0.9, "nesterov": True}}),
        ("{SGD: {momentum: 0.9}}", "{SDG: {nesterov: true}}", {"SDG": {"nesterov": True}}),
    ],
)
def test_named_objects(base: str, child: str, expected: object) -> None:
    """Another name replaces, the same name merges, a leading argument being one of its arguments."""
    text = edited(("{SGD: {learning_rate: 0.1, momentum: 0.9}}", base))
    assert merged(f"training: {{optimizer: {child}}}", text)["training"]["optimizer"] == expected


def test_sections_under_a_named_object_merge_too() -> None:
    child = "training: {schedule: {ReduceLROnPlateau: {patience: 3}}}"
    assert merged(child)["training"]["schedule"] == {"ReduceLROnPlateau": {"factor": 0.5, "patience": 3}}
    child = "training: {schedule: CosineDecay}"
    assert merged(child)["training"]["schedule"] == "CosineDecay"


def test_null_clears_a_setting() -> None:
    Path("base.yaml").write_text(BASE)
    Path("c.yaml").write_text("extends: base.yaml\ntraining: {schedule: null, early_stopping: ~}\n")
    training = load_config("c.yaml").config.training
    assert (training.schedule, training.early_stopping) == (None, None)


def test_three_files_in_a_chain() -> None:
    Path("a").mkdir()
    Path("a/base.yaml").write_text(BASE)
    Path("a/middle.yaml").write_text(
        "extends: base.yaml\nseed: 1\ntraining: {epochs: 7, optimizer: {SGD: {nesterov: true}}}\n"
    )
    Path("c.yaml").write_text("extends: a/middle.yaml\ntraining: {epochs: 8}\n")
    config = load_config("c.yaml", ["training.epochs=9"]).config
    assert config.seed == 1
    assert config.training.epochs == 9
    optimizer = {"SGD": {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}}
    assert config.to_plain()["training"]["optimizer"] == optimizer
    assert config.data.batch_size == 64


def test_the_base_may_be_a_link() -> None:
    Path("base.yaml").write_text(BASE)
    Path("link.yaml").symlink_to("base.yaml")
    Path("c.yaml").write_text("extends: link.yaml\n")
    assert load_config("c.yaml").config.training.epochs == 3


def test_an_absolute_path_and_the_home_folder(in_a_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(in_a_folder / "home"))
    (in_a_folder / "home").mkdir()
    Path("home/base.yaml").write_text(BASE)
    for name in ("~/base.yaml", str(in_a_folder / "home" / "base.yaml")):
        Path("c.yaml").write_text(f"extends: {name}\n")
        assert load_config("c.yaml").config.training.epochs == 3


def test_a_relative_folder_belongs_to_the_file_that_wrote_it(in_a_folder: Path) -> None:
    (in_a_folder / "shared").mkdir()
    Path("shared/base.yaml").write_text(edited(("name: cifar10", "folder: pictures")))
    Path("c.yaml").write_text("extends: shared/base.yaml\nseed: 4\n")
    schema = Schema("model", model=RunConfig)
    assert read_tree("c.yaml", schema).plain()["data"]["folder"] == str(in_a_folder / "shared" / "pictures")
    Path("c.yaml").write_text("extends: shared/base.yaml\ndata: {folder: pictures}\n")
    assert read_tree("c.yaml", schema).plain()["data"]["folder"] == str(in_a_folder / "pictures")


def test_the_file_is_named_by_the_child() -> None:
    Path("base.yaml").write_text(BASE)
    Path("mine.yaml").write_text("extends: base.yaml\n")
    assert load_config("mine.yaml").name == "mine"


def test_of_several_files_later_ones_change_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("seed: 1\ntraining: {epochs: 1, optimizer: {SGD: {momentum: 0.5}}}\n")
    (tmp_path / "b.yaml").write_text("extends: c.yaml\ntraining: {epochs: 2}\n")
    (tmp_path / "c.yaml").write_text("training: {epochs: 3, label_smoothing: 0.1}\ndata: {batch_size: 8}\n")
    root = tree(tmp_path, "extends: [a.yaml, b.yaml]\ndata: {name: digits}\n")
    assert root == {
        "seed": 1,
        "training": {"epochs": 2, "optimizer": {"SGD": {"momentum": 0.5}}, "label_smoothing": 0.1},
        "data": {"batch_size": 8, "name": "digits"},
    }


@pytest.mark.parametrize(
    ("base", "child", "expected"),
    [
        ("data: {name: digits}", "data: {folder: /x}", {"data": {"folder": "/x"}}),
        ("data: {folder: /x}", "data: {name: digits}", {"data": {"name": "digits"}}),
        ("data: {name: digits}", "data: {folder: null}", {"data": {"name": "digits", "folder": None}}),
        (
            "training: {schedule: {CosineDecay: {decay_steps: 9}}}",
            "training: {schedule: {CosineDecay: {decay_epochs: 2}}}",
            {"training": {"schedule": {"CosineDecay": {"decay_epochs": 2}}}},
        ),
        (
            "training: {optimizer: {Adam: {clipnorm: 1}}}",
            "training: {optimizer: {Adam: {clipvalue: 2}}}",
            {"training": {"optimizer": {"Adam": {"clipvalue": 2}}}},
        ),
    ],
)
def test_the_last_word_takes_the_place_of_what_it_excludes(
    base: str, child: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(base)
    assert tree(tmp_path, f"extends: base.yaml\n{child}") == expected


def tree(folder: Path, text: str) -> Any:
    file = folder / "child.yaml"
    file.write_text(text)
    return read_tree(str(file), Schema("model", model=RunConfig)).plain()


@pytest.mark.parametrize(
    "content",
    [
        "root:x:0:0:root:/root:/bin/bash\nsecret:x:1:1::/:/bin/sh\n",
        "secret: hunter2\n",
        "- secret\n",
        "[secret]\nsecret = &secret\n",
        "secret: *secret\nsecret: 1\n",
        "",
        "-----BEGIN SECRET KEY-----\nsecret\n",
    ],
)
def test_what_is_no_config_is_extended_without_a_word_of_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "private").write_text(content)
    (tmp_path / "net.yaml").write_text("extends: private\ndata: {name: digits}\n")
    with pytest.raises(ConfigError, match="private` is no config: it has no section") as caught:
        load_config(str(tmp_path / "net.yaml"))
    assert "secret" not in str(caught.value).lower().replace(str(tmp_path).lower(), "")
    assert [problem.path for problem in caught.value.problems] == ["extends"]
