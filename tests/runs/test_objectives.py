"""The loss and the metrics of a config on the images of a split: those that training measures, under their names."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_runs import written
from trainings import config, rows, run_training, state

from cnnkit.config.target import OneClass
from cnnkit.config.training import TrainingConfig
from cnnkit.runs import objectives
from cnnkit.runs.evaluation import EvaluationOptions, evaluate_ensemble, evaluate_run
from cnnkit.runs.objectives import Objectives
from cnnkit.runs.trained import open_run
from cnnkit.tasks import default_task
from cnnkit.tasks.classification.evaluation import summary
from cnnkit.tasks.classification.tables import evaluation_table
from cnnkit.tasks.classification.training import configured_loss

CLASSES = 4


def figures() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [50, 4] and labels [50]."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, 50)
    scores = random.normal(0, 1, (50, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True), labels


def measured(text: dict[str, Any], head: str = "softmax", penalty: float = 0.0) -> dict[str, Any]:
    probabilities, labels = figures()
    outputs = np.log(probabilities) + 3 if head == "logits" else probabilities
    return objectives.measure(named(text, head), head, outputs, np.eye(CLASSES)[labels], batch_size=16, penalty=penalty)


def named(text: dict[str, Any], head: str = "softmax") -> Objectives:
    training = TrainingConfig.model_validate(text)
    return Objectives(configured_loss(training, head), training.metrics)


def test_losses_are_the_means_over_images_whatever_the_batches() -> None:
    """The last batch has two images of 50; each is held against its formula."""
    probabilities, labels = figures()
    one_hot = np.eye(CLASSES)[labels]
    of_truth = probabilities[np.arange(50), labels]
    expected = {
        "CategoricalCrossentropy": -np.log(of_truth).mean(),
        "CategoricalFocalCrossentropy": (-0.25 * (1 - of_truth) ** 2 * np.log(of_truth)).mean(),
        "MeanSquaredError": ((probabilities - one_hot) ** 2).mean(),
    }
    for name, value in expected.items():
        found = measured({"loss": name}, penalty=0.5)
        assert found["loss"] == pytest.approx(value + 0.5, rel=1e-5)
        assert found["loss_function"] == name
    assert measured({}, "logits")["loss"] == pytest.approx(expected["CategoricalCrossentropy"], rel=1e-5)
    both = -(one_hot * np.log(probabilities) + (1 - one_hot) * np.log(1 - probabilities)).mean()
    assert measured({}, "sigmoid")["loss"] == pytest.approx(both, rel=1e-5)
    # What training alone smooths is not in it; what the loss itself smooths is.
    assert measured({"label_smoothing": 0.3})["loss"] == pytest.approx(expected["CategoricalCrossentropy"], rel=1e-5)
    inside = -(np.log(probabilities) * (0.7 * one_hot + 0.3 / CLASSES)).sum(axis=1).mean()
    smoothed = measured({"loss": {"CategoricalCrossentropy": {"label_smoothing": 0.3}}})
    assert smoothed["loss"] == pytest.approx(inside, rel=1e-5)


@pytest.mark.parametrize("head", ["softmax", "logits"])
def test_metrics_are_those_of_scikit_learn(head: str) -> None:
    from sklearn.metrics import f1_score, roc_auc_score, top_k_accuracy_score

    probabilities, labels = figures()
    thresholds = {"num_thresholds": 20_000}
    metrics = [{"AUC": thresholds}, "F1Score", {"TopKCategoricalAccuracy": 2}]
    found = measured({"metrics": metrics}, head)["metrics"]
    one_hot = np.eye(CLASSES)[labels]
    guesses = probabilities.argmax(axis=1)
    assert found["auc"] == pytest.approx(roc_auc_score(one_hot.ravel(), probabilities.ravel()), abs=1e-3)
    assert found["f1_score"] == pytest.approx(f1_score(labels, guesses, average="macro"), abs=1e-6)
    expected = top_k_accuracy_score(labels, probabilities, k=2)
    assert found["top_k_categorical_accuracy"] == pytest.approx(expected, abs=1e-6)


def test_an_ensemble_measures_what_its_runs_have_in_common() -> None:
    def common(*texts: dict[str, Any], heads: tuple[str, str] = ("softmax", "softmax")) -> Objectives | None:
        each = [named(text, head) for text, head in zip(texts, heads, strict=True)]
        return objectives.common(each, heads)

    found = common({"metrics": ["AUC", "F1Score"]}, {"loss": "CategoricalCrossentropy", "metrics": ["F1Score"]})
    assert found is not None
    assert [metric.column for metric in found.metrics] == ["f1_score"]
    assert common({"loss": "MeanSquaredError"}, {}) is None
    assert common({}, {}, heads=("softmax", "logits")) is None
    assert common({"loss": "MeanSquaredError"}, {"loss": "MeanSquaredError"}, heads=("logits", "logits")) is None
    found = common({"metrics": ["AUC", "F1Score"]}, {"metrics": ["AUC", "F1Score"]}, heads=("logits", "logits"))
    assert found is not None
    assert [metric.column for metric in found.metrics] == ["auc"]


def test_penalties_are_those_of_keras() -> None:
    """Weights count once; outputs, batch by batch, as the mean over images of what Keras adds for each batch."""
    import keras
    import tensorflow as tf

    weights = keras.regularizers.L2(0.1)
    images = np.random.default_rng(1).normal(0, 1, (5, 3)).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((images, np.zeros((5, 2), np.float32))).batch(2)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, kernel_regularizer=weights)])
    kernel = np.asarray(model.layers[0].kernel)
    assert objectives.penalty_of(model, batches) == pytest.approx(0.1 * (kernel**2).sum(), rel=1e-5)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, activity_regularizer="l1")])
    model.compile(loss=lambda truth, guess: 0.0 * keras.ops.sum(guess, axis=-1), run_eagerly=True)
    expected = model.evaluate(batches, verbose=0)
    assert objectives.penalty_of(model, batches) == pytest.approx(expected, rel=1e-5)


@pytest.mark.long
def test_the_cross_entropy_is_shown_beside_another_loss(tmp_path: Path) -> None:
    from report_runs import Page

    from cnnkit.report.single import write_report

    run = written(tmp_path / "run", ["a", "b"], [0, 1, 1], [0, 1, 0])
    page = Page(write_report(open_run(run))).text
    assert "cross-entropy, nats" in page
    evaluation = run.read_json(run.evaluation)
    table = evaluation_table(evaluation)
    assert "cross-entropy" not in table
    # As older versions wrote it.
    older = {key: value for key, value in evaluation.items() if key != "cross_entropy"}
    assert evaluation_table(older) == table
    run.write_json(run.evaluation, older)
    assert Page(write_report(open_run(run))).text == page
    other = evaluation | {"loss": 0.1234, "loss_function": "Huber", "metrics": {"recall_of_b": 0.25}}
    lines = [line.split() for line in evaluation_table(other).splitlines()]
    assert ["loss", "0.1234"] in lines
    assert ["cross-entropy", f"{evaluation['cross_entropy']:.4f}"] in lines
    assert ["recall_of_b", "0.2500"] in lines
    assert "loss 0.1234" in summary(other)
    run.write_json(run.evaluation, other)
    page = Page(write_report(open_run(run))).text
    for words in ("Test loss 0.1234 Huber", "recall_of_b 0.2500", f"Cross-entropy {evaluation['cross_entropy']:.4f}"):
        assert words in page
    # A file that somebody has changed.
    run.write_json(run.evaluation, other | {"metrics": 3})
    assert "recall_of_b" not in Page(write_report(open_run(run))).text


@pytest.mark.long
@pytest.mark.parametrize("head", ["sigmoid", "logits"])
def test_the_validation_images_give_the_figures_of_the_best_epoch(head: str, tmp_path: Path) -> None:
    """Loss with penalties on weights and outputs, metrics; then the same of an ensemble of the run and its copy."""
    layers: list[Any] = [
        {"Conv2D": {"filters": 4, "kernel_size": 3, "kernel_regularizer": {"L2": 0.01}}},
        {"Activation": "relu"},
        "Flatten",
        {"Dense": {"units": 20, "activation": "relu", "activity_regularizer": {"L2": 1e-5}}},
        {"Dense": {"units": "classes", **({"activation": head} if head != "logits" else {})}},
    ]
    loss = {"sigmoid": "BinaryFocalCrossentropy", "logits": "Huber"}[head]
    training = {
        "epochs": 2,
        "loss": loss,
        "metrics": ["AUC", "F1Score", "MeanSquaredError"],
        "schedule": None,
        "label_smoothing": 0.0,
    }
    run = run_training(tmp_path, config(model={"layers": layers}, training=training), "run")
    found = evaluate_run(open_run(run), EvaluationOptions("validation"))
    row = rows(run)[state(run)["best_epoch"] - 1]
    assert found["loss"] == pytest.approx(float(row["val_loss"]), rel=1e-4)
    assert found["loss_function"] == loss
    for name in ("auc", "f1_score", "mean_squared_error"):
        assert found["metrics"][name] == pytest.approx(float(row[f"val_{name}"]), rel=1e-4)
    shutil.copytree(run.path, tmp_path / "copy")
    both = evaluate_ensemble([open_run(run), open_run(type(run)(tmp_path / "copy"))], EvaluationOptions("validation"))
    assert both["cross_entropy"] == pytest.approx(found["cross_entropy"], rel=1e-6)
    if head == "logits":
        assert both["loss"] == both["cross_entropy"]
        assert "metrics" not in both
    else:
        assert both["loss"] < found["loss"]
        assert both["metrics"] == pytest.approx(found["metrics"], rel=1e-5)


def test_mixed_images_count_as_the_class_with_the_larger_share() -> None:
    """Of mixed labels, every class with a share would be a true one: recall and the area under the curve are wrong."""
    from sklearn.metrics import precision_score, recall_score

    from cnnkit.tasks.classification.training import make_metrics

    probabilities, labels = figures()
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    mixed = 0.7 * one_hot + 0.3 * np.roll(one_hot, 1, axis=1)
    decided = ["BinaryAccuracy", "AUC", "Precision", "Recall", "TruePositives", "F1Score", "Hinge"]
    training = TrainingConfig.model_validate({"metrics": [*decided, "MeanSquaredError"]})
    of_mixed = {one.name: one for one in make_metrics(training, "softmax", mixed=True)}
    of_hard = {one.name: one for one in make_metrics(training, "softmax", mixed=False)}
    for name, metric in of_mixed.items():
        metric.update_state(mixed, probabilities)
        of_hard[name].update_state(one_hot, probabilities)
        same = float(metric.result()) == pytest.approx(float(of_hard[name].result()), rel=1e-6)
        # A distance to the mixed label is what MixUp trains for.
        assert same == (name != "mean_squared_error"), name
    truth, guesses = one_hot.ravel() > 0, probabilities.ravel() > 0.5
    assert float(of_mixed["recall"].result()) == pytest.approx(recall_score(truth, guesses), abs=1e-6)
    assert float(of_mixed["precision"].result()) == pytest.approx(precision_score(truth, guesses), abs=1e-6)


def test_a_script_measures_mixed_images_as_a_run_does() -> None:
    from cnnkit.eject.training import write_training

    training = TrainingConfig.model_validate({"metrics": ["Recall", "MeanSquaredError"]})
    for mixed in (False, True):
        parts = default_task().script(training, "softmax", OneClass(10), mixed)
        text = write_training(training, default_task(), parts, "False", True, ())
        compiled = " ".join(text.compiled)
        assert ('on_hard_labels(keras.metrics.Recall(name="recall"))' in compiled) == mixed
        assert any("def on_hard_labels" in function for function in text.functions) == mixed
        assert 'keras.metrics.MeanSquaredError(name="mean_squared_error")]' in compiled
