"""Average precision against COCO's evaluator, and what a metric counts in batches against both."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from cnnkit.runs.interface import Interface
from cnnkit.tasks.detection import Detection
from cnnkit.tasks.detection.evaluation import best_threshold
from cnnkit.tasks.detection.peaks import Detections
from cnnkit.tasks.detection.precision import precisions
from cnnkit.tasks.detection.predictions import judge

CLASSES = 3


def by_coco(each: list[Detections], truths: list[np.ndarray]) -> np.ndarray:
    """Average precision of each class at each overlap by pycocotools, [classes, thresholds]; -1 without objects."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    annotations: list[dict[str, Any]] = []
    for number, boxes in enumerate(truths):
        for left, top, right, bottom, kind, crowd in boxes.tolist():
            box = [left, top, right - left, bottom - top]
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": int(kind), "bbox": box,
                                "area": box[2] * box[3], "iscrowd": int(crowd)})  # fmt: skip
    results = [
        {"image_id": number, "category_id": int(kind), "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
         "score": float(score)}
        for number, found in enumerate(each)
        for box, score, kind in zip(found.boxes, found.scores, found.numbers, strict=True)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(len(truths))],
            "categories": [{"id": number} for number in range(CLASSES)],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluator = cocoeval.COCOeval(truth, truth.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
    # [thresholds, recalls, classes, areas, most detections]: all areas, 100 detections.
    values: np.ndarray = evaluator.eval["precision"][:, :, :, 0, -1]
    return values.mean(axis=1).T


def random_case(seed: int, images: int = 30, crowds: float = 0.15) -> tuple[list[Detections], list[np.ndarray]]:
    """Boxes and detections that overlap them more or less; scores have ties, images may have none of either."""
    generator = np.random.default_rng(seed)
    each, truths = [], []
    for _ in range(images):
        count = int(generator.integers(0, 6))
        corners = generator.integers(0, 60, (count, 2)).astype(np.float64)
        sides = generator.integers(4, 40, (count, 2))
        kinds = generator.integers(0, CLASSES, count)
        crowd = generator.random(count) < crowds
        boxes = np.concatenate([corners, corners + sides, kinds[:, None], crowd[:, None]], axis=1)
        truths.append(boxes)
        guesses = [boxes[:, :4] + generator.normal(0, 2, (count, 4)), boxes[:, :4] + generator.normal(0, 6, (count, 4))]
        extra = generator.integers(0, 5)
        corner = generator.integers(0, 60, (extra, 2))
        guesses.append(np.concatenate([corner, corner + generator.integers(2, 40, (extra, 2))], axis=1))
        found = np.concatenate(guesses)
        numbers = np.concatenate([kinds, kinds, generator.integers(0, CLASSES, extra)])
        # Exact copies overlap by 1, and one decimal makes ties.
        if count:
            found[0] = boxes[0, :4]
        good = (found[:, 2:] - found[:, :2]).min(axis=1) > 1
        found, numbers = found[good], numbers[good]
        scores = np.round(generator.random(len(found)), 1)
        order = np.argsort(-scores, kind="stable")
        each.append(Detections(found[order], scores[order], numbers[order]))
    return each, truths


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_is_that_of_cocos_evaluator(seed: int) -> None:
    each, truths = random_case(seed)
    ours = precisions(each, truths, CLASSES, 100)
    theirs = by_coco(each, truths)
    np.testing.assert_allclose(np.nan_to_num(ours.values, nan=-1), theirs, atol=1e-9)
    assert ours.mean() == pytest.approx(theirs[theirs[:, 0] >= 0].mean())
    assert 0.05 < ours.mean() < 0.95


def test_classes_without_objects_and_images_without_boxes() -> None:
    each, truths = random_case(3)
    truths = [boxes[boxes[:, 4] != 1] for boxes in truths]
    each[0] = each[0].above(2.0)
    ours = precisions(each, truths, CLASSES, 100)
    assert np.isnan(ours.values[1]).all()
    assert ours.objects[1] == 0
    theirs = by_coco(each, truths)
    np.testing.assert_allclose(np.nan_to_num(ours.values, nan=-1), theirs, atol=1e-9)


def test_only_the_surest_detections_count() -> None:
    """As with COCO's limit: of a class in an image."""
    box = np.array([[0.0, 0, 10, 10, 0, 0]])
    found = Detections(np.array([[50.0, 50, 60, 60], [0, 0, 10, 10]]), np.array([0.9, 0.8]), np.array([0, 0]))
    assert precisions([found], [box], 1, 1).mean() == 0.0
    # The first of two is wrong: half of what is said is right.
    assert precisions([found], [box], 1, 2).mean() == pytest.approx(0.5)


def test_what_is_said_of_crowded_images_has_no_other_limit() -> None:
    """120 objects of a class in an image, all found exactly; three boxes in another one hold nothing."""
    left, top = (10.0 * axis.ravel() for axis in np.mgrid[:12, :10])
    boxes = np.stack([left, top, left + 8, top + 8], axis=1)
    scores = np.append(np.linspace(0.9, 0.5, 100), np.linspace(0.2, 0.1, 20))
    each = [
        Detections(boxes, scores, np.zeros(120, np.int64)),
        Detections(boxes[:3], np.full(3, 0.3), np.zeros(3, np.int64)),
    ]
    truths = [np.concatenate([boxes, np.zeros((120, 2))], axis=1), np.zeros((0, 6))]
    judged = judge(each[0], truths[0], 0.1, 1)
    assert (judged.right.sum(), judged.missed.sum()) == (120, 0)
    # F1 is 240/243 with all of them, and 200/220 with those that are surer than the wrong ones.
    threshold = best_threshold(each, truths, 1)
    assert threshold is not None
    assert threshold <= 0.1


def test_more_than_a_hundred_boxes_are_the_same_only_where_all_are() -> None:
    """192 boxes, of which the 80 least sure ones lie elsewhere."""
    answers = Detection(detections=200).answers(Interface((96, 128, 3), ("cat",), "logits"))
    outputs = np.full((1, 24, 32, 5), -9.0, np.float32)
    outputs[0, :14:2, ::2, 0] = 2
    outputs[0, 14::2, ::2, 0] = 1
    outputs[..., 1:] = 0, 0, 1, 1
    others = outputs.copy()
    others[0, 14:, :, 1] = 0.9
    assert answers.read(outputs)[0].cells(1)[0] == "192"
    assert answers.same(outputs, outputs).tolist() == [True]
    assert answers.same(outputs, others).tolist() == [False]


def test_the_best_threshold_is_between_scores_however_close_they_are() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    for scores in ((0.99999, 0.99998), (1.0, np.nextafter(1, 0)), (2e-300, 1e-300), (0.8, 0.2)):
        found = Detections(boxes, np.array(scores), np.zeros(2, np.int64))
        threshold = best_threshold([found], [np.array([[0.0, 0, 10, 10, 0, 0]])], 1)
        assert threshold is not None
        assert found.above(threshold).scores.tolist() == [scores[0]]
    # In few digits where they are enough.
    assert threshold == 0.5
