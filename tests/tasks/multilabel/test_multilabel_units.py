"""Measures of labels, thresholds and checks of configs, each against scikit-learn or a search through all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from digit_tables import write_digits
from sklearn.metrics import average_precision_score, f1_score

from cnnkit.config.load import load_config
from cnnkit.errors import ConfigError
from cnnkit.tasks.multilabel.metrics import label_probabilities, multilabel_metrics
from cnnkit.tasks.multilabel.thresholds import best_thresholds


def made(seed: int = 0, images: int = 300, labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and log-odds that tell something of them."""
    random = np.random.default_rng(seed)
    truth = (random.random((images, labels)) < [0.5, 0.2, 0.05][:labels]).astype(np.float32)
    return truth, random.normal(2 * truth - 1, 1.5).astype(np.float32)


@pytest.mark.parametrize("from_logits", [True, False])
def test_the_epochs_average_precision_is_scikit_learns(from_logits: bool) -> None:
    from cnnkit.tasks.multilabel.keras_objects import MeanAveragePrecision

    truth, odds = made()
    outputs = odds if from_logits else 1 / (1 + np.exp(-odds))
    metric = MeanAveragePrecision(3, from_logits)
    for start in range(0, 300, 64):
        metric.update_state(truth[start : start + 64], outputs[start : start + 64])
    assert float(metric.result()) == pytest.approx(average_precision_score(truth, odds), abs=2e-3)


def test_the_epochs_average_precision_is_exact_where_scores_are_steps_apart() -> None:
    from cnnkit.tasks.multilabel.keras_objects import MeanAveragePrecision

    truth, odds = made()
    ranks = np.argsort(np.argsort(odds, axis=0), axis=0)
    apart = (ranks * 0.1 - 15).astype(np.float32)
    metric = MeanAveragePrecision(3, from_logits=True)
    metric.update_state(truth, apart)
    assert float(metric.result()) == pytest.approx(average_precision_score(truth, odds), rel=1e-5)


def test_a_label_that_no_image_has_counts_in_no_mean() -> None:
    from cnnkit.tasks.multilabel.keras_objects import MeanAveragePrecision

    truth, odds = made()
    truth[:, 2] = 0
    metric = MeanAveragePrecision(3, from_logits=True)
    metric.update_state(truth, odds)
    expected = average_precision_score(truth[:, :2], odds[:, :2])
    assert float(metric.result()) == pytest.approx(expected, abs=2e-3)
    metrics = multilabel_metrics(label_probabilities(odds, "logits"), truth, [0.5] * 3, ["a", "b", "c"])
    assert metrics["mean_average_precision"] == pytest.approx(expected, rel=1e-9)
    assert metrics["absent_labels"] == ["c"]


def test_the_epochs_f1_is_scikit_learns_with_a_threshold_for_each_label() -> None:
    from cnnkit.tasks.multilabel.keras_objects import MicroF1

    truth, odds = made(1)
    thresholds = [0.3, 0.5, 0.9]
    said = 1 / (1 + np.exp(-odds)) >= thresholds
    for outputs, from_logits in ((odds, True), (1 / (1 + np.exp(-odds)), False)):
        metric = MicroF1(thresholds, from_logits)
        # A label that is mixed counts by its larger share.
        metric.update_state(0.8 * truth + 0.1, outputs)
        assert float(metric.result()) == pytest.approx(f1_score(truth, said, average="micro"), rel=1e-5)


def test_best_thresholds_are_the_best_of_all() -> None:
    for seed in range(5):
        truth, odds = made(seed, images=40)
        # Equal probabilities cannot be told apart by any threshold.
        probabilities = np.round(label_probabilities(odds, "logits"), 1)
        for column, marks, threshold in zip(
            probabilities.T, truth.T, best_thresholds(probabilities, truth), strict=True
        ):
            scores = {limit: f1_score(marks, column >= limit, zero_division=0) for limit in np.arange(0, 1.05, 0.05)}
            assert f1_score(marks, column >= threshold, zero_division=0) == pytest.approx(max(scores.values()))
    assert best_thresholds(np.array([[0.2], [0.9]]), np.zeros((2, 1))) == [0.5]


@pytest.mark.parametrize(
    "scores", [(0.9999999, 0.9999998), (1.0, np.nextafter(1, 0)), (2e-300, 1e-300), (0.123456789, 0.123456788)]
)
def test_best_thresholds_are_between_probabilities_however_close_they_are(scores: tuple[float, float]) -> None:
    probabilities = np.array([scores, scores[::-1]])
    said = probabilities >= best_thresholds(probabilities, np.eye(2))
    assert said.tolist() == [[True, False], [False, True]]


def test_best_thresholds_have_few_digits_where_they_are_enough() -> None:
    assert best_thresholds(np.array([[2 / 3], [1 / 3]]), np.array([[1], [0]])) == [0.5]
    assert best_thresholds(np.array([[0.7777777], [0.3]]), np.array([[1], [0]])) == [0.538889]
    # Said of all, where all have it, and one with no probability at all.
    assert best_thresholds(np.array([[0.5], [0.0]]), np.ones((2, 1))) == [0.0]


def test_one_label_is_measured_as_any_other() -> None:
    truth, odds = made(2, labels=1)
    metrics = multilabel_metrics(label_probabilities(odds, "logits"), truth, [0.5], ["only"])
    expected = f1_score(truth[:, 0], odds[:, 0] >= 0)
    assert (metrics["micro_f1"], metrics["macro_f1"]) == pytest.approx((expected, expected))


def problems_of(
    folder: Path,
    thresholds: str,
    activation: str = "sigmoid",
    loss: str = "BinaryCrossentropy",
    metric: str = "AUC",
    split: str = "null",
) -> list[str]:
    """What is wrong with a config, each with its line."""
    file = folder / "net.yaml"
    file.write_text(f"""\
task: {{multilabel: {{thresholds: {thresholds}}}}}
data:
  table: {write_digits(folder, 20)}
  target: [odd, above_four]
  split: {split}
  validation: 0
model:
  layers:
    - Flatten
    - Dense: {{units: classes, activation: {activation}}}
training:
  loss: {loss}
  metrics: [{metric}]
  class_weights: balanced
""")
    with pytest.raises(ConfigError) as caught:
        load_config(str(file))
    return [f"{problem.place.line}: {problem.message}" for problem in caught.value.problems]


def test_what_is_for_one_class_is_refused_at_its_line(tmp_path: Path) -> None:
    told = problems_of(
        tmp_path, "[0.5, 0.5, 0.5]", "softmax", loss="CategoricalCrossentropy", metric="CategoricalAccuracy"
    )
    expected = {
        1: "expected 2 thresholds",
        10: "use a sigmoid",
        12: "no loss of several labels",
        13: "one class per image",
        14: "weights are for one class",
    }
    assert len(told) == len(expected)
    for line, words in expected.items():
        assert any(text.startswith(f"{line}: ") and words in text for text in told), (line, told)


@pytest.mark.parametrize("wrong", ["2", "0", "true", "[]", "[0.5, 1]", "best"])
def test_thresholds_that_are_no_shares_are_refused(tmp_path: Path, wrong: str) -> None:
    told = problems_of(tmp_path, wrong)
    assert any(text.startswith("1: expected a number between 0 and 1, a list") for text in told), told


@pytest.mark.parametrize("split", ["null", "split"])
def test_thresholds_cannot_be_chosen_on_no_images(tmp_path: Path, split: str) -> None:
    """`validation: 0` leaves rows for validation unused, too."""
    told = problems_of(tmp_path, "validation", split=split)
    assert any(text.startswith("1: ") and "needs validation images" in text for text in told), told
