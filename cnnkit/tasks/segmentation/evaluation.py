"""A run, or several as one, against images with masks; and what a run keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.data.splits import Split
from cnnkit.runs.directory import Run, damaged
from cnnkit.runs.heads import pixel_probabilities
from cnnkit.runs.inference import inference_batch_size
from cnnkit.runs.json_forms import REQUIRED, Form
from cnnkit.runs.outputs import shared_batches
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation
from cnnkit.tasks.segmentation.metrics import confusion_of, iou_of, segmentation_metrics
from cnnkit.tasks.segmentation.predictions import Predictions, predictor
from cnnkit.tasks.segmentation.training import configured_loss, make_loss

_RATIOS = ("mean_iou", "mean_dice", "pixel_accuracy", "class_accuracy", "loss")

#: What evaluation.json says.
EVALUATION: Form = {
    "images": int,
    "pixels": int,
    "loss_function": str,
    "metrics": {},
    **dict.fromkeys(_RATIOS, float),
    "per_class": [
        {"class": str, "iou": float, "dice": float, "precision": float, "recall": float, "share": float}
        | {REQUIRED: ("class", "share")}
    ],
    "absent_classes": [str],
    "confusion_matrix": [[int]],
    REQUIRED: ("images", "pixels", *_RATIOS, "per_class", "absent_classes", "confusion_matrix"),
}


def evaluate(members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
    """See `Task.evaluate`: one confusion matrix of all images, of a run or of several runs' mean probabilities."""
    from cnnkit.data import naming_corrupt_files

    first = members[0]
    target = first.loaded.info.target
    names = first.interface.class_names
    networks = [trained.network(tta)[0] for trained in members]
    heads = [trained.interface.head for trained in members]
    batch_size = min(inference_batch_size(trained.model) for trained in members)
    losses = _LossOf(first) if len(members) == 1 else None
    matrices = []

    def answers(batch: Any) -> list[Any]:
        return [network(batch) for network in networks]

    with naming_corrupt_files(images):
        for outputs, masks in shared_batches(
            lambda batch: [network(batch) for network in networks], images, batch_size
        ):
            each = [pixel_probabilities(output, head) for output, head in zip(outputs, heads, strict=True)]
            truth = np.asarray(masks)[..., 0]
            # Of each member where there are several, and of their average at last.
            guesses = [probabilities.argmax(axis=-1) for probabilities in (each if len(each) > 1 else [])]
            guesses.append((sum(each) / len(each)).argmax(axis=-1))
            matrices += [
                [confusion_of(true, guess[index], len(names), target.ignore) for guess in guesses]
                for index, true in enumerate(truth)
            ]
            if losses is not None:
                losses.add(masks, outputs[0])
    totals = np.sum(matrices, axis=0)
    metrics = {"images": images.size, **segmentation_metrics(totals[-1], names)}
    if losses is not None:
        metrics |= losses.result()
    if len(members) > 1:
        metrics["members"] = [
            {"run": trained.run.name, "mean_iou": float(np.nanmean(iou_of(total)))}
            for trained, total in zip(members, totals, strict=False)
        ]
    of_images = np.array([matrix[-1] for matrix in matrices])
    return Evaluation(
        metrics, Predictions.of(images, of_images, predictor(members, tta), target, members[0].interface.padding)
    )


class _LossOf:
    """The configured loss of a run, as `val_loss` is measured: the mean of batches, each with its number of images."""

    def __init__(self, trained: TrainedRun) -> None:
        config = trained.loaded.config
        self._loss = make_loss(config.training, trained.interface.head, trained.loaded.info.target)
        self._function = type(configured_loss(config.training)).__name__
        self._penalty = float(sum(map(float, trained.model.losses)))
        self._total, self._images = 0.0, 0

    def add(self, masks: Any, outputs: Any) -> None:
        self._total += float(self._loss(masks, outputs)) * len(masks)
        self._images += len(masks)

    def result(self) -> dict[str, Any]:
        loss = self._total / self._images + self._penalty
        return {"loss": loss, "loss_function": self._function, "metrics": {}}


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json, with all that an evaluation says.

    Raises:
        CnnkitError: if it is missing or damaged, or may not be read.
    """
    evaluation = run.read_evaluation(EVALUATION)
    classes, matrix = len(evaluation["per_class"]), evaluation["confusion_matrix"]
    if len(matrix) != classes or any(len(row) != classes for row in matrix):
        reason = f"`confusion_matrix` should have {classes} rows of as many numbers"
        raise damaged(run.evaluation, reason, run.evaluate_again)
    return evaluation
