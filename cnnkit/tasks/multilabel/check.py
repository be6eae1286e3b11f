"""What a config says, held against images with any number of labels."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.config.check import Parts
from cnnkit.config.check_objectives import (
    check_metrics,
    check_mixing,
    check_objectives,
    check_smoothing,
    check_vector,
)
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.reports import Report
from cnnkit.config.training import TrainingConfig
from cnnkit.format.explain import Path
from cnnkit.layers.stack import Step, head

#: The losses of each label on its own.
LOSSES = ("BinaryCrossentropy", "BinaryFocalCrossentropy", "Dice", "Tversky")

#: Metrics that take an image to have one class.
_OF_ONE_CLASS = (
    "CategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "KLDivergence",
    "Poisson",
)

_ENDING = "end with `Flatten` or `GlobalAveragePooling2D` and `Dense: {units: classes, activation: sigmoid}`"


def check(
    thresholds: float | list[float] | str,
    parts: Parts,
    info: DataSetInfo,
    steps: Sequence[Step] | None,
    report: Report,
) -> None:
    """See `Task.check`."""
    _check_thresholds(thresholds, parts, info, report)
    if steps and parts.whole:
        check_vector(parts, steps, info, _ENDING, report)
    training = parts.training
    if training is None:
        return
    check_mixing(parts.augmentation, training, report)
    check_metrics(training, info, report)
    _check_one_class(training, report)
    check_smoothing(training, report)
    if steps and parts.whole and parts.ending_known and steps[-1].output_shape == (info.classes,):
        activation = head([step.layer for step in steps])
        if activation == "softmax":
            index = len(steps) - 1
            message = "an image may have several labels, whose probabilities a softmax adds up to 1; use a sigmoid"
            report(("model", "layers", index, parts.layers[index].kind), message)
        else:
            check_objectives(training, activation, report)


def _check_thresholds(thresholds: float | list[float] | str, parts: Parts, info: DataSetInfo, report: Report) -> None:
    path: Path = ("task", "multilabel", "thresholds")
    if isinstance(thresholds, list) and len(thresholds) != info.classes:
        report(path, f"expected {info.classes} thresholds, one per label, got {len(thresholds)}")
    data = parts.data
    # Where it is 0, rows of a table that are for validation are not used either.
    if thresholds == "validation" and not (data.validation or data.splits.validation):
        report(path, "`validation` needs validation images, but `data.validation` is 0; give a number instead")


def _check_one_class(training: TrainingConfig, report: Report) -> None:
    """Refuses losses and metrics that take an image to have one class, and weights of such classes."""
    if training.loss is not None:
        kind = type(training.loss).__name__
        if kind not in LOSSES:
            known = ", ".join(f"`{name}`" for name in LOSSES)
            report(
                ("training", "loss", kind), f"`{kind}` is no loss of several labels per image; choose one of {known}"
            )
    for index, metric in enumerate(training.metrics):
        kind = type(metric).__name__
        if kind in _OF_ONE_CLASS:
            message = f"`{kind}` is for one class per image; choose another, such as `BinaryAccuracy` or `AUC`"
            report(("training", "metrics", index, kind), message)
    if training.class_weights is not None:
        message = "weights are for one class per image; for rare labels, use `loss: BinaryFocalCrossentropy`"
        report(("training", "class_weights"), message)
