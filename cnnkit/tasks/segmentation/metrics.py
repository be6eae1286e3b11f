"""What a segmentation is worth: everything from one confusion matrix of a whole split, never a mean of batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError

#: Pixels of each true class (rows) that were taken for each class (columns), int64 [classes, classes].
Confusion = NDArray[np.int64]


def confusion_of(truth: NDArray[Any], predicted: NDArray[Any], classes: int, ignore: int | None) -> Confusion:
    """The confusion matrix of some masks.

    Args:
        truth: The true class of each pixel, whole numbers of any shape.
        predicted: The predicted one, of the same shape.
        ignore: The number of pixels that do not count; None where all count.

    Raises:
        CnnkitError: if a true class is none of the classes.
    """
    truth, predicted = truth.ravel().astype(np.int64), predicted.ravel().astype(np.int64)
    if ignore is not None:
        counts = truth != ignore
        truth, predicted = truth[counts], predicted[counts]
    if truth.size and (truth.min() < 0 or truth.max() >= classes):
        raise CnnkitError(
            f"expected classes from 0 to {classes - 1} in the masks, got {truth.min()} to {truth.max()}",
            "Correct the masks, or say with `data.ignore` which number does not count.",
        )
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def iou_of(confusion: Confusion) -> NDArray[np.float64]:
    """Intersection over union of each class, float64 [classes]; NaN for one that is neither in truth nor prediction."""
    both = np.diag(confusion).astype(np.float64)
    return _ratio(both, confusion.sum(axis=0) + confusion.sum(axis=1) - both)


def segmentation_metrics(confusion: Confusion, class_names: Sequence[str]) -> dict[str, Any]:
    """The metrics of evaluation.json, as plain values.

    Args:
        confusion: Of all images.
        class_names: One name per class.

    Returns:
        `pixels`: how many count; `mean_iou`, `mean_dice`: the means over the classes that occur in truth or prediction;
        `pixel_accuracy`: the share of pixels whose class is right; `class_accuracy`: the mean over the classes that
        occur in truth of the share of its pixels that are right; `per_class`: a list of {class, iou, dice, precision,
        recall, share}, where share is that of the pixels in truth and a ratio of 0 to 0 is None; `absent_classes`:
        those that occur in neither, which no mean counts; `confusion_matrix`: pixel counts, rows are true classes,
        columns predicted ones. All ratios are 0..1.

    Raises:
        CnnkitError: if no pixel counts.
    """
    total = int(confusion.sum())
    if total == 0:
        raise CnnkitError(
            "no pixel of the masks counts: all of them are ignored", "Check `data.ignore` and the masks of the split."
        )
    both = np.diag(confusion).astype(np.float64)
    in_truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    iou = iou_of(confusion)
    dice = _ratio(2 * both, in_truth + predicted)
    recall, precision = _ratio(both, in_truth), _ratio(both, predicted)
    return {
        "pixels": total,
        "mean_iou": float(np.nanmean(iou)),
        "mean_dice": float(np.nanmean(dice)),
        "pixel_accuracy": float(both.sum() / total),
        "class_accuracy": float(np.nanmean(recall)),
        "per_class": [
            {
                "class": str(name),
                "iou": _plain(iou[index]),
                "dice": _plain(dice[index]),
                "precision": _plain(precision[index]),
                "recall": _plain(recall[index]),
                "share": float(in_truth[index] / total),
            }
            for index, name in enumerate(class_names)
        ],
        "absent_classes": [str(name) for name, value in zip(class_names, iou, strict=True) if np.isnan(value)],
        "confusion_matrix": confusion.tolist(),
    }


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """Element by element; NaN for 0 to 0."""
    ratio = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
