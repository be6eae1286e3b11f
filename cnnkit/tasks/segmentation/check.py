"""What a config says, held against images with a mask each."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.config.check import Parts, sizes_that_do
from cnnkit.config.check_objectives import check_class_weights, check_objectives
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.reports import Report
from cnnkit.config.training import TrainingConfig
from cnnkit.format.explain import Path
from cnnkit.format.shapes import format_shape
from cnnkit.layers.stack import Step, head

#: The losses that have a meaning for masks.
LOSSES = ("CategoricalCrossentropy", "CategoricalFocalCrossentropy", "Dice", "Tversky", "Sum")


def check(parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
    """See `Task.check`."""
    size = (*info.shape[:2], info.classes)
    ends = bool(steps) and parts.whole and steps is not None and steps[-1].output_shape == size
    if steps and parts.whole and not ends:
        _report_output(parts, info, steps, size, report)
    training = parts.training
    if training is None:
        return
    _check_losses(training, report)
    if steps and ends and parts.ending_known:
        activation = head([step.layer for step in steps])
        if activation == "sigmoid":
            index = len(parts.layers) - 1
            path: Path = ("model", "layers", index, parts.layers[index].kind)
            report(path, "a pixel has one class; end the network with a softmax instead of a sigmoid")
        else:
            check_objectives(training, activation, report)
    check_class_weights(training, info, report)


def _report_output(
    parts: Parts, info: DataSetInfo, steps: Sequence[Step], size: tuple[int, ...], report: Report
) -> None:
    output = steps[-1].output_shape
    index = len(parts.layers) - 1
    if len(output) != 3:
        fix = "leave out what flattens or averages the image, and end with a 1x1 convolution"
    elif output[:2] != size[:2]:
        padded = sizes_that_do(parts, info).removeprefix("; ")
        fix = padded or "bring the sizes back with `Conv2DTranspose` or `UpSampling2D`"
    else:
        fix = "end with `Conv2D: {filters: classes, kernel_size: 1, activation: softmax}`"
    message = f"the network outputs {format_shape(output)}, but the masks need {format_shape(size)}; {fix}"
    report(("model", "layers", index, parts.layers[index].kind), message, of_training=True)


def _check_losses(training: TrainingConfig, report: Report) -> None:
    if training.loss is not None:
        kind = type(training.loss).__name__
        for _, part in training.loss.parts():
            name = type(part).__name__
            if name not in LOSSES:
                known = ", ".join(f"`{known}`" for known in LOSSES)
                report(("training", "loss", kind), f"`{name}` has no meaning for masks; choose one of {known}")
            elif getattr(part, "axis", None) not in (None, -1):
                report(("training", "loss", kind), f"`{name}` is taken for each class here; leave out `axis`")
        for one in (training.loss, *(part for _, part in training.loss.parts() if part is not training.loss)):
            if one.reduction != "sum_over_batch_size":
                message = f"`{type(one).__name__}` is a mean over the pixels that count; leave out `reduction`"
                report(("training", "loss", kind), message)
        parts = [type(part).__name__ for _, part in training.loss.parts()]
        if training.class_weights is not None and set(parts) <= {"Dice", "Tversky"}:
            message = f"`{kind}` counts every class alike, so that weights change nothing; leave them out"
            report(("training", "class_weights"), message)
    if training.label_smoothing:
        message = "masks are not smoothed; write `loss: {CategoricalCrossentropy: {label_smoothing: ...}}`"
        report(("training", "label_smoothing"), message)
    for index, metric in enumerate(training.metrics):
        name = type(metric).__name__
        path: Path = ("training", "metrics", index, name)
        report(path, f"`{name}` is for one label per image; mean IoU and pixel accuracy are measured in each epoch")
