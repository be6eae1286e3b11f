"""What a config says, held against images of one class each."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.config.check import Parts
from cnnkit.config.check_objectives import (
    check_class_weights,
    check_labels_per_image,
    check_metrics,
    check_mixing,
    check_objectives,
    check_smoothing,
    check_vector,
)
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.reports import Report
from cnnkit.layers.stack import Step, head

_ENDING = "end with `Flatten` or `GlobalAveragePooling2D` and `Dense: {units: classes, activation: softmax}`"


def check(parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
    """See `Task.check`."""
    if steps and parts.whole:
        check_vector(parts, steps, info, _ENDING, report)
    if parts.training is None:
        return
    check_mixing(parts.augmentation, parts.training, report)
    check_metrics(parts.training, info, report)
    if steps and parts.whole and parts.ending_known and steps[-1].output_shape == (info.classes,):
        check_objectives(parts.training, head([step.layer for step in steps]), report)
    check_smoothing(parts.training, report)
    check_class_weights(parts.training, info, report)
    check_labels_per_image(parts.training, report)
