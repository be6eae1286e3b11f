"""What a classifier is worth on labelled images: metrics, and one row per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.runs.heads import Probabilities

#: Keras clips probabilities here before it takes their logarithm (`keras.config.epsilon()`).
EPSILON = 1e-7

CALIBRATION_BINS = 15


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """Images by confidence, the largest probability of each, in bins of equal width from 0 to 1.

    Attributes:
        edges: Where the bins begin and end, [bins + 1]; each is without its lower and with its upper edge.
        images: How many images fall into each, [bins].
        confidence: Their mean confidence, 0..1, [bins]; 0 in an empty bin.
        accuracy: Their accuracy, likewise.
    """

    edges: NDArray[np.float64]
    images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error, see `calibration_error`."""
        return float((self.images * np.abs(self.accuracy - self.confidence)).sum() / self.images.sum())


def calibration_bins(probabilities: Probabilities, labels: NDArray[np.int64]) -> CalibrationBins:
    """The images in 15 bins, as in Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).

    Args:
        probabilities: [images, classes], 0..1.
        labels: The true class of each image, [images].
    """
    confidences = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = np.digitize(confidences, edges[1:-1], right=True)

    def totals(weights: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.bincount(bins, weights=weights, minlength=CALIBRATION_BINS)

    images = totals()
    filled = np.maximum(images, 1)
    return CalibrationBins(edges, images, totals(confidences) / filled, totals(correct) / filled)


def calibration_error(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Expected calibration error: how far confidence is from accuracy, averaged over the images; 0..1.

    It is computed from `calibration_bins`.
    """
    return calibration_bins(probabilities, labels).error


def classification_metrics(probabilities: Any, labels: Any, class_names: Sequence[str]) -> dict[str, Any]:
    """The metrics of `evaluation.json`, as plain Python values.

    Args:
        probabilities: [images, classes], 0..1.
        labels: The true class of each image, [images], whole numbers from 0.
        class_names: One name per class.

    Returns:
        `images`: how many; `accuracy`; `top_5_accuracy`: the share of images whose class is among the five
        likeliest (with five classes or fewer that is all of them, so 1); `cross_entropy`: the mean categorical
        cross-entropy (natural logarithm, computed as Keras does); `loss`: the same, which whoever knows the
        run's own loss replaces; `calibration_error`: see that function;
        `per_class`: a list of {class, precision, recall, f1, support}, where a ratio of 0 to 0 counts as 0;
        `macro_precision`, `macro_recall`, `macro_f1`: scikit-learn's macro averages, over the classes that
        occur among the labels or the predictions; `confusion_matrix`: image counts, rows are true classes,
        columns predicted ones. All ratios are 0..1.

    Raises:
        CnnkitError: if there are no images, or the arguments do not fit together.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    probabilities, labels = _checked(probabilities, labels, class_names)
    classes = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    # With one class, scikit-learn warns that `labels` is missing although it is there.
    several = len(classes) > 1
    matrix = confusion_matrix(labels, predicted, labels=classes).tolist() if several else [[len(labels)]]
    macro = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    cross_entropy = _cross_entropy(probabilities, labels)
    return {
        "images": len(labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "top_5_accuracy": _top_5_accuracy(probabilities, labels),
        "loss": cross_entropy,
        "cross_entropy": cross_entropy,
        "calibration_error": calibration_error(probabilities, labels),
        "macro_precision": float(macro[0]),
        "macro_recall": float(macro[1]),
        "macro_f1": float(macro[2]),
        "per_class": [
            {
                "class": str(name),
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(class_names)
        ],
        "confusion_matrix": matrix,
    }


def _checked(probabilities: Any, labels: Any, class_names: Sequence[str]) -> tuple[Probabilities, NDArray[np.int64]]:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    labels = np.asarray(labels)
    if len(labels) == 0:
        raise CnnkitError("there are no images to evaluate", "Check the split or the folder.")
    if probabilities.shape != (len(labels), len(class_names)):
        raise CnnkitError(
            f"expected one probability per image and class, {len(labels)} x {len(class_names)}, "
            f"got an array of shape {probabilities.shape}",
            "The model and the data set need the same number of classes.",
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise CnnkitError(
            f"expected labels from 0 to {len(class_names) - 1} ({len(class_names)} classes), "
            f"got {labels.min()} to {labels.max()}",
            "The images need the classes that the model was trained on.",
        )
    unusable = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if unusable:
        raise CnnkitError(
            f"expected finite probabilities, got NaN or infinity for {unusable} of {len(labels)} images",
            "The model's weights or its input hold such values; train again with a lower learning rate.",
        )
    return probabilities, labels.astype(np.int64)


def _top_5_accuracy(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    from sklearn.metrics import top_k_accuracy_score

    classes = probabilities.shape[1]
    if classes <= 5:
        return 1.0
    # scikit-learn ranks the later of two equal classes first and argmax the earlier; in reverse order they
    # agree, so that top-5 is never below the accuracy.
    return float(top_k_accuracy_score(classes - 1 - labels, probabilities[:, ::-1], k=5, labels=np.arange(classes)))


def _cross_entropy(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    # scikit-learn's log_loss clips at float64's epsilon, where one confident mistake costs 36 instead of 16.
    totals = probabilities.sum(axis=1)
    of_truth = probabilities[np.arange(len(labels)), labels] / np.where(totals == 0, 1, totals)
    return float(-np.log(np.clip(of_truth, EPSILON, 1 - EPSILON)).mean())


def predictions_rows(
    probabilities: Any,
    labels: Any,
    class_names: Sequence[str],
    ids: Sequence[int | str],
) -> tuple[list[str], Iterator[list[str]]]:
    """The header and the rows of `predictions.csv`, for `csv.writer`.

    Args:
        probabilities: [images, classes].
        labels: The true class of each image, whole numbers from 0.
        class_names: One name per class.
        ids: What tells the images apart: their index in the split, or their file.

    Returns:
        The header (`index` or `file`, `true_class`, `predicted_class`, `confidence`, and one
        `probability_<class>` per class) and an iterator over the rows, made as they are written;
        probabilities have six significant digits.
    """
    indexed = len(ids) == 0 or isinstance(ids[0], int | np.integer)
    header = ["index" if indexed else "file", "true_class", "predicted_class", "confidence"]
    header += [f"probability_{name}" for name in class_names]

    def rows() -> Iterator[list[str]]:
        for identity, label, row in zip(ids, labels, np.asarray(probabilities), strict=True):
            predicted = int(row.argmax())
            numbers = [f"{value:.6g}" for value in row.tolist()]
            names = [class_names[int(label)], class_names[predicted]]
            yield [str(identity), *names, numbers[predicted], *numbers]

    return header, rows()


def differs_from_cross_entropy(metrics: dict[str, Any]) -> bool:
    """Whether the loss is another figure than the cross-entropy, as far as it is shown.

    Args:
        metrics: Those of `evaluation.json`; in those of older versions, the loss was always the cross-entropy.
    """
    loss, cross_entropy = metrics["loss"], metrics.get("cross_entropy", metrics["loss"])
    return f"{loss:.4f}" != f"{cross_entropy:.4f}"
