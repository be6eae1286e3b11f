"""Whether a config describes two networks that can be trained against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.config.check_networks import layers_of
from cnnkit.format.shapes import format_shape
from cnnkit.layers.minibatch import MinibatchStandardDeviation
from cnnkit.layers.resolved import leaves
from cnnkit.layers.stack import last_activation
from cnnkit.tasks.generation.settings import DISCRIMINATOR, GENERATOR, Settings

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.reports import Report
    from cnnkit.config.training import TrainingConfig
    from cnnkit.layers.stack import Step

#: Settings of `training` that mean nothing here, and what there is instead.
_REFUSED = {
    "loss": "the losses are those of the task: `task: {generation: {loss: hinge}}`",
    "metrics": "these are for what a network says of images; the columns of metrics.csv are those of the task",
    "label_smoothing": "the only labels are real and made",
    "class_weights": "the discriminator tells no classes",
    "stages": "both networks are trained from the first step to the last",
    "early_stopping": "no figure of the training tells when the samples are good; look at them, and stop by hand",
    "exclude_from_weight_decay": "the names would be those of two networks",
}


def check(task: Settings, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
    """See `Task.check`."""
    if steps and parts.whole:
        _check_generator(parts, info, steps, report)
    discriminator = parts.others.get(DISCRIMINATOR)
    if discriminator is not None and discriminator.steps and discriminator.whole:
        _check_discriminator(discriminator.steps, report, ending_known=discriminator.ending_known)
    if discriminator is not None and discriminator.steps:
        _check_groups(discriminator.steps, parts.data.batch_size, report)
    if parts.training is not None:
        _check_training(parts.training, report)
    _check_data(task, parts.data, report)
    if task.classifier is not None:
        from cnnkit.tasks.generation.classifier import check_classifier

        problem = check_classifier(task.classifier, info)
        if problem is not None:
            report(("task", type(task).__name__, "classifier"), problem, of_training=True)
    for index, augmentation in parts.augmentation:
        place = ("augmentation", index, type(augmentation).__name__)
        if augmentation.mixes_labels:
            report(place, "mixed images would be made, too, for the discriminator takes them for real; leave it out")
        elif augmentation.shapes(info.data_shape) != (info.data_shape,):
            report(
                place,
                "the discriminator would see real images of another size than made ones, which are "
                f"{format_shape(info.data_shape)}; {augmentation.to_keep_size}",
            )


def _check_generator(parts: Parts, info: DataSetInfo, steps: Sequence[Step], report: Report) -> None:
    place = (*layers_of(GENERATOR), len(steps) - 1, parts.layers[-1].kind)
    output, wanted = steps[-1].output_shape, info.data_shape
    if output != wanted:
        report(
            place,
            f"the generator outputs {format_shape(output)}, but the images are {format_shape(wanted)}; end with "
            f"`Conv2DTranspose: {{filters: {wanted[-1]}, kernel_size: 4, strides: 2, padding: same, activation: "
            "tanh}` at half the images' size",
        )
    elif parts.ending_known and last_activation([step.layer for step in steps]) not in ("tanh", "sigmoid"):
        report(
            place,
            "what the generator outputs becomes the values of an image, 0 to 255: of -1 to 1 with `activation: tanh`, "
            "of 0 to 1 with `activation: sigmoid`; write one of them",
        )


def _check_discriminator(steps: Sequence[Step], report: Report, *, ending_known: bool) -> None:
    place = (*layers_of(DISCRIMINATOR), len(steps) - 1, steps[-1].layer.kind)
    output = steps[-1].output_shape
    if output != (1,):
        report(
            place,
            f"the discriminator outputs {format_shape(output)}, but it says one number of an image, whether it is "
            "real; end with `Flatten` and `Dense: 1`",
        )
    elif ending_known and last_activation([step.layer for step in steps]) not in ("linear", "keep", None):
        report(place, "the discriminator ends in a logit, of which the losses are; leave out its last activation")


def _check_groups(steps: Sequence[Step], batch_size: int, report: Report) -> None:
    """Reports groups that would have real and made images: the discriminator sees these one after the other."""
    for index, step in enumerate(steps):
        for layer in leaves([step.layer]):
            if not isinstance(layer, MinibatchStandardDeviation) or batch_size % layer.group_size == 0:
                continue
            size = layer.group_size
            most = max((smaller for smaller in range(2, size) if batch_size % smaller == 0), default=None)
            smaller = "" if most is None else f"`group_size: {most}`, or "
            report(
                (*layers_of(DISCRIMINATOR), index, step.layer.kind, *(("group_size",) if layer is step.layer else ())),
                f"groups of {size} do not divide `data.batch_size`, {batch_size}, so that one would have real and made "
                f"images; write {smaller}a multiple of {size} for the batches",
                of_training=True,
            )


def _check_training(training: TrainingConfig, report: Report) -> None:
    for setting, instead in _REFUSED.items():
        if getattr(training, setting):
            report(("training", setting), f"a generation does not heed `{setting}`: {instead}")
    if training.layer_decay != 1:
        report(("training", "layer_decay"), "a generation does not heed `layer_decay`: nothing is fine-tuned")
    if training.plateau is not None:
        report(("training", "schedule"), "no figure of a generation has a plateau to watch for; write another schedule")
    if training.optimizer.use_ema:
        report(
            ("training", "optimizer"),
            "the generator's weights are averaged by `average` of the task; leave out `use_ema`",
        )


def _check_data(task: Settings, data: DataConfig, report: Report) -> None:
    written = data.model_fields_set
    if "validation" in written and data.validation:
        report(("data", "validation"), "nothing is chosen on validation images; leave `validation` out")
    if "drop_remainder" in written and not data.drop_remainder:
        report(("data", "drop_remainder"), "every step takes a whole batch; leave `drop_remainder` out")
    if task.conditional and "normalization" in written and data.normalization != task.implied_data["normalization"]:
        report(
            ("data", "normalization"),
            "the planes of the classes are normalised with the images, to -1 and 1; leave `normalization` out",
        )
