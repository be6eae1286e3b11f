"""Which epoch is the best: one rule for what is kept, watched, listed and drawn."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from trainings import config, rows, run_training, state

from cnnkit.config.load import load_config
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.config.target import OneClass
from cnnkit.config.training import TrainingConfig
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.task import LOSS
from cnnkit.tasks import default_task

ROWS: list[dict[str, float | None]] = [
    {"epoch": 1, "loss": 2.0, "val_loss": 0.1, "val_accuracy": 0.5, "val_auc": math.nan, "auc": 0.5},
    {"epoch": 2, "loss": 1.0, "val_loss": 0.9, "val_accuracy": 0.8, "val_auc": 0.7, "auc": 0.9},
    {"epoch": 3, "loss": 0.5, "val_loss": 0.4, "val_accuracy": 0.8, "val_auc": 0.9, "auc": 0.9},
    {"epoch": 4, "loss": 0.6, "val_loss": 0.4, "val_accuracy": 0.8, "val_auc": 0.6, "auc": 0.1},
]


@pytest.mark.parametrize(
    ("monitor", "best"),
    [
        (Monitor(), 3),
        (Monitor("val_loss", "min"), 1),
        (Monitor("val_auc", "max"), 3),
        (Monitor("auc", "max"), 3),
        (Monitor("auc", "min"), 4),
        (Monitor("val_f1_score", "max"), None),
        (Monitor("epoch", "max"), None),
    ],
)
def test_the_best_value_then_the_smaller_loss_then_the_earlier_epoch(monitor: Monitor, best: int | None) -> None:
    assert monitor.best_epoch(ROWS) == best


def test_without_a_finite_value_no_epoch_is_the_best() -> None:
    assert Monitor("val_auc", "max").best_epoch(ROWS[:1]) is None
    assert Monitor().best_epoch([]) is None


def test_directions_are_those_of_keras() -> None:
    """Where Keras has one; Kullback-Leibler, Poisson and mistakes are the better the smaller, hits the larger."""
    required = {"recall": 0.5, "precision": 0.5, "specificity": 0.5, "sensitivity": 0.5}
    own = {"KLDivergence": "min", "Poisson": "min", "FalsePositives": "min", "FalseNegatives": "min"}
    for name in METRICS.names():
        cls = METRICS.get(name)
        assert cls is not None
        metric: Any = cls.model_validate({key: value for key, value in required.items() if key in cls.model_fields})
        direction = getattr(metric.build(from_logits=False), "_direction", None)
        expected = {"up": "max", "down": "min", None: own.get(name, "max")}[direction]
        assert metric.better == expected, name


TASK = default_task()


def parsed(text: str) -> TrainingConfig:
    return TrainingConfig.model_validate(yaml.safe_load(text)).watching(TASK.columns)


def test_what_watches_and_names_no_metric_watches_that_of_the_run() -> None:
    training = parsed("{monitor: val_poisson, metrics: [Poisson], early_stopping: {}, schedule: ReduceLROnPlateau}")
    assert training.early_stopping is not None
    assert training.plateau is not None
    for watching in (training.early_stopping, training.plateau):
        assert (watching.monitor, watching.mode) == ("val_poisson", "min")
    assert Monitor.of_config(training, TASK) == Monitor("val_poisson", "min")
    own = parsed("{monitor: val_loss, metrics: [TruePositives], early_stopping: {monitor: val_true_positives}}")
    assert own.early_stopping is not None
    assert (own.early_stopping.monitor, own.early_stopping.mode) == ("val_true_positives", "max")
    default = parsed("{early_stopping: {}}")
    assert default.early_stopping is not None
    assert default.early_stopping.monitor == "val_loss"
    assert Monitor.of_config(default, TASK) == Monitor("val_accuracy", "max")


def test_a_run_that_has_noted_none_is_judged_by_validation_accuracy(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert Monitor.of_run(run) == Monitor()
    for noted in ({}, {"monitor": 3}, {"monitor": {"metric": "val_loss", "mode": "up"}}):
        run.environment.write_text(json.dumps(noted))
        assert Monitor.of_run(run) == Monitor()
    run.environment.write_text(json.dumps({"monitor": Monitor("val_loss", "min").as_json()}))
    assert Monitor.of_run(run) == Monitor("val_loss", "min")


def test_the_model_of_the_epoch_that_the_metric_chooses_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch's figures are given; what is written is only counted."""
    from cnnkit.training import callbacks
    from cnnkit.training.course import Course

    class Clock:
        epoch_seconds, training_seconds = 1.0, 1.0

    class Folder:
        checkpoint = None

        def write_metrics(self, rows: Any) -> None:
            pass

    def kept(monitor: Monitor) -> list[int]:
        keeper: Any = callbacks.Keeper(
            Folder(),  # type: ignore[arg-type]
            callbacks.Console(stream=io.StringIO()),
            Clock(),  # type: ignore[arg-type]
            columns=(LOSS,),
            course=Course([4]),
            images=1,
            monitor=monitor,
            checkpoint=None,
        )
        saved: list[int] = []
        monkeypatch.setattr(keeper, "_model", type("Model", (), {"variables": (), "stop_training": False})())
        monkeypatch.setattr(keeper, "save_model", lambda: saved.append(len(keeper.rows)))
        monkeypatch.setattr(callbacks, "save_checkpoint", lambda *_: None)
        for row in ROWS:
            figures = {key: value for key, value in row.items() if key != "epoch"}
            keeper.on_epoch_end(int(row["epoch"] or 0) - 1, {**figures, "learning_rate": 0.1})
        return saved

    assert kept(Monitor()) == [1, 2, 3]
    assert kept(Monitor("val_loss", "min")) == [1]
    # The first epoch's value is not a number; what there is of it is kept until a better one comes.
    assert kept(Monitor("val_auc", "max")) == [1, 2, 3]
    # Nothing measures it: the last epoch.
    assert kept(Monitor("val_f1_score", "max")) == [1, 2, 3, 4]
    # The config asks for it.
    assert kept(Monitor("epoch", "max")) == [1, 2, 3, 4]


def test_a_script_keeps_the_epoch_that_a_run_keeps() -> None:
    from cnnkit.eject.training import write_training

    for monitor in ("accuracy", "val_loss", "val_false_negatives"):
        training = parsed(f"{{monitor: {monitor}, metrics: [FalseNegatives]}}")
        parts = TASK.script(training, "softmax", OneClass(10), False)
        text = write_training(training, TASK, parts, "False", False, ())
        if monitor.startswith("val_"):
            assert text.best.startswith("keras.callbacks.ModelCheckpoint")
            text = write_training(training, TASK, parts, "False", True, ())
        sign = "" if monitor == "accuracy" else "-"
        tie = "val_loss" if monitor.startswith("val_") else "loss"
        assert f'score = {sign}logs["{monitor}"], -logs["{tie}"]' in "".join(text.functions)
        assert text.best == "BestModel()"
    last = write_training(parsed("{monitor: epoch}"), TASK, parts, "False", True, ())
    assert last.best.startswith("keras.callbacks.ModelCheckpoint(BEST)")


@pytest.mark.long
def test_a_run_is_kept_listed_and_evaluated_by_its_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from cnnkit import data
    from cnnkit.runs.listing import run_rows

    content = config(
        training={
            "epochs": 4,
            "monitor": "val_poisson",
            "metrics": ["Poisson"],
            "optimizer": {"Adam": 0.05},
            "schedule": None,
            "early_stopping": {"patience": 3},
        }
    )
    monkeypatch.chdir(tmp_path)
    run = run_training(tmp_path, content, "runs/one")
    values = [float(row["val_poisson"]) for row in rows(run)]
    best = values.index(min(values)) + 1
    assert state(run)["best_epoch"] == best
    assert run_rows()[0]["best_epoch"] == best
    assert f"best epoch {best} by val_poisson" in run.log.read_text()
    assert f"val_poisson {min(values):.4f}" in run.log.read_text()
    loaded = load_config(str(run.config)).config
    validation = data.load(loaded.data, loaded.seed, splits=("validation",)).validation
    assert validation is not None
    model = keras.models.load_model(run.model, compile=False)
    metric = keras.metrics.Poisson()
    metric.update_state(keras.ops.one_hot(validation.labels, 10), model.predict(validation.images, verbose=0))
    assert float(metric.result()) == pytest.approx(min(values), rel=1e-5)


def test_rows_without_a_number_of_an_epoch_are_passed_over() -> None:
    """A metrics.csv that somebody has edited must not hide the other runs from a list."""
    assert Monitor().best_epoch([{"val_accuracy": 0.9}, {"epoch": 2, "val_accuracy": 0.5}]) == 2
    assert Monitor().best_epoch([{"val_accuracy": 0.9}]) is None
