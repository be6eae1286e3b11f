"""Whether a config describes a network that can restore a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.layers.stack import head, last_activation

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.reports import Report
    from cnnkit.layers.stack import Step
    from cnnkit.tasks.restoration.settings import Settings

#: What is not heeded: settings of `training` for classes and labels, and of `data` for many images.
_REFUSED = ("loss", "metrics", "label_smoothing", "class_weights", "early_stopping")

#: Arguments of the task that say how a picture is made of noise, and when that ends.
_OF_NOISE = ("input_channels", "input_scale", "input_noise", "forgetting", "held_out", "patience", "fall")


def check(task: Settings, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
    """See `Task.check`."""
    expected = task.output_shape(info.shape, info.target.size)
    if steps and parts.whole:
        place = ("model", "layers", len(steps) - 1, parts.layers[-1].kind)
        given = tuple(steps[-1].output_shape)
        if given != expected:
            wanted, got = ("x".join(map(str, shape)) for shape in (expected, given))
            last = "kernel_size: 1" if task.corrects else "kernel_size: 1, activation: sigmoid"
            report(
                place,
                f"the network outputs {got}, but the picture is {wanted}; end with `Conv2D: {{filters: image_channels, "
                f"{last}}}` at the picture's size",
                of_training=True,
            )
        elif task.corrects:
            if parts.ending_known and last_activation([step.layer for step in steps]) not in (None, "keep", "linear"):
                message = "what is added to a smooth picture is of either sign; leave out the last activation"
                report(place, message, of_training=True)
        elif parts.ending_known and head([step.layer for step in steps]) != "sigmoid":
            report(place, "a picture's values lie between 0 and 1; write `activation: sigmoid`", of_training=True)
    training = parts.training
    for setting in _REFUSED:
        if training is not None and getattr(training, setting):
            why = "; `patience` of the task says when it stops" if setting == "early_stopping" else ""
            report(("training", setting), f"a restoration does not heed `{setting}`{why}; leave it out")
    if not task.corrects:
        _check_sides(task, info, report)
        return
    learned = "hidden" if task.hidden is not None else "from_copies"
    own = ("task", type(task).__name__)
    for setting in _OF_NOISE:
        if setting in task.model_fields_set and getattr(task, setting) is not None:
            message = f"`{setting}` is of a picture that is made of noise; leave it out beside `{learned}`"
            report((*own, setting), message)
    if task.hidden is None:
        _check_copies(own, parts.data, report)
    else:
        if task.from_copies is not None:
            message = "a network learns of hidden pixels or from copies; leave out `from_copies` or `hidden`"
            report((*own, "from_copies"), message)
        _check_hidden(own, parts.data, report)


def _check_hidden(place: tuple[str, str], data: DataConfig, report: Report) -> None:
    """Reports other damages than missing pixels, which do not go with hidden ones."""
    damage = data.damage
    if damage is None or (damage.missing is None and damage.mask is None):
        report(
            (*place, "hidden"),
            "pixels are hidden to learn how to fill in missing ones, but none are missing; write `data: {damage: "
            "{missing: 0.5}}` or `{mask: FILE}`",
            of_training=True,
        )
    elif damage.noise is not None or damage.scale is not None or data.enlarge is not None:
        report(
            (*place, "hidden"),
            "hidden pixels are learned as they are, so that neither noise nor another size goes with them; leave out "
            "`noise`, `scale` and `enlarge`, or `hidden`",
        )


def _check_copies(place: tuple[str, str], data: DataConfig, report: Report) -> None:
    """Reports what does not go with smaller copies: other damages than a smaller size, and a border."""
    damage = data.damage
    if data.enlarge is None and (damage is None or damage.scale is None):
        report(
            (*place, "from_copies"),
            "smaller copies teach how to enlarge, but the picture keeps its size; write `data: {enlarge: 4}` (with "
            "`cnnkit restore`: `--scale 4`), or `{damage: {scale: 4}}` to make it smaller first",
            of_training=True,
        )
    elif damage is not None and any(one is not None for one in (damage.noise, damage.missing, damage.mask)):
        report(
            (*place, "from_copies"),
            "smaller copies are made of the picture as it is, so that neither noise nor missing pixels go with them; "
            "leave out `noise`, `missing` and `mask`, or `from_copies`",
        )
    if data.pad_to is not None:
        message = "a picture that is enlarged from smaller copies gets no border; leave out `pad_to`"
        report(("data", "pad_to"), message)


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
