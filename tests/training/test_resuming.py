"""Which settings a resumed run takes, and how the others are refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from commands import run as command
from sharing import copied
from trainings import config, rows, write

from cnnkit.config.load import load_config
from cnnkit.errors import UsageError
from cnnkit.report.facts import read_facts
from cnnkit.report.setting import environment_tables
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training.resuming import changes, check_same_config
from cnnkit.training.train import resume

#: A block, what is written with a name, a loss and a metric that would take other arguments.
CONTENT = config(
    model={
        "blocks": {
            "unit": {
                "parameters": {"filters": "required", "rate": 0.1},
                "layers": [{"Conv2D": {"filters": "$filters", "kernel_size": 3}}, {"Dropout": "$rate"}],
            }
        },
        "layers": [
            "BatchNormalization",
            {"unit": 4},
            "Flatten",
            {"Dense": {"units": "classes", "activation": "softmax"}},
        ],
    },
    training={"early_stopping": {"patience": 2}, "metrics": ["AUC"], "class_weights": {"3": 2.0}},
)


@pytest.mark.parametrize(
    ("override", "before"),
    [
        ("training.epochs=9", 4),
        ("training.early_stopping.patience=7", 2),
        ("training.checkpoint_minutes=null", 5.0),
        ("training.tensorboard=true", False),
        ("data.memory=stream", "auto"),
        ("data.download=false", True),
    ],
)
def test_what_no_step_depends_on_may_change(override: str, before: object, tmp_path: Path) -> None:
    file = write(tmp_path, CONTENT)
    first, second = (load_config(file, texts).config for texts in ((), (override,)))
    check_same_config(first, second, Run(tmp_path))
    path, _, now = override.partition("=")
    assert [(one.path, one.before, one.now) for one in changes(first, second)] == [(path, before, yaml.safe_load(now))]


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("seed=4", "the run has 3, here it is 4"),
        ("data.batch_size=32", "the run has 64, here it is 32"),
        ("data.max_megapixels=12", "the run has 300.0, here it is 12.0"),
        ("data.normalization=scale", "the run has standardize, here it is scale"),
        ("augmentation[1].RandomRotation.factor=0.1", "the run has 0.03, here it is 0.1"),
        ("augmentation=[]", "here it is []"),
        ("model.layers[0].BatchNormalization.momentum=0.9", "the run has 0.99, here it is 0.9"),
        ("model.layers[1].unit.rate=0.5", "the run has null, here it is 0.5"),
        ("model.layers[3].Dense.units=10", "the run has classes, here it is 10"),
        ("model.blocks.unit.layers[0].Conv2D.filters=8", "the run has {Conv2D: {filters: $filters, kernel_size: 3}}"),
        ("training.optimizer.Adam.learning_rate=0.1", "the run has 0.01, here it is 0.1"),
        ("training.optimizer=SGD", "the run has {Adam: {learning_rate: 0.01"),
        ("training.early_stopping=null", "the run has {monitor: val_loss"),
        ("training.early_stopping.min_delta=1", "the run has 0, here it is 1"),
        ("training.monitor=val_loss", "the run has null, here it is val_loss"),
        ("training.class_weights.3=1.5", "the run has 2.0, here it is 1.5"),
        ("training.metrics=[AUC, Precision]", "here it is [AUC, Precision]"),
        ("training.jit=on", "the run has auto, here it is on"),
    ],
)
def test_anything_else_is_refused_by_its_path_with_both_values(override: str, values: str, tmp_path: Path) -> None:
    file = write(tmp_path, CONTENT)
    # What may change beside it does not help.
    first, second = (load_config(file, texts).config for texts in ((), (override, "training.epochs=9")))
    with pytest.raises(UsageError) as caught:
        check_same_config(first, second, Run(tmp_path / "run"))
    assert caught.value.exit_code == 2
    first_line, *listed = caught.value.message.splitlines()
    assert first_line == f"the run `{tmp_path / 'run'}` was made with another config:"
    (line,) = listed
    path, _, both = line.strip().partition(": ")
    # An object that is written otherwise stands for its arguments.
    assert override.startswith(path)
    assert values in both
    assert "training.epochs" in str(caught.value.hint)


def test_a_default_means_the_same_written_or_not(tmp_path: Path) -> None:
    first = load_config(write(tmp_path, CONTENT)).config
    texts = (
        "model.layers[0].BatchNormalization.momentum=0.99",
        "training.optimizer.Adam.beta_1=0.9",
        "task=classification",
    )
    assert changes(first, load_config(write(tmp_path, CONTENT), texts).config) == []


@pytest.mark.long
def test_each_change_is_told_and_recorded(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the console, in the log, in environment.json and in the report; config.yaml has what holds now."""
    run = copied(small_run, tmp_path)
    lines = {"changed   training.epochs 4 -> 5", "changed   data.memory cache -> stream"}
    texts = ["training.epochs=5", "data.memory=stream", "training.onednn=auto"]
    arguments = [argument for text in texts for argument in ("--set", text)]
    assert command(["train", "--resume", str(run.path), "--no-eval", "--no-report", *arguments], monkeypatch) == 0
    for said in (capsys.readouterr().out, run.log.read_text()):
        assert {line for line in said.splitlines() if line.startswith("changed")} == lines
    (resumed,) = json.loads(run.environment.read_text())["resumed"]
    assert resumed["after_epoch"] == 4
    assert resumed["changed"] == {"training.epochs": [4, 5], "data.memory": ["cache", "stream"]}
    now = yaml.safe_load(run.config.read_text())
    assert (now["training"]["epochs"], now["data"]["memory"]) == (5, "stream")
    assert rows(run)[:4] == rows(small_run)
    assert len(rows(run)) == 5
    tables = environment_tables(read_facts(open_run(run)))
    assert isinstance(tables, dict)
    assert tables["Resumed after epoch 4"]["training, epochs"] == "4 -> 5"


def test_a_refused_change_leaves_the_run_as_it_is(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(small_run, tmp_path)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    arguments = ["--set", "training.epochs=5", "--set", "seed=8"]
    assert command(["train", "--resume", str(run.path), *arguments], monkeypatch) == 2
    assert "  seed: the run has 3, here it is 8\n" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_does_not_forget_epochs(small_run: Run, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path)
    with pytest.raises(UsageError, match=r"has trained 4 epochs; `training.epochs` is now 3") as caught:
        resume(str(run.path), None, ("training.epochs=3",), Console(stream=io.StringIO()))
    assert "training.epochs=8" in str(caught.value.hint)


@pytest.mark.long
def test_metrics_that_are_cut_are_written_again(digits_run: Run, tmp_path: Path) -> None:
    """From the checkpoint, which has them; a run that has come to its end is trained no further."""
    run = copied(digits_run, tmp_path)
    whole = run.metrics.read_text()
    run.metrics.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    model = run.model.read_bytes()
    resume(str(run.path), None, (), Console(stream=io.StringIO()))
    assert run.metrics.read_text() == whole
    assert run.model.read_bytes() == model
