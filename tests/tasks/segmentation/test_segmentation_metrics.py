"""Metrics of masks against scikit-learn's, computed pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from cnnkit.errors import CnnkitError
from cnnkit.tasks.segmentation.metrics import confusion_of, segmentation_metrics

NAMES = ("a", "b", "c", "d")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 3, 200]))
def test_all_figures_are_those_of_scikit_learn(seed: int, ignore: int | None) -> None:
    random = np.random.RandomState(seed)
    truth = random.choice([0, 1, 2] if ignore is None else [0, 1, 2, ignore], (3, 7, 5))
    predicted = random.randint(0, 3, (3, 7, 5))
    if ignore is not None and (truth == ignore).all():
        return
    classes = 3
    # Image by image, and summed up: the order and size of batches do not matter.
    total = np.sum([confusion_of(one, two, classes, ignore) for one, two in zip(truth, predicted, strict=True)], axis=0)
    counts = truth != ignore if ignore is not None else np.ones_like(truth, bool)
    y, guess = truth[counts], predicted[counts]
    np.testing.assert_array_equal(total, confusion_matrix(y, guess, labels=range(classes)))
    found = segmentation_metrics(total, NAMES[:classes])
    seen = sorted(set(y) | set(guess))
    assert found["pixels"] == len(y)
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(y, guess), abs=1e-15)
    assert found["mean_iou"] == pytest.approx(jaccard_score(y, guess, labels=seen, average="macro"), abs=1e-15)
    assert found["mean_dice"] == pytest.approx(f1_score(y, guess, labels=seen, average="macro"), abs=1e-15)
    in_truth = sorted(set(y))
    assert found["class_accuracy"] == pytest.approx(recall_score(y, guess, labels=in_truth, average="macro"), abs=1e-15)
    for number in seen:
        row = found["per_class"][number]
        one = {"labels": [number], "average": None, "zero_division": np.nan}
        assert row["iou"] == pytest.approx(jaccard_score(y, guess, labels=[number], average=None)[0], abs=1e-15)
        for key, score in (("precision", precision_score), ("recall", recall_score)):
            theirs = score(y, guess, **one)[0]
            assert (row[key] is None and np.isnan(theirs)) or row[key] == pytest.approx(theirs, abs=1e-15)
    assert found["absent_classes"] == [NAMES[number] for number in range(classes) if number not in seen]


def test_a_class_that_is_nowhere_is_in_no_mean() -> None:
    truth = np.array([[0, 0, 1, 1]])
    found = segmentation_metrics(confusion_of(truth, truth, 4, None), NAMES)
    assert found["mean_iou"] == found["mean_dice"] == found["class_accuracy"] == 1
    assert found["absent_classes"] == ["c", "d"]
    assert found["per_class"][2]["iou"] is None


def test_all_background_is_not_taken_for_a_success() -> None:
    """99 of 100 pixels are right, and half of the classes is missed."""
    truth = np.zeros(100, int)
    truth[0] = 1
    found = segmentation_metrics(confusion_of(truth, np.zeros(100, int), 2, None), NAMES[:2])
    assert found["pixel_accuracy"] == 0.99
    assert found["mean_iou"] == pytest.approx(0.495)


def test_what_cannot_be_measured_is_an_error() -> None:
    nothing = np.full((2, 2), 9)
    with pytest.raises(CnnkitError, match="all of them are ignored"):
        segmentation_metrics(confusion_of(nothing, nothing * 0, 2, 9), NAMES[:2])
    with pytest.raises(CnnkitError, match="expected classes from 0 to 1 in the masks, got 0 to 9"):
        confusion_of(np.array([0, 9]), np.array([0, 0]), 2, None)


@pytest.mark.parametrize("ignore", [None, 2, 3, 255])
def test_the_training_figure_is_that_of_keras_own_metric(ignore: int | None) -> None:
    """Over several batches, also of classes that occur in no mask, and whatever number is ignored."""
    import keras

    from cnnkit.tasks.segmentation.keras_objects import MaskIoU

    random = np.random.default_rng(0)
    ours = MaskIoU(3, ignore)
    theirs = keras.metrics.MeanIoU(3, ignore_class=ignore, sparse_y_pred=False)
    for count in (4, 1):
        masks = random.integers(0, 2, (count, 5, 7, 1)).astype(np.uint8)
        if ignore is not None:
            masks[:, 2] = ignore
        outputs = random.random((count, 5, 7, 3), np.float32)
        ours.update_state(masks, outputs)
        theirs.update_state(masks[..., 0], outputs)
        assert float(ours.result()) == float(theirs.result())
