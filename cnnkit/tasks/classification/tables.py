"""A classifier's metrics as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.runs.ranking import ranked
from cnnkit.tasks.classification.metrics import differs_from_cross_entropy
from cnnkit.terminal.tables import aligned, display_width, lowest, shortened

TABLE_COLUMNS = 100

# Above these numbers of classes, the terminal shows only the part that a reader acts on.
_MOST_MATRIX_CLASSES = 12
_MOST_TABLE_CLASSES = 30
_WORST_CLASSES = 10
_CONFUSED_PAIRS = 5


def evaluation_table(metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
    """The metrics as a terminal shows them, in at most 100 columns: summary, classes, confusions.

    With more than 30 classes, only the ten with the lowest F1 are listed; with more than 12, the five most
    frequent confusions stand in for the confusion matrix.
    """
    names = [row["class"] for row in metrics["per_class"]]
    matrix = np.asarray(metrics["confusion_matrix"], dtype=np.int64)
    parts = [_summary(metrics, len(names), sample), _class_table(metrics["per_class"], sample)]
    few = len(names) <= _MOST_MATRIX_CLASSES
    parts.append(_matrix_table(matrix, names) if few else _confusions(matrix, names, sample))
    return "\n\n".join(parts)


def _summary(metrics: dict[str, Any], classes: int, sample: Sample) -> str:
    images = metrics["images"]
    errors = images - round(metrics["accuracy"] * images)
    rows = [
        [sample.plural, f"{images:,}"],
        ["accuracy", f"{metrics['accuracy']:.2%} ({errors:,} {'error' if errors == 1 else 'errors'})"],
    ]
    if classes > 5:
        rows.append(["top-5 accuracy", f"{metrics['top_5_accuracy']:.2%}"])
    rows.append(["loss", f"{metrics['loss']:.4f}"])
    if differs_from_cross_entropy(metrics):
        rows.append(["cross-entropy", f"{metrics['cross_entropy']:.4f}"])
    rows.append(["calibration error", f"{metrics['calibration_error']:.4f}"])
    rows += [[name, f"{value:.4f}"] for name, value in metrics.get("metrics", {}).items()]
    return aligned(rows, "<<")


def _class_table(per_class: Sequence[dict[str, Any]], sample: Sample) -> str:
    note = ""
    if len(per_class) > _MOST_TABLE_CLASSES:
        note = f"The {_WORST_CLASSES} of {len(per_class)} classes with the lowest F1 (--json shows all):\n"
        seen = [row for row in per_class if row["support"]]
        per_class = sorted(seen, key=lambda row: row["f1"])[:_WORST_CLASSES]
    header = ["class", "precision", "recall", "F1", sample.plural]
    rows = [
        [
            shortened(row["class"], 50),
            *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
            f"{row['support']:,}",
        ]
        for row in per_class
    ]
    return note + aligned([header, *rows], "<>>>>")


def _matrix_table(matrix: NDArray[np.int64], names: Sequence[str]) -> str:
    digits = len(str(matrix.max()))
    label = max(4, min(30, TABLE_COLUMNS - len(names) * (digits + 2)))
    widest = max(display_width(name) for name in names)
    rows, columns, table = list(names), list(names), ""
    for cell in range(max(widest, digits), digits - 1, -1):
        columns = [shortened(name, cell) for name in names]
        if len(set(columns)) < len(set(names)):
            # Shortened so far, the names no longer tell the columns apart: numbers do.
            columns = [str(number) for number in range(len(names))]
            rows = [f"{number} {name}" for number, name in enumerate(names)]
        lines = [["", *columns]]
        for name, counts in zip(rows, matrix.tolist(), strict=True):
            lines.append([shortened(name, label), *map(str, counts)])
        table = aligned(lines, "<" + ">" * len(names))
        if max(map(display_width, table.splitlines())) <= TABLE_COLUMNS:
            break
    return f"Confusion matrix (rows: true class, columns: predicted class):\n{table}"


def _confusions(matrix: NDArray[np.int64], names: Sequence[str], sample: Sample) -> str:
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    pairs = [divmod(index, len(names)) for index in ranked(mistakes.ravel(), _CONFUSED_PAIRS)]
    rows = [
        [
            shortened(names[true], 30),
            shortened(names[guess], 30),
            f"{mistakes[true, guess]:,}",
            f"{mistakes[true, guess] / matrix[true].sum():.1%}",
        ]
        for true, guess in pairs
        if mistakes[true, guess]
    ]
    if not rows:
        return "No class was confused with another."
    header = ["true class", "predicted as", sample.plural, "of the class"]
    return "Most frequent confusions:\n" + aligned([header, *rows], "<<>>")


def limits(metrics: dict[str, Any], sample: Sample = IMAGES) -> list[str]:
    """The classes with the lowest F1, and how far confidence is from accuracy."""
    seen = [row for row in metrics["per_class"] if row["support"]]
    weakest = lowest(seen, "f1", lambda row, value: f"{row['class']} {value} ({row['support']:,} {sample.plural})")
    return [
        f"The classes with the lowest F1: {weakest}.",
        f"Its confidence is off by {metrics['calibration_error']:.1%} on average (expected calibration error, "
        "15 bins).",
    ]
