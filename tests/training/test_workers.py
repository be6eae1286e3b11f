"""Several processes, or devices, that train one network: what one device learns with the same batches."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cnnkit.runs.directory import Run
from tests.commands import run as command
from tests.training.workers import (
    LONGEST,
    kill,
    launched,
    train_alone,
    train_by,
    training_by,
    wait_for_checkpoint,
    wait_until_gone,
    worker_pids,
    write_time,
)
from tests.trainings import config, rows, weights

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="the workers' processes are found in /proc"),
]


def network(**training: Any) -> dict[str, Any]:
    """Dropout, augmentation, synchronized batch normalization, and a last batch of 13 images."""
    momentum = {"SGD": {"learning_rate": 0.05, "momentum": 0.9, "global_clipnorm": 1.0}}
    content = config(training={"epochs": 2, "optimizer": momentum, "schedule": None, **training})
    # A bias before batch normalization has no gradient but rounding.
    content["model"]["layers"][0]["Conv2D"]["use_bias"] = False
    return content


def figures(run: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items()} for row in rows(Run(run))]


def assert_as_one(run: Path, one: Path, epochs: int = 1, tolerance: float = 1e-6) -> None:
    """The figures of the first epochs, and what comes of the last one, are those of one device."""
    for ours, theirs in zip(figures(run)[:epochs], figures(one)[:epochs], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=tolerance)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=10 * tolerance)
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=1e-6)
    ours, theirs = (json.loads((path / "evaluation.json").read_text()) for path in (run, one))
    assert ours["images"] == theirs["images"]
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_alone(tmp_path_factory.mktemp("one"), network(), "one")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No checkpoint within an epoch; the runs that are held against it write one after every execution."""
    return train_by(2, tmp_path_factory.mktemp("two"), network(), "two")


def test_two_workers_learn_what_one_does(one: Path, two: Path) -> None:
    assert_as_one(two, one, epochs=2)
    settings = json.loads((two / "environment.json").read_text())["settings"]
    assert (settings["strategy"], settings["workers"], settings["replicas"]) == ("multi_worker", 2, 2)


def assert_equal(run: Path, other: Path) -> None:
    """Two runs are equal to the last bit."""
    assert rows(Run(run)) == rows(Run(other))
    for ours, theirs in zip(weights(Run(run)), weights(Run(other)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("evaluation.json", "predictions.csv"):
        assert (run / name).read_bytes() == (other / name).read_bytes()


def test_a_worker_that_is_killed_costs_nothing(two: Path, tmp_path: Path) -> None:
    """The others are ended, all start again from the last checkpoint, and the run becomes what it would have been.

    Once it is the other worker, once the one that writes.
    """
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(network(checkpoint_minutes=1e-6), sort_keys=False), "utf-8")
    run = tmp_path / "run"
    written = 0
    with training_by(2, [str(file), "--run-dir", str(run), "--no-report"], tmp_path, restarts=2) as launcher:
        for rank in (1, 0):
            wait_for_checkpoint(run, written)
            pids = worker_pids(launcher.pid)
            kill(pids[rank], signal.SIGKILL)
            # Until both are gone, the one that was left may still write.
            wait_until_gone(launcher.pid, pids)
            written = write_time(run)
        said, _ = launcher.communicate(timeout=LONGEST)
    assert launcher.returncode == 0, said
    for rank in (1, 0):
        assert f"worker {rank} was killed by signal 9 (SIGKILL)" in said
    assert said.count("restarting from") == 2
    assert_equal(run, two)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_hangs_is_noticed_within_30_seconds(rank: int, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    # What they compute does not matter.
    content = network(epochs=10_000, checkpoint_minutes=1e-6)
    content |= {"augmentation": [], "model": {"layers": ["Flatten", content["model"]["layers"][-1]]}}
    file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    run = tmp_path / "run"
    with training_by(2, [str(file), "--run-dir", str(run)], tmp_path) as launcher:
        wait_for_checkpoint(run)
        kill(worker_pids(launcher.pid)[rank], signal.SIGSTOP)
        begin = time.monotonic()
        said, _ = launcher.communicate(timeout=LONGEST)
    assert time.monotonic() - begin < 30
    assert launcher.returncode == 1
    # Though TensorFlow in the other worker may be first.
    assert f"worker {rank} has not answered" in said
    assert "cnnkit launch --workers 2 train --resume run" in said


def test_workers_that_are_told_to_end_save_and_leave_together(two: Path, tmp_path: Path) -> None:
    """Two workers and the launcher; TensorFlow would keep SIGTERM from them."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(network(checkpoint_minutes=1e-6), sort_keys=False), "utf-8")
    run = tmp_path / "run"
    arguments = ["--run-dir", str(run), "--no-report"]
    with training_by(2, [str(file), *arguments], tmp_path) as launcher:
        wait_for_checkpoint(run)
        launcher.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        said, _ = launcher.communicate(timeout=LONGEST)
    assert launcher.returncode == 143, said
    assert time.monotonic() - begin < 20
    assert "did not leave" not in said
    assert "ended by SIGTERM" in said
    assert "Continue with: cnnkit launch --workers 2 train --resume" in said
    done = subprocess.run(
        launched(2, ["--resume", str(run), "--no-report"]),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert_equal(run, two)


def test_four_workers_that_slurm_names_learn_what_one_does(one: Path, tmp_path: Path) -> None:
    """The tasks of a job step, as Slurm starts them, without a launcher."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(network(strategy="multi_worker"), sort_keys=False), "utf-8")
    step = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "4"}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-m", "cnnkit", "train", str(file), "--run-dir", str(tmp_path / "run"), "--no-report"],
            env={**os.environ, **step, "SLURM_PROCID": str(rank)},
            stdout=subprocess.DEVNULL,
        )
        for rank in range(4)
    ]
    assert [task.wait(LONGEST) for task in tasks] == [0] * 4
    settings = json.loads((tmp_path / "run" / "environment.json").read_text())["settings"]
    assert (settings["workers"], settings["replicas"]) == (4, 4)
    assert_as_one(tmp_path / "run", one, epochs=2)


def test_another_number_of_workers_has_to_be_allowed(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(two, run)
    arguments = ["train", "--resume", str(run), "--set", "training.epochs=3"]
    assert command(arguments, monkeypatch) == 2
    refused = capsys.readouterr().err
    assert "was trained by 2 workers, and here 1 worker would go on" in refused
    assert f"cnnkit launch --workers 2 train --resume {run}" in refused
    # On one thread, as each of the workers, which is a matter of the whole process.
    taken = subprocess.run(
        [sys.executable, "-m", "cnnkit", *arguments, "--allow-other-workers", "--no-report"],
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert taken.returncode == 0, taken.stderr
    environment = json.loads((run / "environment.json").read_text())
    assert environment["resumed"][-1]["replicas"] == [2, 1]
    assert environment["settings"]["strategy"] == "one_device"
    assert len(figures(run)) == 3


#: Optimizers and losses that Keras itself cannot train on several devices, or trains otherwise there.
DIFFICULT: dict[str, dict[str, Any]] = {
    "accumulation": {"optimizer": {"SGD": {"learning_rate": 0.05, "momentum": 0.9, "gradient_accumulation_steps": 3}}},
    "averaged weights, class weights, smoothing": {
        "optimizer": {"SGD": {"learning_rate": 0.05, "use_ema": True, "ema_overwrite_frequency": 5}},
        "class_weights": "balanced",
        "label_smoothing": 0.1,
    },
    # The second stage begins with the average of the first, and learns at shares of the rate.
    "stages, clipping, decay": {
        "epochs": 2,
        "optimizer": {"AdamW": {"learning_rate": 0.003, "weight_decay": 0.1, "global_clipnorm": 0.5}},
        "layer_decay": 0.5,
        "stages": [
            {"epochs": 1, "freeze": "0.Conv2D", "optimizer": {"SGD": {"learning_rate": 0.05, "use_ema": True}}},
            {"epochs": 1, "unfreeze": "all", "freeze": "1.BatchNormalization"},
        ],
    },
}

#: Trains each config of a folder on two devices that the processor is divided into.
MIRRORED = """
import sys
from pathlib import Path
from cnnkit.machine.tensorflow import load_tensorflow
tf = load_tensorflow()
parts = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
from cnnkit.config.load import load_config
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.terminal.console import Console
from cnnkit.training.train import train
for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    loaded = load_config(str(file), ["training.strategy=mirrored"])
    evaluate_run(train(loaded, Console(), f"{file}.mirrored"))
"""


def test_two_devices_of_a_machine_learn_what_one_does(tmp_path: Path) -> None:
    contents = [network(**{"epochs": 1, "label_smoothing": 0.0, **training}) for training in DIFFICULT.values()]
    for place, content in enumerate(contents):
        (tmp_path / f"{place}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(tmp_path)], capture_output=True, text=True, timeout=LONGEST
    )
    assert done.returncode == 0, done.stderr
    for place, content in enumerate(contents):
        run = tmp_path / f"{place}.yaml.mirrored"
        assert json.loads((run / "environment.json").read_text())["settings"]["replicas"] == 2
        assert_as_one(run, train_alone(tmp_path, content, f"{place}.alone"), content["training"]["epochs"])


@pytest.mark.parametrize("loss", [None, "Dice"])
def test_masks_with_pixels_that_do_not_count(loss: str | None, tmp_path: Path) -> None:
    """A loss over the pixels that count, or over whole regions, is that of the batch, not the mean of its shares'."""
    from PIL import Image

    values = np.random.default_rng(0)
    folder = tmp_path / "scenes"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\nbox\n", "utf-8")
    for number in range(50):
        mask = np.zeros((12, 16), np.uint8)
        top, left = values.integers(0, 6), values.integers(0, 9)
        mask[top : top + 6, left : left + 7] = 1
        pixels = np.clip(80 + 90 * mask[..., None] + values.normal(0, 30, (12, 16, 3)), 0, 255).astype(np.uint8)
        # Some images have many pixels that do not count, some none.
        mask[: values.integers(0, 9)] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    content = network(epochs=1, loss=loss, label_smoothing=0.0)
    content |= {
        "task": "segmentation",
        "data": {"folder": str(folder), "shape": [12, 16, 3], "batch_size": 6, "ignore": 255},
        "augmentation": [{"RandomFlip": "horizontal"}],
    }
    first = content["model"]["layers"][:3]
    content["model"] = {"layers": [*first, {"Conv2D": {"filters": "classes", "kernel_size": 1}}, "Softmax"]}
    one, two = train_alone(tmp_path, content, "by_1"), train_by(2, tmp_path, content, "by_2")
    for ours, theirs in zip(figures(two), figures(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    metrics = [json.loads((run / "evaluation.json").read_text()) for run in (two, one)]
    assert metrics[0]["images"] == metrics[1]["images"]
    assert metrics[0]["mean_iou"] == pytest.approx(metrics[1]["mean_iou"], rel=1e-3)
