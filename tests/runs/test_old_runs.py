"""A run whose config is refused by a rule that came later is as useful as before, for all that does not train it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damages import run_command

from cnnkit.config.load import load_config
from cnnkit.config.recorded import load_recorded
from cnnkit.errors import EXIT_FAILED, CnnkitError, ConfigError, UsageError
from cnnkit.format.document import dump
from cnnkit.runs.config import load_named
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run

DENSE = {"Dense": {"units": "classes", "activation": "softmax"}}
BASE: dict[str, Any] = {
    "data": {"name": "digits", "batch_size": 256},
    "augmentation": [{"RandomRotation": 0.1}],
    "model": {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 3}}, "Flatten", DENSE]},
    "training": {"epochs": 1, "tensorboard": False},
}


def conv(**arguments: Any) -> dict[str, Any]:
    return {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 3, **arguments}}, "Flatten", DENSE]}


#: What runs may hold that is refused: changes of sections, where the fault lies, and the sections that remain.
REFUSED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "metric": (
        {
            "training": {
                "metrics": [{"TopKCategoricalAccuracy": 50}, {"TopKCategoricalAccuracy": {"k": 3, "name": "top3"}}]
            }
        },
        "metrics[0]",
        {"training": {"metrics": [{"TopKCategoricalAccuracy": {"k": 3, "name": "top3"}}]}},
    ),
    "part of a name": (
        {"training": {"optimizer": {"SGD": {"weight_decay": 0.1}}, "exclude_from_weight_decay": ["bet", "bias"]}},
        "exclude_from_weight_decay[0]",
        {"training": {"optimizer": {"SGD": {"weight_decay": 0.1}}, "exclude_from_weight_decay": ["bias"]}},
    ),
    "smoothing": (
        {"training": {"loss": "Hinge", "label_smoothing": 0.1}},
        "label_smoothing",
        {"training": {"loss": "Hinge"}},
    ),
    "two augmentations": (
        {"augmentation": [{"RandomRotation": 9e9}, {"RandomFlip": "horizontal"}, {"CutMix": -1}]},
        "augmentation[0]",
        {"augmentation": [{"RandomFlip": "horizontal"}]},
    ),
    "bound": ({"training": {"threads": 10**9}}, "threads", {}),
    "unknown key": ({"training": {"from_before": {"a": [1]}}}, "from_before", {}),
    "metric that is watched": (
        {"training": {"metrics": [{"TopKCategoricalAccuracy": 50}], "monitor": "val_top_k_categorical_accuracy"}},
        "metrics[0]",
        {},
    ),
    "regularizer": ({"model": conv(kernel_regularizer={"L2": -1})}, "kernel_regularizer", {}),
}


def merged(changes: dict[str, Any]) -> dict[str, Any]:
    whole = dict(BASE)
    for section, content in changes.items():
        whole[section] = {**BASE[section], **content} if section == "training" else content
    return whole


def write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(dump(content))
    return str(path)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_left_out_alone(tmp_path: Path, kind: str) -> None:
    changes, place, remaining = REFUSED[kind]
    file = write(tmp_path / "config.yaml", merged(changes))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert place in str(caught.value)
    expected = load_config(write(tmp_path / "expected.yaml", merged(remaining)))
    loaded = load_recorded(file)
    assert loaded.config == expected.config
    assert loaded.info == expected.info
    assert any(place in problem.path for problem in loaded.left_out)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": conv(filters=0)},
        {"model": {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 99}}, "Flatten", DENSE]}},
        {"model": {"layers": []}},
        {"data": {"nome": "digits"}},
        {"data": 3},
    ],
)
def test_a_config_that_does_not_tell_the_network_stays_wrong(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = write(tmp_path / "config.yaml", merged(changes))
    with pytest.raises(ConfigError) as strict:
        load_config(file)
    with pytest.raises(ConfigError) as recorded:
        load_recorded(file)
    assert {problem.path for problem in recorded.value.problems} == {problem.path for problem in strict.value.problems}


def test_a_name_that_layers_may_have_no_more_is_kept_in_runs_alone(tmp_path: Path) -> None:
    inner = {"Residual": {"layers": [{"Conv2D": {"filters": 1, "kernel_size": 1, "name": "_inner"}}]}}
    layers = [inner, *conv(name="_stem")["layers"]]
    file = write(tmp_path / "config.yaml", merged({"model": {"layers": layers}}))
    assert load_recorded(file).config.model.layers[1].name == "_stem"
    with pytest.raises(ConfigError, match="_inner"):
        load_config(file)


# --- Through the commands -----------------------------------------------------------------------------


@pytest.fixture
def run(digits_run: Run, tmp_path: Path) -> Run:
    """A run of a config that is refused today, with the weights of one that is not."""
    run = Run(tmp_path / "run")
    shutil.copytree(digits_run.path, run.path)
    content = load_config(str(run.config)).config.to_plain()
    content["training"] |= {"loss": "Hinge", "label_smoothing": 0.1}
    change(run, content)
    return run


def change(run: Run, content: dict[str, Any]) -> None:
    write(run.config, content)


def test_it_is_measured_as_before(run: Run, digits_run: Run, caplog: pytest.LogCaptureFixture) -> None:
    from cnnkit.runs.evaluation import evaluate_run

    before, now = open_run(digits_run).evaluation, evaluate_run(open_run(run))
    assert (now["accuracy"], now["cross_entropy"]) == (before["accuracy"], before["cross_entropy"])
    # Hinge of Keras: the mean of max(1 - y p, 0) for y of -1 and 1, over images and classes.
    from cnnkit.tasks.classification.predictions import read_predictions

    told = read_predictions(open_run(run))
    signs = 2 * np.eye(10)[told.labels] - 1
    assert now["loss"] == pytest.approx(np.maximum(1 - signs * told.probabilities, 0).mean(), abs=1e-3)
    assert caplog.text.count("training.label_smoothing") == 1


@pytest.mark.parametrize(
    "command", [("inspect",), ("diff",), ("show", "architecture", "-o", "a.svg"), ("show", "curves")]
)
def test_it_is_looked_at(run: Run, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path.parent)
    arguments = ("run", "run") if command == ("diff",) else ("run",)
    assert run_command(*command, *arguments).exit_code == 0


def test_its_training_does_not_go_on_and_that_is_said(run: Run) -> None:
    result = run_command("train", "--resume", run.path, "--set", "training.epochs=2")
    assert isinstance(result.exception, UsageError)
    assert "training.label_smoothing" in str(result.exception)
    assert "can be used as it is" in str(result.exception)
    assert run.model.exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"name": "mnist", "splits": {"validation": "test"}}, "takes of the test split"),
        ({"name": "digits", "validation": 7}, "below 1"),
        ({"name": "digits", "folders": "x", "seed": 3}, "unknown key"),
    ],
)
def test_other_images_are_not_measured_for_its_test_split(run: Run, data: dict[str, Any], reason: str) -> None:
    change(run, BASE | {"data": data})
    assert open_run(run).loaded.info.shape == (8, 8, 1)
    with pytest.raises(CnnkitError, match=reason) as caught:
        open_run(run).check_images()
    assert "--data FOLDER" in str(caught.value)
    result = run_command("eval", run.path)
    assert isinstance(result.exception, CnnkitError)
    assert result.exception.exit_code == EXIT_FAILED


def test_what_decides_nothing_of_the_images_does_not_keep_from_measuring_them(run: Run) -> None:
    change(run, BASE | {"data": {"name": "digits", "batch_size": 10**12, "memory": "disk"}})
    trained = open_run(run)
    trained.check_images()
    expected = load_config(write(run.path / "x.yaml", BASE | {"data": {"name": "digits"}}))
    assert trained.data == expected.config.data


def test_a_run_is_described_by_what_it_noted_of_its_images(run: Run) -> None:
    """Not by what the folder would be taken for today, nor only where it is."""
    change(run, BASE | {"data": {"folder": "gone"}})
    loaded = load_named(str(run.path))
    assert (loaded.info.shape, loaded.info.classes) == ((8, 8, 1), 10)
    with pytest.raises(CnnkitError, match="are not here"):
        open_run(run).check_images()


def test_a_network_with_such_a_name_is_computed() -> None:
    import keras

    from cnnkit.runs.inference import compile_network

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax", name="_stem")])
    images = np.ones((2, 4), np.float32)
    given = compile_network(model, head="softmax", dtype="float32")(images)
    assert np.allclose(given, model(images), atol=1e-6)
