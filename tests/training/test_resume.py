"""A run can be repeated and resumed to the last bit, and nothing else is resumed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sharing import copied, shared_run
from trainings import (
    Killed,
    assert_same,
    composites,
    config,
    continued,
    killed_in,
    killed_in_epoch,
    rows,
    run_training,
    state,
    write,
)

from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training.preparation import prepare
from cnnkit.training.train import resume, train


@contextmanager
def raised_in_third_epoch(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> Iterator[None]:
    """Inside the block, trainings end with the error where their third epoch begins."""
    from cnnkit.training import callbacks

    original = callbacks.EpochClock.on_epoch_begin

    def begin(self: Any, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise error
        original(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.EpochClock, "on_epoch_begin", begin)
        yield


@pytest.mark.long
def test_a_resumed_run_equals_the_uninterrupted_one(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, augmentation, Adam, EMA and plateau are on; the run is killed in its third epoch.

    A file system without locks lets another process write a later checkpoint between: nothing of it is used.
    """

    with raised_in_third_epoch(monkeypatch, Killed), pytest.raises(Killed):
        run_training(tmp_path, config(), "run")
    stopped = Run(tmp_path / "run")
    assert len(rows(stopped)) == 2

    def prepare_late(loaded: Any, **arguments: Any) -> Any:
        shutil.copy(small_run.checkpoint, stopped.checkpoint)
        return prepare(loaded, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr("cnnkit.training.train.prepare", prepare_late)
        resume(str(stopped.path), None, (), Console(stream=io.StringIO()))
    assert_same(stopped, small_run)


#: A checkpoint after each execution.
EACH_TIME = {"checkpoint_minutes": 1e-9}


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose process was killed in its second epoch; tests go on with copies."""
    with pytest.MonkeyPatch.context() as patch:
        return killed_in_epoch(1, patch, tmp_path_factory.mktemp("killed"), config(training=EACH_TIME))


def test_a_run_killed_within_an_epoch_goes_on_at_its_step(small_run: Run, killed_run: Run, tmp_path: Path) -> None:
    """The metrics of the epoch, and the rate that it began with, go on, too."""
    run = copied(killed_run, tmp_path)
    position = state(run)
    assert position["epochs_done"] == 1
    assert 0 < position["step"] < 21
    assert f"after epoch 1 of 4, step {position['step']} of 21" in continued(run)
    assert_same(run, small_run)


@pytest.mark.long
def test_a_run_killed_again_and_again_comes_to_the_same_end(
    small_run: Run, killed_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in its second epoch, and in its last; what a resume loses, several lose several times."""
    run = copied(killed_run, tmp_path)
    positions = [state(run)]
    for epoch in (1, 3):
        with killed_in(epoch, monkeypatch):
            continued(run)
        positions.append(state(run))
    assert [position["epochs_done"] for position in positions] == [1, 1, 3]
    assert 0 < positions[0]["step"] < positions[1]["step"] < 21
    continued(run)
    assert_same(run, small_run)


@pytest.mark.long
def test_early_stopping_counts_on_where_the_process_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has waited for one epoch of two; one that forgot would stop an epoch later."""
    stopping = {"monitor": "val_loss", "patience": 2, "min_delta": 100}
    content = config(training={"epochs": 9, "early_stopping": stopping, **EACH_TIME})
    run = killed_in_epoch(2, monkeypatch, tmp_path, content)
    assert state(run)["callbacks"]["early_stopping"]["wait"] == 1
    continued(run)
    assert len(rows(run)) == 3


@pytest.mark.long
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    small_run: Run, killed_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = copied(killed_run, tmp_path)
    content = bytearray(run.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    run.checkpoint.write_bytes(content)
    continued(run)
    assert str(run.checkpoint) in caplog.text
    assert str(run.previous_checkpoint) in caplog.text
    assert_same(run, small_run)


@pytest.mark.long
def test_a_run_killed_before_its_first_checkpoint_begins_again(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_in_epoch(0, monkeypatch, tmp_path, config())
    assert not run.checkpoint.exists()
    assert "killed before its first checkpoint" in continued(run)
    assert_same(run, small_run)


def test_what_was_killed_after_its_training_gets_what_follows(small_run: Run, tmp_path: Path) -> None:
    """Nothing is trained again."""
    run = copied(small_run, tmp_path)
    before = run.model.read_bytes()
    run.curves.unlink()
    run.write_json(run.live_state, run.read_json(run.live_state) | {"status": "evaluating"})
    (run.checkpoint.parent / ".cnnkit-half.npz").write_bytes(b"half a checkpoint")
    assert "has trained to its end" in continued(run)
    assert run.model.read_bytes() == before
    assert run.curves.exists()
    assert run.read_json(run.live_state)["status"] == "finished"
    assert not list(run.checkpoint.parent.glob(".*"))
    assert_same(run, small_run)


def test_a_run_that_is_being_trained_is_not_resumed_beside(small_run: Run, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with run.training(), pytest.raises(CnnkitError, match="is being trained by the process") as caught:
        resume(str(run.path), None, ("training.epochs=5",), Console(stream=io.StringIO()))
    assert caught.value.exit_code == 1
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def other_options() -> dict[str, Any]:
    """What the first resumed run leaves out."""
    return config(
        model={"layers": [{"GaussianNoise": 0.1}, *config()["model"]["layers"]]},
        training={
            "epochs": 4,
            "dtype_policy": "mixed_float16",
            "warmup_epochs": 1,
            "optimizer": {"SGD": {"learning_rate": 0.05, "momentum": 0.9, "gradient_accumulation_steps": 3}},
            "schedule": {"ReduceLROnPlateau": {"monitor": "loss", "patience": 0, "min_delta": 10, "factor": 0.5}},
            "early_stopping": {"monitor": "loss", "patience": 3, "min_delta": 10},
            "metrics": ["AUC"],
        },
    )


@pytest.mark.long
@pytest.mark.parametrize("options", [other_options, composites])
def test_a_resumed_run_with_other_options_equals_the_uninterrupted_one(
    options: Callable[[], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise, half precision, warm-up with plateau, accumulation, early stopping's count, a metric; and composites."""
    whole = run_training(tmp_path, options(), "whole")
    with (
        raised_in_third_epoch(monkeypatch, KeyboardInterrupt),
        pytest.raises(CnnkitError, match="2 epochs are kept") as caught,
    ):
        run_training(tmp_path, options(), "run")
    assert caught.value.exit_code == 130
    run = Run(tmp_path / "run")
    resume(str(run.path), None, (), Console(stream=io.StringIO()))
    assert rows(run) == rows(whole)
    # Without a warm-up, the plateau lowers the rate from the second epoch on.
    assert len({row["learning_rate"] for row in rows(run)}) == (4 if options is other_options else 3)
    assert state(run) | {"rows": []} == state(whole) | {"rows": []}


@pytest.mark.long
def test_a_changed_data_set_is_neither_resumed_nor_evaluated(tmp_path: Path) -> None:
    from PIL import Image

    from cnnkit.runs.evaluation import evaluate_run

    random = np.random.default_rng(0)

    def add(name: str) -> None:
        for kind in ("a", "b"):
            (tmp_path / "photos" / kind).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8))
            picture.save(tmp_path / "photos" / kind / f"{name}.png")

    for number in range(20):
        add(str(number))
    content = config(data={"name": None, "folder": str(tmp_path / "photos")}, training={"epochs": 1})
    run = run_training(tmp_path, content, "run")
    assert evaluate_run(open_run(run))["images"] == 8
    add("new")
    with pytest.raises(CnnkitError, match="the data set has changed"):
        evaluate_run(open_run(run))
    with pytest.raises(CnnkitError, match="the data set has changed"):
        resume(str(run.path), None, ("training.epochs=2",), Console(stream=io.StringIO()))


def test_the_plateau_was_at_work(small_run: Run) -> None:
    rates = [float(row["learning_rate"]) for row in rows(small_run)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] < 0.01


@pytest.mark.long
def test_the_resolved_config_gives_the_same_figures(small_run: Run, tmp_path: Path) -> None:
    loaded = load_config(str(small_run.config))
    again = train(loaded, Console(stream=io.StringIO()), str(tmp_path / "again")).run
    assert rows(again) == rows(small_run)


@pytest.mark.long
def test_another_seed_gives_other_figures(small_run: Run, tmp_path: Path) -> None:
    other = run_training(tmp_path, config(), "other", ("seed=4", "training.epochs=1"))
    assert rows(other)[0] != rows(small_run)[0]


def completed(run: Run) -> Run:
    """With what follows a training: none of it is read here."""
    run.evaluation.write_text("{}")
    run.report.write_text("")
    return run


def test_a_finished_run_and_a_changed_config_are_not_resumed(small_run: Run, tmp_path: Path) -> None:
    run = completed(copied(small_run, tmp_path))
    with pytest.raises(UsageError, match="has trained all its 4 epochs"):
        resume(str(run.path), None, (), Console())
    changed = write(tmp_path, config(training={"label_smoothing": 0.2}))
    with pytest.raises(UsageError, match=r"training\.label_smoothing"):
        resume(str(run.path), changed, (), Console())


def test_resolved_config_records_what_ran(small_run: Run) -> None:
    resolved = yaml.safe_load(small_run.config.read_text())
    assert resolved["training"]["steps_per_execution"] == 8
    assert "auto" not in small_run.config.read_text().split("\n", 1)[1]
    environment = small_run.read_json(small_run.environment)
    assert environment["settings"]["jit_compile"] is False or environment["settings"]["device"] == "GPU"
    assert environment["data"]["images"]["train"] + environment["data"]["images"]["validation"] == 1437


@pytest.mark.long
def test_a_resumed_run_keeps_the_settings_that_it_ran_with(tmp_path: Path) -> None:
    def content(**training: Any) -> dict[str, Any]:
        layers = ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]
        return config(augmentation=[], model={"layers": layers}, training=training)

    run = run_training(tmp_path, content(epochs=1, steps_per_execution=5), "run")
    as_before = write(tmp_path, content(epochs=2))
    assert "steps_per_execution" not in Path(as_before).read_text()
    resume(str(run.path), as_before, (), Console(stream=io.StringIO()))
    assert yaml.safe_load(run.config.read_text())["training"]["steps_per_execution"] == 5
    other = write(tmp_path, content(epochs=3, steps_per_execution=7))
    with pytest.raises(UsageError, match=r"training\.steps_per_execution"):
        resume(str(run.path), other, (), Console(stream=io.StringIO()))


def patient(patience: int) -> dict[str, Any]:
    """No epoch is better by so much."""
    stopping = {"monitor": "val_loss", "patience": patience, "min_delta": 100}
    return config(training={"early_stopping": stopping})


@pytest.fixture(scope="module")
def impatient_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run that early stopping has ended; tests only read it."""
    yield from shared_run(tmp_path_factory, "impatient", lambda folder: run_training(folder, patient(1), "run"))


@pytest.mark.long
def test_early_stopping_stops_and_cannot_be_resumed(impatient_run: Run, tmp_path: Path) -> None:
    run = copied(impatient_run, tmp_path)
    assert len(rows(run)) == 2
    with pytest.raises(UsageError, match="early stopping") as caught:
        resume(str(completed(run).path), None, (), Console())
    assert "training.early_stopping.patience=3" in str(caught.value.hint)


@pytest.mark.long
def test_with_more_patience_a_stopped_run_goes_on_as_if_it_had_not_stopped(impatient_run: Run, tmp_path: Path) -> None:
    whole = run_training(tmp_path, patient(2), "whole")
    assert len(rows(whole)) == 3
    run = copied(impatient_run, tmp_path)
    assert len(rows(run)) == 2
    resume(str(run.path), None, ("training.early_stopping.patience=2",), Console(stream=io.StringIO()))
    assert rows(run) == rows(whole)
    assert state(run) | {"rows": []} == state(whole) | {"rows": []}
    assert yaml.safe_load(run.config.read_text())["training"]["early_stopping"]["patience"] == 2
