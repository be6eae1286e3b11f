"""What a config says, held against images with a box around each object."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.config.check import Parts
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.reports import Report
from cnnkit.config.training import TrainingConfig
from cnnkit.format.explain import Path
from cnnkit.format.shapes import Shape, format_shape
from cnnkit.layers.stack import Step, last_activation

#: Settings of `training` that mean nothing here, and why.
_REFUSED = {
    "loss": "the loss of boxes has three parts, whose weights are arguments of the task: "
    "`task: {detection: {size_weight: 0.1}}`",
    "metrics": "these are for one label per image; mAP is measured in each epoch",
    "label_smoothing": "centres of objects are not smoothed",
    "class_weights": "the focal loss weighs places by how wrong they are, and classes alike",
}

#: What ends a network that outputs boxes.
ENDING = (
    "end with `Branches` of three paths, whose last layers are `Conv2D: {filters: classes, kernel_size: 1, "
    "bias_initializer: {Constant: -2.19}}` (the classes), and twice `Conv2D: {filters: 2, kernel_size: 1}` (the offset "
    "of the centre, and the size)"
)


def check(stride: int, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
    """See `Task.check`."""
    if steps and parts.whole:
        _check_output(stride, parts, info, steps, report)
    if parts.training is not None:
        _check_training(parts.training, report)


def _check_output(stride: int, parts: Parts, info: DataSetInfo, steps: Sequence[Step], report: Report) -> None:
    height, width = info.shape[:2]
    output = steps[-1].output_shape
    at_end: Path = ("model", "layers", len(parts.layers) - 1, parts.layers[-1].kind)
    if height % stride or width % stride:
        message = (
            f"images of {height}x{width} do not divide into places of {stride}x{stride} pixels; resize them with "
            f"`data.image_size: [{-(-height // stride) * stride}, {-(-width // stride) * stride}]`"
        )
        report(("data",), message, of_training=True)
        return
    expected = (height // stride, width // stride, info.classes + 4)
    if output != expected:
        report(at_end, f"the network outputs {format_shape(output)}, but boxes need {_needed(output, expected, info)}")
    elif parts.ending_known and last_activation([step.layer for step in steps]) not in ("linear", "keep", None):
        report(at_end, "offsets, sizes and logits are any numbers; leave out the activation of the last layers")


def _needed(output: Shape, expected: Shape, info: DataSetInfo) -> str:
    shape = format_shape(expected)
    if len(output) != 3:
        return f"{shape}; leave out what flattens or averages the image, and {ENDING}"
    if tuple(output[:2]) == tuple(expected[:2]):
        return f"{shape}: {info.classes} classes, an offset and a size; {ENDING}"
    height, width = info.shape[:2]
    steps = {height // output[0], width // output[1]}
    if len(steps) == 1 and output[0] * min(steps) == height and output[1] * min(steps) == width:
        return f"{shape}; for its map, write `task: {{detection: {{stride: {min(steps)}}}}}`"
    return f"{shape}; halve the image as often as the task's `stride` asks for"


def _check_training(training: TrainingConfig, report: Report) -> None:
    for name, reason in _REFUSED.items():
        if getattr(training, name):
            report(("training", name), f"{reason}; leave out `{name}`")
