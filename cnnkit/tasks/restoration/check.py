"""Whether a config describes a network that can restore a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.layers.stack import head

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.reports import Report
    from cnnkit.layers.stack import Step
    from cnnkit.tasks.restoration.settings import Settings

#: What is not heeded: settings of `training` for classes and labels, and of `data` for many images.
_REFUSED = ("loss", "metrics", "label_smoothing", "class_weights", "early_stopping")


def check(task: Settings, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
    """See `Task.check`."""
    expected = task.output_shape(info.shape, info.target.size)
    if steps and parts.whole:
        place = ("model", "layers", len(steps) - 1, parts.layers[-1].kind)
        given = tuple(steps[-1].output_shape)
        if given != expected:
            wanted, got = ("x".join(map(str, shape)) for shape in (expected, given))
            report(
                place,
                f"the network outputs {got}, but the picture is {wanted}; end with `Conv2D: {{filters: image_channels, "
                "kernel_size: 1, activation: sigmoid}` at the picture's size",
                of_training=True,
            )
        elif parts.ending_known and head([step.layer for step in steps]) != "sigmoid":
            report(place, "a picture's values lie between 0 and 1; write `activation: sigmoid`", of_training=True)
    training = parts.training
    for setting in _REFUSED:
        if training is not None and getattr(training, setting):
            why = "; `patience` of the task says when it stops" if setting == "early_stopping" else ""
            report(("training", setting), f"a restoration does not heed `{setting}`{why}; leave it out")
    _check_sides(task, info, report)


def _check_sides(task: Settings, info: DataSetInfo, report: Report) -> None:
    """Reports a picture that the smaller noise cannot be enlarged to."""
    if info.picture is None:
        return
    top, bottom, left, right = info.padding
    height, width, _ = info.picture.shape
    sides = (height + top + bottom, width + left + right)
    if any(side % task.input_scale for side in sides):
        report(
            ("data", "image"),
            f"the picture is {sides[0]}x{sides[1]}, which `input_scale: {task.input_scale}` does not divide; "
            f"`data.pad_to: {task.input_scale}` adds a border that is cut off again",
        )
