"""How good a run is: what evaluation.json and predictions.csv say, prepared for the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.plots import style
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, attempt, figure, percent
from cnnkit.report.parts import Outcome, Section, Tile, metric_tiles
from cnnkit.tasks.classification.metrics import differs_from_cross_entropy
from cnnkit.tasks.classification.report_examples import mistakes, pairs

#: Above these numbers, only the worst classes are listed at first, and the matrix is a picture.
MOST_CLASSES_AT_ONCE = 20
WORST_CLASSES = 10


def accuracy_interval(right: int, images: int) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy, 0..1 (Wilson 1927), as to the choice of the test images."""
    from scipy.stats import binomtest

    interval = binomtest(right, images).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Result:
    """The accuracy on the test split.

    Attributes:
        low, high: Its 95 % confidence interval, 0..1.
    """

    accuracy: float
    images: int
    errors: int
    low: float
    high: float


def result(evaluation: dict[str, Any]) -> Result:
    """The result in figures.

    Args:
        evaluation: evaluation.json.
    """
    images = int(evaluation["images"])
    right = round(evaluation["accuracy"] * images)
    return Result(evaluation["accuracy"], images, images - right, *accuracy_interval(right, images))


def outcome(evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome:
    """The accuracy with its interval, and the other figures.

    Args:
        evaluation: evaluation.json.
    """
    measured = result(evaluation)
    accuracy = percent(measured.accuracy)
    interval = f"95 % interval: {percent(measured.low)} to {percent(measured.high)}"
    tiles = [Tile("Test accuracy", accuracy, interval)]
    if len(evaluation["per_class"]) > 5:
        tiles.append(Tile("Top-5 accuracy", percent(evaluation["top_5_accuracy"])))
    loss = f"{evaluation['loss']:.4f}"
    if differs_from_cross_entropy(evaluation):
        tiles.append(Tile("Test loss", loss, evaluation["loss_function"]))
        tiles.append(Tile("Cross-entropy", f"{evaluation['cross_entropy']:.4f}", "nats"))
    else:
        tiles.append(Tile("Test loss", loss, "cross-entropy, nats"))
    tiles.append(Tile("Calibration error", f"{evaluation['calibration_error']:.4f}", "0 is perfect"))
    tiles.append(Tile("Macro F1", f"{evaluation['macro_f1']:.4f}"))
    return Outcome(
        accuracy,
        f"{accuracy} of {measured.images:,} test {sample.plural} classified correctly",
        [*tiles, *metric_tiles(evaluation)],
        f"({measured.errors:,} error{'' if measured.errors == 1 else 's'})",
    )


def sections(facts: Facts) -> list[Section]:
    """Classes, calibration and mistakes."""
    evaluation = facts.evaluation

    def of_evaluation(make: Callable[[dict[str, Any]], Any]) -> Any:
        return evaluation if isinstance(evaluation, Missing) else attempt(make, evaluation)

    def section(title: str, **values: Any) -> Section:
        return Section(title.lower(), title, __package__, f"{title.lower()}.html", values)

    classes, matrix = of_evaluation(class_table), of_evaluation(confusion)
    return [
        section("Classes", evaluation=evaluation, classes=classes, matrix=matrix),
        section("Calibration", calibration=attempt(calibration, facts.predictions)),
        section("Mistakes", pairs=attempt(pairs, facts), mistakes=attempt(mistakes, facts)),
    ]


@dataclass(frozen=True)
class ClassTable:
    """Precision, recall and F1 of the classes.

    Attributes:
        rows: All classes.
        worst: Those with the lowest F1, where the classes are too many to be read at once; else none.
    """

    rows: list[dict[str, Any]]
    worst: list[dict[str, Any]]


def class_table(evaluation: dict[str, Any]) -> ClassTable:
    """The table of all classes, folded where they are many."""
    rows = evaluation["per_class"]
    if len(rows) <= MOST_CLASSES_AT_ONCE:
        return ClassTable(rows, [])
    seen = [row for row in rows if row["support"]]
    return ClassTable(rows, sorted(seen, key=lambda row: row["f1"])[:WORST_CLASSES])


@dataclass(frozen=True)
class MatrixCell:
    """A cell of the confusion matrix.

    Attributes:
        strength: How strongly it is coloured, 0..100: by the root of the share, so that a few per cent are visible.
        right: Whether it counts right predictions.
    """

    count: int
    share: float
    strength: int
    right: bool


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix: as a table, or, for many classes, as a drawing."""

    names: list[str]
    rows: list[list[MatrixCell]] | None
    drawing: Any


def confusion(evaluation: dict[str, Any]) -> Matrix:
    """The confusion matrix of evaluation.json."""
    from cnnkit.tasks.classification.confusion import confusion_figure

    names = [str(row["class"]) for row in evaluation["per_class"]]
    counts = np.asarray(evaluation["confusion_matrix"], dtype=np.int64)
    if len(names) > MOST_CLASSES_AT_ONCE:
        svg = style.as_svg(confusion_figure(counts, names), tight=True)
        described = f"Confusion matrix of {len(names)} classes; the confused pairs below say the most of it in words."
        return Matrix(names, None, figure(svg, "confusion", described))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        [
            MatrixCell(int(count), float(share), round(20 * (count > 0) + 80 * float(share) ** 0.5), row == column)
            for column, (count, share) in enumerate(zip(counts[row], shares[row], strict=True))
        ]
        for row in range(len(names))
    ]
    return Matrix(names, rows, None)


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram with its error, and how sure the network is on average."""

    error: float
    confidence: float
    accuracy: float
    diagram: Any


def calibration(predictions: Any) -> Calibration | Missing:
    """How far confidence is from accuracy.

    Args:
        predictions: `mistakes.Predictions`, or why there are none.
    """
    if isinstance(predictions, Missing):
        return predictions
    from cnnkit.tasks.classification.metrics import calibration_error
    from cnnkit.tasks.classification.reliability import reliability_figure

    probabilities, labels = predictions.probabilities, predictions.labels
    error = calibration_error(probabilities, labels)
    svg = style.as_svg(reliability_figure(probabilities, labels))
    described = f"Reliability diagram: accuracy by confidence in 15 bins; expected calibration error {error:.4f}."
    confidence = float(probabilities.max(axis=1).mean())
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return Calibration(error, confidence, accuracy, figure(svg, "reliability", described))
