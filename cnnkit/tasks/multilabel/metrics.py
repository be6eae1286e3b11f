"""What a network is worth on images with any number of labels, by scikit-learn's measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.runs.heads import finite_rows

Probabilities = NDArray[np.float64]


def label_probabilities(outputs: Any, head: str) -> Probabilities:
    """The probability of each label that a network's outputs stand for, float64 [images, labels].

    Args:
        outputs: [images, labels].
        head: `sigmoid`, or `logits` for log-odds.

    Raises:
        CnnkitError: if they are not finite, or not one row per image.
    """
    values = finite_rows(outputs, "number per label", "probabilities")
    # The one form that cannot overflow.
    return np.exp(-np.logaddexp(0, -values)) if head == "logits" else values


def multilabel_metrics(
    probabilities: Probabilities, truth: NDArray[Any], thresholds: Sequence[float], names: Sequence[str]
) -> dict[str, Any]:
    """All measures of a split.

    Args:
        probabilities: [images, labels].
        truth: Zeros and ones, [images, labels].
        thresholds: The probability from which an image has each label.
        names: Of the labels.

    Returns:
        `images`; `mean_average_precision`, over the labels that any image has; `micro_f1`, `macro_f1`; `exact_match`:
        the share of images of which all labels are right; `label_accuracy`: the share of right answers, image by label;
        `per_label`: a row for each; `absent_labels`: those that no image has.
    """
    from sklearn.metrics import average_precision_score, f1_score, precision_recall_fscore_support

    truth = np.asarray(truth) > 0
    said = probabilities >= np.asarray(thresholds)
    support = truth.sum(axis=0)
    precisions = [
        float(average_precision_score(marks, column)) if marks.any() else None
        for marks, column in zip(truth.T, probabilities.T, strict=True)
    ]
    known = [value for value in precisions if value is not None]
    # Label by label: for a single one, scikit-learn would measure its absence as well.
    columns = [
        precision_recall_fscore_support(marks, guesses, average="binary", zero_division=0)
        for marks, guesses in zip(truth.T, said.T, strict=True)
    ]
    precision, recall, f1, _ = zip(*columns, strict=True)
    return {
        "images": len(truth),
        "mean_average_precision": float(np.mean(known)) if known else 0.0,
        "micro_f1": float(f1_score(truth.ravel(), said.ravel(), zero_division=0)),
        "macro_f1": float(np.mean(f1)),
        "exact_match": float((truth == said).all(axis=1).mean()),
        "label_accuracy": float((truth == said).mean()),
        "per_label": [
            {
                "label": str(name),
                "average_precision": precisions[place],
                "precision": float(precision[place]),
                "recall": float(recall[place]),
                "f1": float(f1[place]),
                "support": int(support[place]),
                "threshold": float(thresholds[place]),
            }
            for place, name in enumerate(names)
        ],
        "absent_labels": [str(name) for name, count in zip(names, support, strict=True) if not count],
    }
