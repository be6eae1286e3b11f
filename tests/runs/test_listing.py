"""The list of runs, whatever they learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from brightness import add_brightness

from cnnkit.format.document import dump
from cnnkit.runs.directory import Run
from cnnkit.runs.listing import as_text, columns_of, run_rows
from cnnkit.runs.progress import Reporter, read_state


def make_run(
    name: str, task: str | None, rows: list[dict[str, Any]], evaluation: dict[str, Any], **monitor: str
) -> Run:
    """A run under runs/ of the present folder."""
    run = Run(Path("runs") / name)
    run.path.mkdir(parents=True)
    run.config.write_text(dump(({} if task is None else {"task": task}) | {"training": {"epochs": len(rows)}}))
    run.write_json(run.environment, {"monitor": monitor} if monitor else {})
    run.write_metrics(rows)
    run.evaluation.write_text(json.dumps(evaluation))
    return run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    monkeypatch.chdir(tmp_path)
    add_brightness(monkeypatch)
    accuracies = [{"epoch": 1, "loss": 0.5, "val_accuracy": 0.75}, {"epoch": 2, "loss": 0.4, "val_accuracy": 0.5}]
    errors = [{"epoch": 1, "loss": 0.5, "val_mean_error": 3.5}, {"epoch": 2, "loss": 0.4, "val_mean_error": 2.25}]
    return [
        make_run("a-1", None, accuracies, {"accuracy": 0.875}),
        make_run("b-1", "brightness", errors, {"mean_error": 1.5}, metric="val_mean_error", mode="min"),
    ]


def test_rows_have_the_headline_of_their_task(runs: list[Run]) -> None:
    first, second = run_rows()
    assert (first["headline"], first["best_epoch"]) == ("accuracy", 1)
    assert first["best_validation"] == first["best_val_accuracy"] == 0.75
    assert first["test"] == first["test_accuracy"] == 0.875
    assert (second["headline"], second["best_epoch"]) == ("mean_error", 2)
    assert second["best_validation"] == second["best_val_mean_error"] == 2.25
    assert second["test"] == second["test_mean_error"] == 1.5
    assert "test_accuracy" not in second


def test_a_table_names_the_headline_in_its_header_or_beside_the_values(runs: list[Run]) -> None:
    first, second = run_rows()
    header, line = as_text([first]).splitlines()
    assert "best val accuracy  test accuracy" in header
    assert "headline" not in header
    assert line.split()[4:8] == ["1", "0.7500", "0.8750", "-"]
    assert "best val mean error  test mean error" in as_text([second])
    header, *lines = as_text([first, second]).splitlines()
    assert "headline    best validation    test" in header
    assert [line.split()[4:8] for line in lines] == [
        ["1", "accuracy", "0.7500", "0.8750"],
        ["2", "mean_error", "2.2500", "1.5000"],
    ]


def test_the_state_of_a_training_has_the_figures_of_its_task_by_name(runs: list[Run]) -> None:
    """What the running epoch has come to, then its row; a value that is not finite is none."""
    run = runs[1]
    reporter = Reporter(run, 5, 10)
    reporter.begin()
    reporter.begin_epoch(1)
    reporter.change()
    reporter._written = float("-inf")
    reporter.look(1, 1.0, 64, {"loss": 0.5, "mean_error": 3.0, "close": float("nan")})
    assert {name: read_state(run)[name] for name in ("loss", "mean_error", "close")} == {
        "loss": 0.5, "mean_error": 3.0, "close": None,
    }  # fmt: skip
    row = {"epoch": 1, "loss": 0.25, "mean_error": 2.0, "close": 0.75, "seconds": 1.0, "images_per_second": 64.0}
    reporter._written = float("-inf")
    reporter.end_epoch([row], 1, "val_mean_error", ["loss", "mean_error", "close"])
    state = read_state(run)
    assert (state["loss"], state["mean_error"], state["close"], state["monitor"]) == (0.25, 2.0, 0.75, "val_mean_error")


def test_columns_of_runs_are_those_of_all_their_tasks(runs: list[Run]) -> None:
    assert [figure.name for figure in columns_of(runs)] == ["loss", "accuracy", "mean_error", "close"]
    assert [figure.name for figure in columns_of(runs[1:])] == ["loss", "mean_error", "close"]
