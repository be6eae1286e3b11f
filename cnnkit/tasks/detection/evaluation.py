"""How good the boxes of runs are on a whole split, and the score from which on they are said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.data.splits import Split
from cnnkit.errors import UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.inference import inference_batch_size
from cnnkit.runs.json_forms import REQUIRED, Form
from cnnkit.runs.outputs import shared_batches
from cnnkit.runs.thresholds import threshold_between
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation
from cnnkit.tasks.detection.detecting import THRESHOLD, detector, threshold_of
from cnnkit.tasks.detection.peaks import Detections, detections_of
from cnnkit.tasks.detection.precision import RECALLS, Curve, Precisions, curve, match, precisions
from cnnkit.tasks.detection.predictions import Predictions
from cnnkit.tasks.detection.settings import Settings
from cnnkit.tasks.detection.training import collisions, make_loss

_SHARES = ("map", "map_50", "map_75", "precision", "recall", "f1", "threshold")

#: What evaluation.json says.
EVALUATION: Form = {
    "images": int,
    "objects": int,
    "loss_function": str,
    "metrics": {},
    "collisions": int,
    "loss": float,
    **dict.fromkeys(_SHARES, float),
    "per_class": [
        {"class": str, "ap": float, "ap_50": float, "ap_75": float, "objects": int, "curve": [float]}
        | {REQUIRED: ("class", "objects")}
    ],
    REQUIRED: ("images", "objects", "loss", *_SHARES, "per_class", "collisions"),
}


def conclude(settings: Settings, trained: TrainedRun, validation: Split | None) -> dict[str, Any] | None:
    """The score from which on boxes are said: that with the largest F1 on the validation images, at an overlap of 0.5.

    Returns:
        `threshold`; None without validation images or objects in them.
    """
    if validation is None:
        return None
    found, truths, _ = _detected(settings, trained, validation)
    classes = len(trained.interface.class_names)
    threshold = best_threshold(found, truths, classes)
    return None if threshold is None else {THRESHOLD: threshold}


def best_threshold(found: Sequence[Detections], truths: Sequence[Any], classes: int) -> float | None:
    """The score from which on boxes have the largest F1 of all classes together, at an overlap of 0.5.

    Halfway to the next lower score; None where no object counts.
    """
    level = np.array([0.5])
    matches = [
        match(one, true, number, level) for one, true in zip(found, truths, strict=True) for number in range(classes)
    ]
    line = curve(matches, 0)
    if line is None or not len(line.scores):
        return None
    sums = line.precision + line.recall
    f1 = np.divide(2 * line.precision * line.recall, sums, out=np.zeros_like(sums), where=sums > 0)
    # Of equal scores, all come or none.
    last = np.append(np.diff(line.scores) != 0, True)
    best = int(np.where(last, f1, -1).argmax())
    below = line.scores[best + 1] if best + 1 < len(line.scores) else 0.0
    return threshold_between(float(below), float(line.scores[best]), 4)


def _detected(
    settings: Settings, trained: TrainedRun, images: Split
) -> tuple[list[Detections], list[Any], dict[str, Any]]:
    """What a run says of each image, its true boxes, and the loss, as `val_loss` is measured."""
    from cnnkit.data import naming_corrupt_files

    network = trained.network()[0]
    classes = len(trained.interface.class_names)
    loss = make_loss(settings, trained.loaded.info.target)
    found: list[Detections] = []
    truths: list[Any] = []
    total = 0.0
    with naming_corrupt_files(images):
        batches = shared_batches(lambda batch: [network(batch)], images, inference_batch_size(trained.model))
        for (outputs,), boxes in batches:
            found += detections_of(outputs, classes, settings.stride, settings.most)
            truths += [true[true[:, 4] >= 0] for true in np.asarray(boxes)]
            total += float(loss(boxes, outputs)) * len(boxes)
    penalty = float(sum(map(float, trained.model.losses)))
    return found, truths, {"loss": total / images.size + penalty, "loss_function": "DetectionLoss", "metrics": {}}


def evaluate(settings: Settings, members: Sequence[TrainedRun], images: Split) -> Evaluation:
    """See `Task.evaluate`: average precision over all images, as COCO measures it.

    Raises:
        UsageError: for several runs.
        CnnkitError: if no object counts.
    """
    if len(members) > 1:
        raise UsageError("the boxes of several runs are not averaged", "Measure each run by itself.")
    (trained,) = members
    images.targets.check_measurable(images.name)
    names = trained.interface.class_names
    found, truths, losses = _detected(settings, trained, images)
    threshold = threshold_of(trained.interface)
    result = precisions(found, truths, len(names), settings.most)
    predictions = Predictions.of(images, found, truths, threshold, names, detector(trained, settings))
    metrics = {
        "images": images.size,
        "objects": int(result.objects.sum()),
        "map": result.mean(),
        "map_50": result.mean(0),
        "map_75": result.mean(5),
        **predictions.rates(),
        "threshold": threshold,
        "collisions": collisions(images.targets, settings.stride),
        **losses,
        "per_class": [_class_row(result, number, name) for number, name in enumerate(names)],
    }
    return Evaluation(metrics, predictions)


def _class_row(result: Precisions, number: int, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"class": name, "objects": int(result.objects[number])}
    line = result.curves[number]
    if line is None:
        return row
    values = result.values[number]
    return row | {
        "ap": float(values.mean()),
        "ap_50": float(values[0]),
        "ap_75": float(values[5]),
        "curve": [float(f"{value:.4g}") for value in _read_curve(line)],
    }


def _read_curve(line: Curve) -> Any:
    """The best precision with at least each of 101 recalls, 0 where none reaches it."""
    best = np.append(np.maximum.accumulate(line.precision[::-1])[::-1], 0.0)
    return best[np.searchsorted(line.recall, RECALLS, side="left")]


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json, with all that an evaluation says.

    Raises:
        CnnkitError: if it is missing or damaged, or may not be read.
    """
    return run.read_evaluation(EVALUATION)
