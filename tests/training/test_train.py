"""Training as a user relies on it: what it draws from the seed, what it keeps when it fails, what model.keras holds."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import config, rows, run_training, state, weights, write

from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.training import callbacks
from cnnkit.training.loop import Loop
from cnnkit.training.preparation import prepare


def initial_weights(folder: Path, content: dict[str, Any]) -> dict[str, np.ndarray]:
    model = prepare(load_config(write(folder, content))).model
    found: dict[str, np.ndarray] = {}
    for layer in model.layers:
        for weight in layer.weights:
            found[f"{type(layer).__name__}{tuple(weight.shape)}/{weight.name}"] = np.asarray(weight)
    return found


INSERTIONS: list[tuple[int, Any]] = [
    (0, {"GaussianNoise": 0.1}),
    (2, {"LayerNormalization": {}}),
    (3, {"Conv2D": {"filters": 8, "kernel_size": 1}}),
    (6, {"AlphaDropout": 0.1}),
]


@pytest.mark.parametrize(("place", "layer"), INSERTIONS)
def test_an_inserted_layer_leaves_the_other_initial_weights(tmp_path: Path, place: int, layer: Any) -> None:
    before = initial_weights(tmp_path, config())
    layers = list(config()["model"]["layers"])
    layers.insert(place, layer)
    after = initial_weights(tmp_path, config(model={"layers": layers}))
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)


def first_batches(folder: Path, content: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    from cnnkit.training.loop import Position
    from cnnkit.training.preparation import training_batches

    training = training_batches(prepare(load_config(write(folder, content))), Position(1), epochs=1)
    return [(np.asarray(images), np.asarray(labels)) for images, labels in training.take(3)]


def test_added_layers_and_augmentation_leave_the_data_order(tmp_path: Path) -> None:
    plain = first_batches(tmp_path, config(augmentation=[]))
    layers = [{"GaussianNoise": 0.1}, *config()["model"]["layers"]]
    with_noise = first_batches(tmp_path, config(augmentation=[], model={"layers": layers}))
    augmented = first_batches(tmp_path, config(augmentation=[{"RandomRotation": 0.1}]))
    more = first_batches(tmp_path, config(augmentation=[{"RandomContrast": 0.1}, {"RandomRotation": 0.1}]))
    for (images, labels), (noisy, noisy_labels), (_, a), (_, b) in zip(plain, with_noise, augmented, more, strict=True):
        np.testing.assert_array_equal(images, noisy)
        for others in (noisy_labels, a, b):
            np.testing.assert_array_equal(labels, others)


@pytest.mark.long
def test_model_keras_holds_the_averaged_weights(tmp_path: Path) -> None:
    """Without validation the last epoch is kept, so that the checkpoint's average must be the model's kernel."""
    run = run_training(tmp_path, config(data={"validation": 0}, training={"schedule": None, "epochs": 2}), "run")
    with np.load(run.checkpoint) as archive:
        raw = next(archive[name] for name in archive.files if name.endswith("Conv2D/kernel"))
        averages = [archive[name] for name in archive.files if "average" in name]
    kernel = weights(run)[0]
    assert not np.array_equal(kernel, raw)
    assert any(average.shape == kernel.shape and np.array_equal(average, kernel) for average in averages)


def test_validation_figures_are_those_of_the_averaged_weights(small_run: Run) -> None:
    """The best epoch's row agrees with plain Keras on model.keras; the validation loss is not smoothed."""
    import keras

    from cnnkit import data

    run = small_run
    loaded = load_config(str(run.config)).config
    validation = data.load(loaded.data, loaded.seed, splits=("validation",)).validation
    assert validation is not None
    assert validation.images is not None
    model = keras.models.load_model(run.model, compile=False)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(validation.images, validation.labels, verbose=0)
    row = rows(run)[state(run)["best_epoch"] - 1]
    assert float(row["val_accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    assert float(row["val_loss"]) == pytest.approx(loss, rel=1e-5)


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_epoch(tmp_path: Path) -> None:
    content = config(
        augmentation=[],
        training={
            "optimizer": {"SGD": {"learning_rate": 0.05}},
            "schedule": {"PiecewiseConstantDecay": {"boundaries_epochs": [1], "values": [0.05, 1e30]}},
        },
    )
    with pytest.raises(CnnkitError, match=r"became (nan|inf).* in epoch [23]|non-finite in epoch [23]") as caught:
        run_training(tmp_path, content, "run")
    run = Run(tmp_path / "run")
    assert "kept" in str(caught.value)
    kept = rows(run)
    assert 1 <= len(kept) <= 2
    assert all(math.isfinite(float(value)) for row in kept for value in row.values())
    assert state(run)["epochs_done"] == len(kept)
    assert all(np.isfinite(w).all() for w in weights(run))


@pytest.mark.long
def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    content = config(data={"validation": 0}, training={"schedule": None, "optimizer": "Adam", "epochs": 2})
    run = run_training(tmp_path, content, "run")
    assert list(rows(run)[0]) == ["epoch", "loss", "accuracy", "learning_rate"]
    with np.load(run.checkpoint) as archive:
        kernel = next(archive[name] for name in archive.files if name.endswith("Conv2D/kernel"))
    np.testing.assert_array_equal(weights(run)[0], kernel)


PLAIN_KERAS = """
import json, sys
import numpy as np
import keras
model = keras.models.load_model(sys.argv[1])
images = np.load(sys.argv[2])
np.save(sys.argv[3], model.predict(images, verbose=0))
assert not any(name.split(".")[0] == "cnnkit" for name in sys.modules)
"""


@pytest.mark.long
def test_model_keras_opens_in_plain_keras_without_cnnkit(tmp_path: Path) -> None:
    """LRN, Maxout, explicit and full padding, a warm-up, raw 0..255 images."""
    layers = [
        {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": 1, "activation": "relu"}},
        "LocalResponseNormalization",
        {"MaxPooling2D": {"pool_size": 3, "strides": 2, "padding": 1}},
        {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "full"}},
        {"Maxout": 4},
        {"AveragePooling2D": {"pool_size": 2, "padding": 1}},
        "Flatten",
        {"Dense": {"units": 12}},
        {"Maxout": 6},
        {"Dense": {"units": "classes", "activation": "softmax"}},
    ]
    content = config(model={"layers": layers}, training={"epochs": 1, "warmup_epochs": 0.5, "schedule": "CosineDecay"})
    run = run_training(tmp_path, content, "run")
    from cnnkit.runs.evaluation import evaluate_run

    metrics = evaluate_run(open_run(run))
    from cnnkit import data

    test = data.load(load_config(str(run.config)).config.data, 3, splits=("test",)).test
    assert test is not None
    np.save(tmp_path / "images.npy", test.read(np.arange(test.size)))
    script = tmp_path / "plain.py"
    script.write_text(PLAIN_KERAS)
    subprocess.run(
        [sys.executable, str(script), str(run.model), str(tmp_path / "images.npy"), str(tmp_path / "out.npy")],
        check=True,
        cwd=tmp_path,
        capture_output=True,
    )
    plain = np.load(tmp_path / "out.npy")
    with run.predictions.open() as stream:
        table = list(csv.reader(stream))
    ours = np.asarray([[float(value) for value in row[-10:]] for row in table[1:]])
    np.testing.assert_allclose(plain, ours, atol=2e-6)
    assert metrics["accuracy"] == pytest.approx((plain.argmax(1) == test.labels).mean())


def test_class_weights_find_their_class_in_either_spelling() -> None:
    from cnnkit.config.training import TrainingConfig
    from cnnkit.tasks.classification.training import class_weights

    training = TrainingConfig.model_validate({"class_weights": {unicodedata.normalize("NFC", "café"): 3}})
    weights = class_weights(training, np.array([0, 1]), ("a", unicodedata.normalize("NFD", "café")))
    assert weights is not None
    assert weights.tolist() == [1, 3]


def test_balanced_class_weights_are_scikit_learns() -> None:
    """A class that the data do not have changes nothing for the others, as with scikit-learn."""
    from sklearn.utils.class_weight import compute_class_weight

    from cnnkit.config.training import TrainingConfig
    from cnnkit.tasks.classification.training import class_weights, finish_targets

    labels = np.asarray([0] * 5 + [1] * 20 + [2] * 75)
    training = TrainingConfig.model_validate({"class_weights": "balanced"})
    ours = class_weights(training, labels, ("a", "b", "c", "unseen"))
    assert ours is not None
    np.testing.assert_allclose(ours[:3], compute_class_weight("balanced", classes=np.arange(3), y=labels), rtol=1e-6)
    finish = finish_targets(ours)
    assert finish is not None
    mixed = np.asarray([[1, 0, 0, 0], [0, 0.5, 0.5, 0]], np.float32)
    _, targets, sample_weights = finish({"images": np.zeros((2, 1)), "labels": mixed})
    np.testing.assert_allclose(sample_weights, [ours[0], (ours[1] + ours[2]) / 2], rtol=1e-6)
    np.testing.assert_array_equal(targets, mixed)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_label_smoothing_is_keras_own_in_training_and_absent_elsewhere(tmp_path: Path, activation: str) -> None:
    import keras

    layers = ["Flatten", {"Dense": {"units": "classes", "activation": activation}}]
    content = config(
        augmentation=[],
        model={"layers": layers},
        training={"label_smoothing": 0.2, "schedule": None, "optimizer": "SGD", "metrics": ["AUC"]},
    )
    model = prepare(load_config(write(tmp_path, content))).model
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 8, 8, 1)).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[random.integers(0, 10, 20)]
    outputs = model(images)
    kind = keras.losses.CategoricalCrossentropy if activation == "softmax" else keras.losses.BinaryCrossentropy
    plain, smooth = kind()(labels, outputs), kind(label_smoothing=0.2)(labels, outputs)
    measured = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert measured["loss"] == pytest.approx(float(plain), rel=1e-5)
    trained = model.train_on_batch(images, labels, return_dict=True)
    assert trained["loss"] == pytest.approx(float(smooth), rel=1e-5)
    # A metric of the training batches sees the labels as they are.
    assert trained["auc"] == pytest.approx(measured["auc"], rel=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_with_a_float32_head(tmp_path: Path, policy: str) -> None:
    run = run_training(tmp_path, config(augmentation=[], training={"dtype_policy": policy, "epochs": 2}), "run")
    import keras

    model = keras.models.load_model(run.model, compile=False)
    assert model.layers[1].compute_dtype == policy.removeprefix("mixed_")
    assert model.layers[-1].compute_dtype == "float32"
    assert float(rows(run)[-1]["loss"]) < float(rows(run)[0]["loss"])


@pytest.mark.long
def test_every_kind_of_training_option_trains(tmp_path: Path) -> None:
    training = {
        "epochs": 2,
        "warmup_epochs": 0.5,
        "optimizer": {
            "SGD": {
                "learning_rate": 0.05,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 5e-4,
                "global_clipnorm": 1.0,
                "gradient_accumulation_steps": 2,
            }
        },
        "schedule": {"ReduceLROnPlateau": {"monitor": "accuracy", "patience": 0, "min_delta": 0.9}},
        "exclude_from_weight_decay": ["bias", "gamma", "beta"],
        "metrics": ["AUC", {"TopKCategoricalAccuracy": 3}],
        "class_weights": "balanced",
        "loss": {"CategoricalFocalCrossentropy": {"gamma": 1.0}},
        "tensorboard": True,
    }
    run = run_training(tmp_path, config(training=training, augmentation=[{"MixUp": 0.2}]), "run")
    last = rows(run)[-1]
    assert {"auc", "val_auc", "top_k_categorical_accuracy", "val_top_k_categorical_accuracy"} <= set(last)
    assert float(rows(run)[0]["loss"]) > float(last["loss"])
    assert list(run.tensorboard.rglob("events*"))


#: Does what it is told with runs, `train` or `evaluate`, and prints after each what ran.
TRAIN_AND_EVALUATE = """
import io, json, sys
from pathlib import Path
from cnnkit.machine import tensorflow as runtime
from cnnkit.config.load import load_config
from cnnkit.terminal.console import Console
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import EvaluationOptions, evaluate_run
from cnnkit.runs.trained import open_run
from cnnkit.training.train import train
for action, file, folder in json.loads(sys.argv[1]):
    if action == "train":
        train(load_config(file), Console(stream=io.StringIO()), folder)
    run = Run(Path(folder))
    settings = run.read_json(run.environment)["settings"]
    accuracy = evaluate_run(open_run(run), EvaluationOptions("validation"))["accuracy"]
    figures = [settings["onednn"], settings["jit_compile"], runtime.onednn_in_use(), accuracy]
    print(json.dumps({"figures": figures}), flush=True)
"""

#: XLA alone trains this one on a CPU, where oneDNN is off.
STRIDED_DEPTHWISE = config(
    model={
        "layers": [
            {"DepthwiseConv2D": {"kernel_size": 3, "strides": [1, 2]}},
            "Flatten",
            {"Dense": {"units": "classes", "activation": "softmax"}},
        ]
    },
    training={"epochs": 1, "schedule": None},
)

STRIDED_POINT = config(
    data={"name": "digits", "batch_size": 7},
    model={
        "layers": [
            {"Conv2D": {"filters": 4, "kernel_size": 3, "padding": "same"}},
            {"Conv2D": {"filters": 8, "kernel_size": 1, "strides": 2}},
            "Flatten",
            {"Dense": "classes"},
        ]
    },
    training={"epochs": 2},
)


def ran(
    folder: Path, onednn: str, *actions: tuple[str, str, str]
) -> tuple[list[Any], subprocess.CompletedProcess[str]]:
    """What a process printed that has oneDNN on or off, and how it ended."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_EVALUATE, json.dumps(actions)], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn},
    )  # fmt: skip
    printed = [line for line in done.stdout.splitlines() if line.startswith('{"figures"')]
    return [json.loads(line)["figures"] for line in printed], done


@pytest.fixture(scope="module")
def with_onednn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any], subprocess.CompletedProcess[str]]:
    """A process with oneDNN that trains one of both: its folder, what it printed, and how it ended."""
    folder = tmp_path_factory.mktemp("onednn")
    files = (write(folder, STRIDED_DEPTHWISE, "depthwise.yaml"), write(folder, STRIDED_POINT, "point.yaml"))
    return folder, *ran(folder, "1", ("train", files[0], "depthwise"), ("train", files[1], "point"))


@pytest.mark.long
def test_layers_that_need_xla_on_a_cpu_turn_it_on_where_onednn_is_off(with_onednn: Any) -> None:
    """Both in training and where a run that did without is evaluated."""
    folder, printed, done = with_onednn
    assert printed, done.stderr
    trained = printed[0]
    file = str(folder / "depthwise.yaml")
    printed, done = ran(folder, "0", ("evaluate", file, "depthwise"), ("train", file, "without"))
    assert done.returncode == 0, done.stderr
    later, without = printed
    assert without[:3] == [False, True, False]
    if trained[0]:
        assert trained[1:3] == [False, True]
        assert later[:3] == [True, False, False]
    assert later[3] == pytest.approx(trained[3], abs=0.02)


@pytest.mark.long
def test_strided_points_of_few_channels_do_not_write_beyond_their_memory(with_onednn: Any) -> None:
    """oneDNN's gradient of such kernels does with AVX-512, for batches of odd sizes; plain Keras dies there."""
    _, printed, done = with_onednn
    assert done.returncode == 0, done.stderr
    onednn, jit, *_ = printed[1]
    assert jit is onednn


class Figure:
    """A figure of a batch, which notes that somebody reads it."""

    def __init__(self, value: Any, reads: list[str]) -> None:
        self.value, self.reads = value, reads

    def _read(self) -> Any:
        self.reads.append("read")
        return self.value

    def __float__(self) -> float:
        return float(self._read())

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        return np.asarray(self._read())

    def numpy(self) -> np.ndarray:
        return np.asarray(self._read())


@contextlib.contextmanager
def figures_watched() -> Iterator[list[str]]:
    """Inside the block, what trainings hand to their callbacks at a batch's end notes its readers."""
    reads: list[str] = []
    take = Loop.take

    def watched(self: Any, count: int) -> dict[str, Any]:
        return {key: Figure(value, reads) for key, value in take(self, count).items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "take", watched)
        yield reads


@pytest.mark.long
def test_no_step_waits_for_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is read after an execution unless the progress is due."""
    content = config(
        augmentation=[],
        model={"layers": ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]},
        training={
            "epochs": 1,
            "early_stopping": {"monitor": "val_loss", "patience": 3},
            "tensorboard": True,
            "steps_per_execution": 1,
        },
    )
    monkeypatch.setattr(callbacks, "SECONDS_BETWEEN_LOOKS", math.inf)
    with figures_watched() as reads:
        run_training(tmp_path, content, "unseen")
    assert reads == []
    # They would be noticed: progress at every step reads.
    monkeypatch.setattr(callbacks, "SECONDS_BETWEEN_LOOKS", 0)
    with figures_watched() as reads:
        run_training(tmp_path, content, "seen")
    # 21 batches of 64 of the 1,293 images.
    assert len(reads) >= 21


@pytest.mark.long
def test_a_missing_data_set_is_reported_before_tensorflow_loads(tmp_path: Path) -> None:
    content = config(data={"name": "fashion_mnist", "download": False})
    script = (
        "import sys, io\n"
        "from cnnkit.config.load import load_config\n"
        "from cnnkit.terminal.console import Console\n"
        "from cnnkit.errors import CnnkitError\n"
        "from cnnkit.training.train import train\n"
        "try:\n"
        "    train(load_config(sys.argv[1]), Console(stream=io.StringIO()))\n"
        "except CnnkitError as error:\n"
        "    assert 'tensorflow' not in sys.modules\n"
        "    print(error)\n"
    )
    file = write(tmp_path, content)
    done = subprocess.run(
        [sys.executable, "-c", script, file], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path / "none")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for way_out in ("network", "TFDS_DATA_DIR", "folder:"):
        assert way_out in done.stdout
    assert not (tmp_path / "runs").exists()
