"""A network that learns two numbers of digits, against Keras' own outputs of it, scikit-learn and the table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digit_tables import config, read_images, write_digits
from exported_answers import check_same_answers
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from trainings import outputs_of, run_training

from cnnkit.config.load import load_config
from cnnkit.config.target import Numbers
from cnnkit.errors import ConfigError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import EvaluationOptions, evaluate_run
from cnnkit.runs.trained import TrainedRun, open_run
from cnnkit.tasks.regression.metrics import regression_metrics
from cnnkit.tasks.regression.training import measured

#: Numbers of very different sizes.
COLUMNS = ("lit", "thousandth")


def trained_on(table: Path, folder: Path, *overrides: str) -> TrainedRun:
    content = config("regression", table, list(COLUMNS), {"Dense": "targets"}, metrics=["R2Score"])
    return open_run(run_training(folder, content, "run", overrides))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("numbers")
    trained = trained_on(write_digits(folder, 500), folder)
    evaluate_run(trained)
    return trained.run


def data_of(run: Run, split: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    return read_images(run.path.parent / "digits.csv", split, COLUMNS)


def test_evaluation_is_scikit_learns_on_the_outputs_of_keras(run: Run) -> None:
    _, images, truth = data_of(run, "test")
    outputs = outputs_of(run, images)
    metrics = json.loads(run.evaluation.read_text())
    assert (metrics["images"], metrics["loss_function"]) == (100, "MeanSquaredError")
    assert metrics["mae"] == pytest.approx(mean_absolute_error(truth, outputs), rel=1e-5)
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(truth.ravel(), outputs.ravel()), rel=1e-5)
    assert metrics["r2"] == pytest.approx(r2_score(truth, outputs), rel=1e-4)
    assert metrics["metrics"]["r2_score"] == pytest.approx(r2_score(truth, outputs), rel=1e-4)
    for place, row in enumerate(metrics["per_target"]):
        true, guess = truth[:, place], outputs[:, place]
        expected = {
            "mae": mean_absolute_error(true, guess),
            "rmse": root_mean_squared_error(true, guess),
            "r2": r2_score(true, guess),
            "mean": true.mean(),
            "std": true.std(),
        }
        assert row.pop("target") == COLUMNS[place]
        assert row == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_that_of_numbers_standardised_by_the_training_images(run: Run) -> None:
    _, _, learned = data_of(run, "train")
    _, images, truth = data_of(run, "test")
    errors = (outputs_of(run, images) - truth) / learned.std(axis=0)
    assert json.loads(run.evaluation.read_text())["loss"] == pytest.approx((errors**2).mean(), rel=1e-4)


def test_figures_of_the_epochs_are_in_the_numbers_own_units(run: Run) -> None:
    with run.metrics.open() as stream:
        rows = list(csv.DictReader(stream))
    best = min(rows, key=lambda row: float(row["val_mae"]))
    _, images, truth = data_of(run, "validation")
    # model.keras holds the epoch with the smallest error.
    assert float(best["val_mae"]) == pytest.approx(mean_absolute_error(truth, outputs_of(run, images)), rel=1e-4)
    metrics = evaluate_run(open_run(run), EvaluationOptions(split="validation"))
    for name in ("loss", "mae", "rmse"):
        assert float(best[f"val_{name}"]) == pytest.approx(metrics[name], rel=1e-4)


def test_predictions_hold_true_and_predicted_numbers(run: Run) -> None:
    names, images, truth = data_of(run, "test")
    outputs = outputs_of(run, images)
    with run.predictions.open() as stream:
        rows = {row.pop("file"): [float(value) for value in row.values()] for row in csv.DictReader(stream)}
    assert set(rows) == set(names)
    for name, true, guess in zip(names, truth, outputs, strict=True):
        assert rows[name] == pytest.approx([true[0], guess[0], true[1], guess[1]], rel=1e-5)


def test_the_largest_errors_are_drawn_first(run: Run, tmp_path: Path) -> None:
    trained = open_run(run)
    trained.task.draw_mistakes(trained, 8, tmp_path / "mistakes.png")
    assert (tmp_path / "mistakes.png").stat().st_size > 1000
    assert run.predicted_against_true.stat().st_size > 1000
    names, images, truth = data_of(run, "test")
    sizes = (np.abs(outputs_of(run, images) - truth) / truth.std(axis=0)).max(axis=1)
    predictions = trained.task.read_predictions(trained)
    assert predictions.identities[predictions.worst[0]] == names[int(sizes.argmax())]  # type: ignore[attr-defined]


def test_answers_are_numbers_in_their_own_units(run: Run) -> None:
    trained = open_run(run)
    (answer,) = trained.task.answers(trained.interface).read(np.array([[20.25, 0.3125]], np.float32))
    assert answer.entry() == {"numbers": {"lit": 20.25, "thousandth": 0.3125}}
    assert answer.fields() == ["20.25", "0.3125"]


@pytest.mark.long
def test_a_small_network_does_better_than_linear_regression(tmp_path: Path) -> None:
    """One that averages over pixels: of five seeds, the worst mean absolute error is 0.70; that of the line is 1.12."""
    table = write_digits(tmp_path)
    pixelwise = {"Conv2D": {"filters": 32, "kernel_size": 1, "activation": "relu"}}
    content = config("regression", table, "lit", {"Dense": "targets"}, epochs=40, schedule="CosineDecay")
    content["model"]["layers"] = [pixelwise, pixelwise, "GlobalAveragePooling2D", {"Dense": "targets"}]
    reached = evaluate_run(open_run(run_training(tmp_path, content, "run")))
    _, pixels, numbers = read_images(table, "train", COLUMNS[:1])
    _, tests, truth = read_images(table, "test", COLUMNS[:1])
    linear = LinearRegression().fit(pixels.reshape(len(pixels), -1), numbers)
    guesses = linear.predict(tests.reshape(len(tests), -1))
    assert reached["mae"] < 0.8 * mean_absolute_error(truth, guesses)
    assert 1 - reached["r2"] < 0.6 * (1 - r2_score(truth, guesses))


def test_numbers_that_are_all_alike_have_no_r2_and_are_divided_by_nothing() -> None:
    target = measured(Numbers(2, ("a", "b")), np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert (target.means, target.deviations) == ((2.0, 5.0), (1.0, 1.0))
    metrics = regression_metrics(np.array([[1.0, 4.0], [3.0, 6.0]]), np.array([[1.0, 5.0], [3.0, 5.0]]), ("a", "b"))
    assert [row["r2"] for row in metrics["per_target"]] == [1.0, None]
    assert metrics["r2"] == 1.0


def test_what_is_for_classes_is_refused_at_its_line(tmp_path: Path) -> None:
    table = write_digits(tmp_path, 20)
    (tmp_path / "net.yaml").write_text(f"""\
task: regression
data: {{table: {table}, target: lit}}
model:
  layers:
    - Flatten
    - Dense: {{units: targets, activation: sigmoid, name: units}}
training:
  loss: CategoricalCrossentropy
  metrics: [AUC]
  label_smoothing: 0.1
  class_weights: balanced
""")
    with pytest.raises(ConfigError) as caught:
        load_config(str(tmp_path / "net.yaml"))
    told = sorted((problem.place.line, problem.message) for problem in caught.value.problems)
    assert [line for line, _ in told] == [6, 6, 8, 9, 10, 11]
    for (_, message), words in zip(
        told, ("`sigmoid`", "`units` is given", "no loss of", "no meaning", "smooth", "weigh"), strict=True
    ):
        assert words in message


def test_the_report_shows_each_number_and_the_largest_errors(run: Run) -> None:
    from cnnkit.report.facts import read_facts
    from cnnkit.report.page import render_part
    from cnnkit.report.parts import outcome_of
    from cnnkit.report.setting import environment_tables
    from cnnkit.tasks.regression.report import errors

    facts = read_facts(open_run(run))
    outcome = outcome_of(facts)
    metrics = json.loads(run.evaluation.read_text())
    assert outcome.short == f"{metrics['mae']:.5g}"  # type: ignore[union-attr]
    tables: Any = environment_tables(facts)
    assert (tables["Data"]["targets"], "classes" in tables["Data"]) == ("2", False)
    html = [render_part(part.package, part.template, part.values) for part in facts.trained.task.sections(facts)]
    for row in metrics["per_target"]:
        assert f"{row['mae']:.5g}</td>" in html[0]
    assert html[0].count("<svg") == 1
    names, images, truth = data_of(run, "test")
    sizes = np.abs(outputs_of(run, images) - truth) / truth.std(axis=0)
    worst, number = np.unravel_index(sizes.argmax(), sizes.shape)
    shown = errors(facts)
    assert (shown[0].identity, shown[0].name) == (names[worst], COLUMNS[number])  # type: ignore[index]
    assert shown[0].identity in html[1]  # type: ignore[index]


@pytest.mark.long
def test_an_exported_network_answers_as_the_run(run: Run, tmp_path: Path) -> None:
    check_same_answers(run, tmp_path)
