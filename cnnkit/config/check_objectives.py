"""Losses, metrics, class weights and mixed labels held against the network and the data; tasks ask what fits them."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.augmentation import Augmentation
from cnnkit.config.check import Parts
from cnnkit.config.class_names import in_human_order, place_of
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.objectives.losses import Loss
from cnnkit.config.objectives.metrics import Metric
from cnnkit.config.reports import Report
from cnnkit.config.training import TrainingConfig
from cnnkit.format.explain import Path
from cnnkit.format.shapes import format_shape
from cnnkit.format.similar import suggestion
from cnnkit.layers.core import Dense
from cnnkit.layers.resolved import leaves
from cnnkit.layers.stack import Step


def check_vector(parts: Parts, steps: Sequence[Step], info: DataSetInfo, fix: str, report: Report) -> None:
    """Whether the network outputs one value for each class, label or number.

    Args:
        steps: The whole network.
        fix: How a network that ends in an image or a volume should end.
    """
    output, target = steps[-1].output_shape, info.target
    if output == (target.size,):
        return
    index = len(steps) - 1
    layer = steps[-1].layer
    hint = fix if len(output) > 1 else f"write `units: {target.named}` in the last layer"
    report(
        ("model", "layers", index, parts.layers[index].kind),
        f"the network outputs {format_shape(output)}, but the data have {target.size} {target.plural}; {hint}",
        of_training=len(output) > 1 or not isinstance(next(iter(leaves([layer])), None), Dense),
    )


def check_metrics(training: TrainingConfig, info: DataSetInfo, report: Report) -> None:
    """Whether each metric's arguments go with the number of classes."""
    for index, metric in enumerate(training.metrics):
        misfit = metric.misfit(info.classes)
        if misfit is not None:
            path: Path = ("training", "metrics", index, type(metric).__name__, misfit.argument)
            report(path, misfit.message, False)


def check_mixing(augmentations: Sequence[tuple[int, Augmentation]], training: TrainingConfig, report: Report) -> None:
    """Whether the loss can learn from mixed labels, where an augmentation mixes them."""
    if training.loss is None or not training.loss.needs_hard_labels:
        return
    loss = type(training.loss).__name__
    for index, augmentation in augmentations:
        if augmentation.mixes_labels:
            message = f"`{loss}` knows only labels of 0 and 1, and mixed ones are neither; choose another loss"
            report(("augmentation", index, type(augmentation).__name__), message)


def check_class_weights(training: TrainingConfig, info: DataSetInfo, report: Report) -> None:
    """Holds class weights against the classes."""
    weights = training.class_weights
    path: Path = ("training", "class_weights")
    if isinstance(weights, list) and len(weights) != info.classes:
        report(path, f"expected {info.classes} weights, one per class, got {len(weights)}")
    elif isinstance(weights, list) and info.source == "folder":
        _check_order(weights, info.class_names or (), report)
    if isinstance(weights, dict) and info.class_names is None:
        report(path, "the class names are not known before the data are here; prepare them first, or give a list")
    elif isinstance(weights, dict):
        names = info.class_names or ()
        for name in weights:
            if place_of(name, names) is None:
                report((*path, name), f"unknown class `{name}`{suggestion(name, names)}")


def check_labels_per_image(training: TrainingConfig, report: Report) -> None:
    """Refuses what is for masks, and class weights beside a loss that is not one number per image."""
    path: Path = ("training", "class_weights")
    if type(training.loss).__name__ == "Sum":
        report(("training", "loss", "Sum"), "`Sum` is for masks; choose one loss")
    elif training.class_weights is not None and training.loss is not None and not training.loss.is_per_image:
        kind = type(training.loss).__name__
        report(path, f"`{kind}` is not one number per image, which weights could weigh; give it `axis: [1]`")
    if training.class_weights == "median_frequency":
        report(path, "`median_frequency` is a rule for pixels; `balanced` is one for images")


def _check_order(weights: list[float], names: tuple[str, ...], report: Report) -> None:
    """Refuses a list of weights where people sort the class folders otherwise than as text: 2 before 10, a before B."""
    meant = in_human_order(names)
    if meant == list(names):
        return
    shown = ", ".join(f'"{name}": {weight:g}' for name, weight in zip(meant, weights, strict=True))
    report(
        ("training", "class_weights"),
        f"a list is in the order of the classes, which are sorted as text: {', '.join(names)}. Say which weight is "
        f"whose: {{{shown}}}",
    )


def check_objectives(training: TrainingConfig, activation: str, report: Report) -> None:
    """Whether losses and metrics go with what the network outputs.

    Keras computes a cross-entropy from what went into the last activation, whichever activation that is: a softmax's
    inputs would be taken for a sigmoid's, or the other way round, and the figure would be wrong.

    Args:
        activation: `softmax`, `sigmoid` or `logits`, the network's last.
    """
    wrong = {"softmax": "Binary", "sigmoid": "Categorical"}.get(activation)
    right = {"softmax": "Categorical", "sigmoid": "Binary"}.get(activation)
    used: list[tuple[Path, Loss | Metric]] = []
    if training.loss is not None:
        used.append((("training", "loss"), training.loss))
    used += [(("training", "metrics", index), metric) for index, metric in enumerate(training.metrics)]
    for path, objective in used:
        kind = type(objective).__name__
        place = (*path, kind)
        if wrong is not None and kind.startswith(wrong) and kind.endswith(("Crossentropy", "FocalCrossentropy")):
            report(
                place,
                f"`{kind}` does not go with the {activation} at the end of the network; use "
                f"`{kind.replace(wrong, str(right))}`, or another activation",
            )
        elif activation == "logits" and objective.needs_probabilities:
            report(place, f"`{kind}` needs probabilities, but the network ends without a softmax or sigmoid; add one")
        elif activation != "logits" and getattr(objective, "from_logits", None):
            message = (
                f"the network ends in a {activation}: its outputs are no logits; leave `from_logits` out, or end the "
                f"network without the {activation}"
            )
            report((*place, "from_logits"), message, False)


def check_smoothing(training: TrainingConfig, report: Report) -> None:
    """Whether the loss can learn from smoothed labels."""
    path: Path = ("training", "label_smoothing")
    loss = training.loss
    if not training.label_smoothing or loss is None:
        return
    if loss.ignores_smoothing:
        report(path, f"`{type(loss).__name__}` takes the class number, so that smoothing has no effect; leave it out")
    elif loss.needs_hard_labels:
        report(
            path, f"`{type(loss).__name__}` knows only labels of 0 and 1, and smoothed ones are neither; leave it out"
        )
    elif getattr(loss, "label_smoothing", 0):
        report(path, "the loss smooths the labels too; keep one of the two")
