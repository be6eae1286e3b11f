"""A network that learns two labels of digits, against Keras' own outputs of it, scikit-learn and the table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digit_tables import LABELS, config, read_images, write_digits
from exported_answers import check_same_answers
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score
from sklearn.multiclass import OneVsRestClassifier
from trainings import outputs_of, run_training

from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import EvaluationOptions, evaluate_run
from cnnkit.runs.trained import TrainedRun, open_run

SIGMOID = {"Dense": {"units": "classes", "activation": "sigmoid"}}


def trained_on(table: Path, folder: Path, *overrides: str) -> TrainedRun:
    content = config({"multilabel": {"thresholds": "validation"}}, table, list(LABELS), SIGMOID)
    return open_run(run_training(folder, content, "run", overrides))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("labels")
    trained = trained_on(write_digits(folder, 500), folder)
    evaluate_run(trained)
    return trained.run


def data_of(run: Run, split: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names, the images and the labels of a split, read from the table and the files."""
    return read_images(run.path.parent / "digits.csv", split, LABELS)


def chosen(run: Run) -> list[float]:
    thresholds: list[float] = json.loads(run.environment.read_text())["concluded"]["thresholds"]
    return thresholds


def test_evaluation_is_scikit_learns_on_the_outputs_of_keras(run: Run) -> None:
    _, images, truth = data_of(run, "test")
    probabilities = outputs_of(run, images)
    said = probabilities >= np.array(chosen(run))
    metrics = json.loads(run.evaluation.read_text())
    expected = {
        "images": 100,
        "mean_average_precision": average_precision_score(truth, probabilities, average="macro"),
        "micro_f1": f1_score(truth, said, average="micro"),
        "macro_f1": f1_score(truth, said, average="macro"),
        "exact_match": accuracy_score(truth, said),
        "loss": -np.where(truth > 0, np.log(probabilities), np.log1p(-probabilities)).mean(),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    for place, row in enumerate(metrics["per_label"]):
        assert row.pop("label") == LABELS[place]
        assert row == pytest.approx(
            {
                "average_precision": average_precision_score(truth[:, place], probabilities[:, place]),
                "precision": precision_score(truth[:, place], said[:, place]),
                "recall": recall_score(truth[:, place], said[:, place]),
                "f1": f1_score(truth[:, place], said[:, place]),
                "support": int(truth[:, place].sum()),
                "threshold": chosen(run)[place],
            },
            rel=1e-5,
        )


def test_thresholds_have_the_best_f1_on_the_validation_images(run: Run) -> None:
    _, images, truth = data_of(run, "validation")
    probabilities = outputs_of(run, images)
    for column, marks, threshold in zip(probabilities.T, truth.T, chosen(run), strict=True):
        # Between two neighbouring probabilities, limits say the same; above all of them nothing is said, whose F1 is 0.
        best = max(f1_score(marks, column >= limit) for limit in np.unique(column))
        assert f1_score(marks, column >= threshold) >= best


def test_figures_of_the_epochs_are_those_of_the_validation_images(run: Run) -> None:
    with run.metrics.open() as stream:
        rows = list(csv.DictReader(stream))
    best = max(rows, key=lambda row: float(row["val_mean_average_precision"]))
    metrics = evaluate_run(open_run(run), EvaluationOptions(split="validation"))
    # Each epoch rounds log-odds to 0.002 before it compares them.
    assert float(best["val_mean_average_precision"]) == pytest.approx(metrics["mean_average_precision"], abs=2e-3)
    assert float(best["val_loss"]) == pytest.approx(metrics["loss"], rel=1e-4)
    _, images, truth = data_of(run, "validation")
    at_half = f1_score(truth, outputs_of(run, images) >= 0.5, average="micro")
    assert float(best["val_micro_f1"]) == pytest.approx(at_half, rel=1e-5)


def test_predictions_hold_labels_and_probabilities(run: Run) -> None:
    names, images, truth = data_of(run, "test")
    probabilities = outputs_of(run, images)
    expected = {
        name: [
            ";".join(label for label, mark in zip(LABELS, marks, strict=True) if mark),
            ";".join(label for label, mark in zip(LABELS, row >= np.array(chosen(run)), strict=True) if mark),
        ]
        for name, marks, row in zip(names, truth, probabilities, strict=True)
    }
    with run.predictions.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["file"]: [row["labels"], row["predicted"]] for row in rows} == expected
    said = {row["file"]: [float(row[f"probability_{label}"]) for label in LABELS] for row in rows}
    for name, row in zip(names, probabilities, strict=True):
        assert said[name] == pytest.approx(row, abs=2e-6)


def test_answers_use_the_chosen_thresholds(run: Run) -> None:
    trained = open_run(run)
    answers = trained.task.answers(trained.interface)
    low, high = chosen(run)
    (answer,) = answers.read(np.array([[low + 1e-4, high - 1e-4]]))
    assert answer.entry() == {
        "labels": ["odd"],
        "probabilities": {"odd": pytest.approx(low + 1e-4), "above_four": pytest.approx(high - 1e-4)},
    }


def test_mistakes_are_drawn(run: Run, tmp_path: Path) -> None:
    trained = open_run(run)
    trained.task.draw_mistakes(trained, 8, tmp_path / "mistakes.png")
    assert (tmp_path / "mistakes.png").stat().st_size > 1000
    # The worst is the wrong label whose probability is farthest from the truth.
    names, images, truth = data_of(run, "test")
    probabilities = outputs_of(run, images)
    wrong = (probabilities >= np.array(chosen(run))) != (truth > 0)
    distance = np.where(wrong, np.abs(truth - probabilities), 0).max(axis=1)
    predictions: Any = trained.task.read_predictions(trained)
    assert predictions.identities[predictions.worst[0]] == names[int(distance.argmax())]
    assert len(predictions.worst) == wrong.any(axis=1).sum()


@pytest.mark.long
def test_a_small_network_does_better_than_logistic_regression(tmp_path: Path) -> None:
    table = write_digits(tmp_path)
    trained = trained_on(table, tmp_path, "training.epochs=25")
    reached = evaluate_run(trained)
    _, pixels, labels = read_images(table, "train", LABELS)
    _, tests, truth = read_images(table, "test", LABELS)
    logistic = OneVsRestClassifier(LogisticRegression(max_iter=5000))
    logistic.fit(pixels.reshape(len(pixels), -1) / 255, labels)
    flat = tests.reshape(len(tests), -1) / 255
    assert reached["mean_average_precision"] >= average_precision_score(truth, logistic.predict_proba(flat))
    assert reached["micro_f1"] >= f1_score(truth, logistic.predict(flat), average="micro")


@pytest.mark.long
def test_a_run_of_one_label_list_and_logits(tmp_path: Path) -> None:
    table = write_digits(tmp_path, 200)
    task = {"multilabel": {"thresholds": [0.4, 0.6]}}
    objective = {"epochs": 1, "loss": "BinaryFocalCrossentropy", "label_smoothing": 0.1}
    content = {**config(task, table, "labels", {"Dense": "classes"}, **objective), "augmentation": [{"MixUp": 0.2}]}
    trained = open_run(run_training(tmp_path, content, "run"))
    metrics = evaluate_run(trained)
    # Labels of a list are sorted.
    assert [row["label"] for row in metrics["per_label"]] == ["above_four", "odd"]
    _, images, truth = read_images(table, "test", ("above_four", "odd"))
    odds = outputs_of(trained.run, images)
    assert metrics["mean_average_precision"] == pytest.approx(average_precision_score(truth, odds), rel=1e-5)
    said = 1 / (1 + np.exp(-odds)) >= [0.4, 0.6]
    assert metrics["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro", zero_division=0), rel=1e-5)


def test_the_report_shows_each_label_and_the_wrong_ones(run: Run) -> None:
    from cnnkit.report.facts import read_facts
    from cnnkit.report.page import percent, render_part
    from cnnkit.report.parts import outcome_of
    from cnnkit.report.setting import environment_tables

    facts = read_facts(open_run(run))
    metrics = json.loads(run.evaluation.read_text())
    assert outcome_of(facts).short == percent(metrics["mean_average_precision"])  # type: ignore[union-attr]
    tables: Any = environment_tables(facts)
    assert tables["Chosen on the validation images"] == {"thresholds": ", ".join(map(str, chosen(run)))}
    assert not [key for key in tables["Software and machine"] if "threshold" in key]
    labels, mistakes = [
        render_part(part.package, part.template, part.values) for part in facts.trained.task.sections(facts)
    ]
    for row in metrics["per_label"]:
        assert f">{row['label']}<" in labels
        assert percent(row["average_precision"]) in labels
    names, images, truth = data_of(run, "test")
    probabilities = outputs_of(run, images)
    wrong = (probabilities >= np.array(chosen(run))) != (truth > 0)
    worst = int(np.where(wrong, np.abs(truth - probabilities), 0).max(axis=1).argmax())
    assert mistakes.index(names[worst]) == min(mistakes.index(name) for name in names if name in mistakes)


@pytest.mark.long
def test_an_exported_network_answers_as_the_run(run: Run, tmp_path: Path) -> None:
    check_same_answers(run, tmp_path)
