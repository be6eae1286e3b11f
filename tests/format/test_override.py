"""`--set`: changes at any depth, typed by the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken import BASE, edited

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.config.run import RunConfig
from cnnkit.errors import ConfigError
from cnnkit.format.override import apply_override, read_tree
from cnnkit.format.schema import Schema


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(*overrides: str, text: str = BASE) -> LoadedConfig:
    Path("c.yaml").write_text(text)
    return load_config("c.yaml", overrides)


def tree(*overrides: str, text: str = BASE) -> Any:
    """The plain values after the overrides, before anything is validated."""
    Path("c.yaml").write_text(text)
    schema = Schema("model", model=RunConfig)
    root = read_tree("c.yaml", schema)
    for override in overrides:
        apply_override(root, override, schema)
    return root.plain()


@pytest.mark.parametrize(
    "path", ["model.layers[5].Dropout.rate", "model.layers.5.Dropout.rate", "model.layers[5].Dropout"]
)
def test_a_leading_argument_is_reached_by_its_name(path: str) -> None:
    config = load(f"{path}=0.25").config
    assert config.to_plain()["model"]["layers"][5] == {"Dropout": {"rate": 0.25}}


def test_a_second_argument_keeps_the_leading_one() -> None:
    text = edited(("MaxPooling2D: 2", "MaxPooling2D: 3"))
    config = load("model.layers[3].MaxPooling2D.padding=same", text=text).config
    assert config.to_plain()["model"]["layers"][3] == {"MaxPooling2D": {"pool_size": [3, 3], "padding": "same"}}


def test_a_bare_name_takes_arguments() -> None:
    config = load("model.layers[2].ReLU.negative_slope=0.1").config
    assert config.to_plain()["model"]["layers"][2] == {"ReLU": {"negative_slope": 0.1}}


def test_nested_named_objects() -> None:
    path = "model.layers[0].Conv2D.kernel_regularizer"
    layer = load(f"{path}.L2.l2=0.5").config.to_plain()["model"]["layers"][0]["Conv2D"]
    assert layer["kernel_regularizer"] == {"L2": {"l2": 0.5}}
    text = edited(("same}", "same, kernel_regularizer: {L2: 0.1}}"))
    layer = load(f"{path}.L1L2.l1=0.5", text=text).config.to_plain()["model"]["layers"][0]["Conv2D"]
    assert layer["kernel_regularizer"] == {"L1L2": {"l1": 0.5}}


def test_a_whole_entry_and_a_whole_list() -> None:
    config = load("model.layers[2]={LeakyReLU: 0.2}").config
    assert config.to_plain()["model"]["layers"][2] == {"LeakyReLU": {"negative_slope": 0.2}}
    config = load("model.layers=[Flatten, {Dense: classes}]").config
    assert config.to_plain()["model"]["layers"] == ["Flatten", {"Dense": {"units": "classes"}}]


def test_one_argument_of_the_optimizer() -> None:
    optimizer = load("training.optimizer.SGD.momentum=0.5").config.to_plain()["training"]["optimizer"]
    assert optimizer == {"SGD": {"learning_rate": 0.1, "momentum": 0.5}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.optimizer=Adam", "Adam"),
        ("training.optimizer.Adam=0.5", {"Adam": {"learning_rate": 0.5}}),
        ("training.optimizer.Adam.beta_1=0.5", {"Adam": {"beta_1": 0.5}}),
        ("training.optimizer={Adam: {beta_1: 0.5}}", {"Adam": {"beta_1": 0.5}}),
    ],
)
def test_another_optimizer_replaces_the_one_in_the_file(override: str, expected: object) -> None:
    assert load(override).config.to_plain()["training"]["optimizer"] == expected


@pytest.mark.parametrize(("written", "named"), [("sgd: {momentum: 0.9}", "SGD"), ("SGD: {momentum: 0.9}", "sgd")])
def test_an_alias_names_the_same_optimizer(written: str, named: str) -> None:
    text = edited(("SGD: {learning_rate: 0.1, momentum: 0.9}", written))
    optimizer = load(f"training.optimizer.{named}.nesterov=true", text=text).config.training.optimizer
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)  # type: ignore[attr-defined]


def test_new_sections() -> None:
    text = edited(
        ("  early_stopping: {patience: 2}\n", ""), ("  optimizer: {SGD: {learning_rate: 0.1, momentum: 0.9}}\n", "")
    )
    training = load(
        "training.early_stopping.patience=7",
        "training.optimizer.SGD.learning_rate=0.5",
        "data.splits.train=train[:50%]",
        text=text,
    ).config
    assert training.training.early_stopping is not None
    assert training.training.early_stopping.patience == 7
    assert training.to_plain()["training"]["optimizer"] == {"SGD": {"learning_rate": 0.5}}
    assert training.data.splits.train == "train[:50%]"


def test_a_file_without_a_section_gets_it() -> None:
    config = load("training.epochs=9", text=BASE[: BASE.index("training:")]).config
    assert config.training.epochs == 9


def test_later_overrides_win() -> None:
    assert load("training.epochs=5", "training.epochs=6").config.training.epochs == 6
    assert (
        load("training.early_stopping.patience=5", "training.early_stopping=null").config.training.early_stopping
        is None
    )


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("data.name=017", ("data", "name"), "017"),
        ("data.name=true", ("data", "name"), "true"),
        ("data.name=a: b", ("data", "name"), "a: b"),
        ("data.name=null", ("data", "name"), None),
        ("data.name=a=b", ("data", "name"), "a=b"),
        ("data.splits.train=train[:90%]", ("data", "splits", "train"), "train[:90%]"),
        ("training.early_stopping.monitor=3", ("training", "early_stopping", "monitor"), "3"),
        ("model.layers[0].Conv2D.name=1e3", ("model", "layers", 0, "Conv2D", "name"), "1e3"),
        ("training.epochs=017", ("training", "epochs"), 17),
        ("training.epochs=0x10", ("training", "epochs"), 16),
        ("training.label_smoothing=1e-1", ("training", "label_smoothing"), 0.1),
        ("training.tensorboard=false", ("training", "tensorboard"), False),
        ("training.jit=on", ("training", "jit"), "on"),
        ("training.loss=null", ("training", "loss"), None),
        ("data.image_size=[8, 9]", ("data", "image_size"), [8, 9]),
        (
            "training.exclude_from_weight_decay=[bias, gamma]",
            ("training", "exclude_from_weight_decay"),
            ["bias", "gamma"],
        ),
        ("training.class_weights={cat: 2}", ("training", "class_weights"), {"cat": 2}),
        ("training.class_weights.cat=2", ("training", "class_weights"), {"cat": 2}),
        (" training.epochs = 5", ("training", "epochs"), 5),
    ],
)
def test_the_field_decides_how_a_value_is_read(override: str, path: tuple[Any, ...], expected: object) -> None:
    """A string field takes the text; any other is one YAML value."""
    value = tree(override)
    for part in path:
        value = value[part]
    assert value == expected
    assert type(value) is type(expected)


def test_an_entry_of_a_list_of_strings_or_numbers() -> None:
    text = edited(("epochs: 3", "epochs: 3\n  exclude_from_weight_decay: [a, b]\n  class_weights: [1, 2]"))
    training = tree("training.exclude_from_weight_decay[1]=017", "training.class_weights.0=5", text=text)["training"]
    assert training["exclude_from_weight_decay"] == ["a", "017"]
    assert training["class_weights"] == [5, 2]


def test_a_class_with_a_number_for_a_name() -> None:
    text = edited(("cifar10", "mnist"), ("epochs: 3", 'epochs: 3\n  class_weights: {"3": 1}'))
    assert tree("training.class_weights.3=2", "training.class_weights.7=4", text=text)["training"]["class_weights"] == {
        "3": 2,
        "7": 4,
    }


@pytest.mark.parametrize("name", ["007", "00042", "-0", "+7"])
def test_a_class_whose_name_a_number_would_lose(name: str) -> None:
    text = edited(("epochs: 3", 'epochs: 3\n  class_weights: {"7": 1}'))
    training = tree(f"training.class_weights.{name}=2", text=text)["training"]
    assert training["class_weights"] == {"7": 1, name: 2}


def test_a_failed_override_changes_nothing_and_is_reported_alone() -> None:
    with pytest.raises(ConfigError) as caught:
        load("training.schedule.ExponentialDecay.decay_rat=0.5")
    (problem,) = caught.value.problems
    assert problem.place.override == "training.schedule.ExponentialDecay.decay_rat=0.5"
    assert "did you mean `decay_rate`" in problem.message


def test_an_override_through_one_use_of_an_alias_leaves_the_others() -> None:
    text = edited(
        ("filters: 8, kernel_size: 3, padding: same}", "<<: &c {filters: 8, kernel_size: 3, padding: same}}"),
        ("BatchNormalization", "Conv2D: *c"),
    )
    layers = load("model.layers[1].Conv2D.filters=16", text=text).config.to_plain()["model"]["layers"]
    assert [layers[0]["Conv2D"]["filters"], layers[1]["Conv2D"]["filters"]] == [8, 16]


def test_a_relative_folder_belongs_to_the_working_folder(in_a_folder: Path) -> None:
    (in_a_folder / "configs").mkdir()
    Path("configs/c.yaml").write_text(edited(("name: cifar10", "folder: pictures")))
    schema = Schema("model", model=RunConfig)
    root = read_tree("configs/c.yaml", schema)
    assert root.plain()["data"]["folder"] == str(in_a_folder / "configs" / "pictures")
    apply_override(root, "training.epochs=5", schema)
    assert root.plain()["data"]["folder"] == str(in_a_folder / "configs" / "pictures")
    apply_override(root, "data.folder=mine/../others", schema)
    assert root.plain()["data"]["folder"] == str(in_a_folder / "others")
    apply_override(root, "data={folder: ~/x}", schema)
    assert root.plain()["data"]["folder"] == str(Path("~/x").expanduser())


def test_a_negative_number_counts_from_the_end() -> None:
    config = load("model.layers[-2].Dropout.rate=0.25", "model.layers.-1.Dense.use_bias=false").config
    assert config.to_plain()["model"]["layers"][5] == {"Dropout": {"rate": 0.25}}
    assert config.to_plain()["model"]["layers"][6]["Dense"]["use_bias"] is False


def test_a_key_takes_the_place_of_what_it_excludes() -> None:
    assert tree("data.folder=/x")["data"] == {"folder": "/x", "batch_size": 64}
    assert tree("data.folder=/x", "data.name=mnist")["data"] == {"batch_size": 64, "name": "mnist"}
    clipped = tree("training.optimizer.SGD.clipnorm=1", "training.optimizer.SGD.clipvalue=2")["training"]["optimizer"]
    assert clipped == {"SGD": {"learning_rate": 0.1, "momentum": 0.9, "clipvalue": 2}}
    assert tree("data.folder=null")["data"] == {"name": "cifar10", "batch_size": 64, "folder": None}


@pytest.mark.parametrize(("path", "clearable"), [("model.layers", True), ("model.layers[0]", False), ("seed", False)])
def test_null_is_offered_only_where_it_is_a_value(path: str, clearable: bool) -> None:
    """A list may be left out; what stands in it is a layer."""
    with pytest.raises(ConfigError) as caught:
        tree(f"{path}=")
    assert ("`null` clears it" in str(caught.value)) == clearable
