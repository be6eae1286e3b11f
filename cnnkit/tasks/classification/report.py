"""How good a run is: what evaluation.json and predictions.csv say, prepared for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.plots import style
from cnnkit.report.page import Missing, figure
from cnnkit.task import Figure

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


def curve_drawings(
    epochs: Sequence[dict[str, float]], figures: Sequence[Figure], best_epoch: int | None
) -> list[Any] | Missing:
    """The figures and the learning rate over the epochs, one drawing each."""
    from cnnkit.plots.learning_curves import curve_figures

    best = f" The best epoch, {best_epoch}, is marked." if best_epoch is not None else ""
    last = epochs[-1]
    drawings: list[Any] = []
    for panel, drawing in curve_figures(epochs, figures, best_epoch):
        ends = ", ".join(f"{key.replace('_', ' ')} {last[key]:.4g}" for key in panel.columns if key in last)
        described = f"{panel.title} over {len(epochs)} epochs; at the end {ends}.{best}"
        drawings.append(figure(style.as_svg(drawing), f"curve-{len(drawings)}", described))
    return drawings
