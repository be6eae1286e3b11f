"""Losses, figures and weights of masks against Keras, scikit-learn and formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import jaccard_score
from sklearn.utils.class_weight import compute_class_weight

from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.target import Mask
from cnnkit.config.training import TrainingConfig
from cnnkit.data.splits import ArraySource, Split
from cnnkit.data.targets import StoredMasks
from cnnkit.format.base import Choice
from cnnkit.tasks.segmentation.training import class_weights, finish_masks, make_loss, make_metrics

TARGET = Mask(3, ("a", "b", "c"), ignore=9)


def batch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Masks [2, 5, 6, 1], of which a third is ignored, and probabilities [2, 5, 6, 3]."""
    random = np.random.RandomState(seed)
    masks = random.choice([0, 1, 2, 9], (2, 5, 6, 1)).astype(np.uint8)
    scores = random.gamma(1, 1, (2, 5, 6, 3)).astype(np.float32)
    return masks, scores / scores.sum(axis=-1, keepdims=True)


def loss_of(text: Any, head: str = "softmax", target: Mask = TARGET) -> Any:
    return make_loss(TrainingConfig.model_validate({} if text is None else {"loss": text}), head, target)


def counted(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels count, and the true class of each, 0 for those that do not."""
    counts = masks[..., 0] != 9
    return counts, np.where(counts, masks[..., 0], 0).astype(int)


def test_cross_entropy_is_keras_own_with_an_ignored_class() -> None:
    import keras

    masks, probabilities = batch()
    theirs = keras.losses.SparseCategoricalCrossentropy(ignore_class=9)(masks, probabilities)
    assert float(loss_of(None)(masks, probabilities)) == pytest.approx(float(theirs), rel=1e-6)
    logits = np.log(probabilities)
    assert float(loss_of(None, "logits")(masks, logits)) == pytest.approx(float(theirs), rel=1e-5)


def test_weights_weigh_pixels() -> None:
    masks, probabilities = batch(1)
    counts, ids = counted(masks)
    weights = np.array([0.5, 2.0, 3.0], np.float32)
    finish = finish_masks(weights)
    assert finish is not None
    _, _, of_pixels = finish({"images": masks, "segmentation_masks": masks})
    of_truth = np.take_along_axis(probabilities, ids[..., None], axis=-1)[..., 0]
    expected = (weights[ids] * -np.log(of_truth))[counts].mean()
    assert float(loss_of(None)(masks, probabilities, of_pixels)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "alpha", "beta"), [("Dice", 0.5, 0.5), ("Tversky", 0.3, 0.7)])
def test_losses_of_regions_by_their_formula(name: str, alpha: float, beta: float) -> None:
    masks, probabilities = batch(2)
    counts, ids = counted(masks)
    values = []
    for number in range(3):
        truth, guess = (ids == number) & counts, probabilities[..., number] * counts
        both = (truth * guess).sum()
        wrong, missed = (guess * ~truth).sum(), (truth * (1 - guess)).sum()
        # Keras' `alpha` weighs what is missed, whatever its documentation says.
        values.append(1 - both / (both + alpha * missed + beta * wrong))
    text: Any = name if name == "Dice" else {name: {"alpha": alpha, "beta": beta}}
    assert float(loss_of(text)(masks, probabilities)) == pytest.approx(np.mean(values), rel=1e-5)


def test_focal_loss_by_its_formula() -> None:
    masks, probabilities = batch(3)
    counts, ids = counted(masks)
    of_truth = np.take_along_axis(probabilities, ids[..., None], axis=-1)[..., 0]
    expected = (0.25 * (1 - of_truth) ** 2 * -np.log(of_truth))[counts].mean()
    assert float(loss_of("CategoricalFocalCrossentropy")(masks, probabilities)) == pytest.approx(expected, rel=1e-5)


def test_a_sum_is_the_sum_of_its_parts() -> None:
    masks, probabilities = batch(4)
    parts = ["CategoricalCrossentropy", "Dice"]
    each = [float(loss_of(part)(masks, probabilities)) for part in parts]
    assert float(loss_of({"Sum": parts})(masks, probabilities)) == pytest.approx(sum(each), rel=1e-6)
    weighted = {"Sum": {"losses": parts, "weights": [0.25, 2]}}
    assert float(loss_of(weighted)(masks, probabilities)) == pytest.approx(0.25 * each[0] + 2 * each[1], rel=1e-6)


def test_a_batch_without_a_pixel_that_counts_has_no_loss() -> None:
    masks, probabilities = batch()
    assert float(loss_of(None)(np.full_like(masks, 9), probabilities)) == 0


@pytest.mark.parametrize("weights", [{"losses": ["Dice"], "weights": [1, 2]}, {"losses": []}, ["Sum"]])
def test_sums_that_cannot_be_are_refused(weights: Any) -> None:
    with pytest.raises(Exception, match="mistake in Sum"):
        Choice(LOSSES).validate({"Sum": weights})


def test_figures_of_an_epoch_are_those_of_all_its_batches() -> None:
    iou, accuracy = make_metrics(TARGET)
    truth, guesses = [], []
    for seed in range(3):
        masks, probabilities = batch(seed)
        for metric in (iou, accuracy):
            metric.update_state(masks, probabilities)
        counts, ids = counted(masks)
        truth.append(ids[counts])
        guesses.append(probabilities.argmax(axis=-1)[counts])
    y, guess = np.concatenate(truth), np.concatenate(guesses)
    assert (iou.name, accuracy.name) == ("mean_iou", "pixel_accuracy")
    assert float(iou.result()) == pytest.approx(jaccard_score(y, guess, average="macro"), rel=1e-6)
    assert float(accuracy.result()) == pytest.approx((y == guess).mean(), rel=1e-6)


def split_of(masks: np.ndarray) -> Split:
    stored = np.concatenate([np.zeros((*masks.shape, 3), np.uint8), masks[..., None]], axis=-1)
    targets = StoredMasks(len(masks))
    source = ArraySource(stored, targets, "made")
    return Split("train", targets, (*masks.shape[1:], 3), source, np.arange(len(masks)), stored)


def test_rules_for_weights_of_classes() -> None:
    random = np.random.RandomState(0)
    masks = random.choice([0, 1, 2, 9], (4, 6, 6), p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)
    # One class is not in every image.
    masks[0][masks[0] == 2] = 0
    split = split_of(masks)
    pixels = masks[masks != 9]
    balanced = class_weights(TrainingConfig.model_validate({"class_weights": "balanced"}), split, TARGET)
    np.testing.assert_allclose(balanced, compute_class_weight("balanced", classes=np.arange(3), y=pixels), rtol=1e-6)
    median = class_weights(TrainingConfig.model_validate({"class_weights": "median_frequency"}), split, TARGET)
    frequency = []
    for number in range(3):
        holding = [mask[mask != 9] for mask in masks if (mask == number).any()]
        frequency.append(sum((mask == number).sum() for mask in holding) / sum(map(len, holding)))
    np.testing.assert_allclose(median, np.median(frequency) / np.array(frequency), rtol=1e-6)
    assert class_weights(TrainingConfig.model_validate({}), split, TARGET) is None
