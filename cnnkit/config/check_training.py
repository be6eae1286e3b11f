"""What the training section says of metrics, losses and classes, held against data and network."""

from __future__ import annotations

from collections.abc import Callable

from cnnkit.config.class_names import in_human_order, place_of
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.objectives.losses import Loss
from cnnkit.config.objectives.metrics import Metric
from cnnkit.config.training import TrainingConfig
from cnnkit.format.base import suggestion
from cnnkit.format.explain import Path

Report = Callable[..., None]

#: The columns of metrics.csv that are no metrics.
_OTHER_COLUMNS = ("epoch", "seconds", "images_per_second")


def check_training(
    training: TrainingConfig, data: DataConfig, info: DataSetInfo, activation: str | None, report: Report
) -> None:
    """Holds the training section against the data and the network's last activation.

    Args:
        activation: `softmax`, `sigmoid` or `logits`; None where the network is not known as a whole.
        report: Takes a path, a message, and whether the path's key is to be pointed at.
    """
    if training.warmup_epochs and training.warmup_epochs >= training.epochs:
        message = f"a warm-up of {training.warmup_epochs:g} epochs leaves nothing of a run of {training.epochs}"
        report(("training", "warmup_epochs"), message, False)
    measured = ["loss", "accuracy", *(metric.column for metric in training.metrics)]
    for index, name in enumerate(measured[2:]):
        path: Path = ("training", "metrics", index, type(training.metrics[index]).__name__, "name")
        if name in measured[: index + 2]:
            report(path, f"`{name}` is measured already; give this one another `name`")
        elif name in _OTHER_COLUMNS or name.startswith(("val_", "learning_rate")):
            report(path, f"`{name}` is a column of metrics.csv already; give this metric another `name`")
        misfit = training.metrics[index].misfit(info.classes)
        if misfit is not None:
            report((*path[:-1], misfit.argument), misfit.message, False)
    known = [*measured, *(f"val_{name}" for name in measured)]
    monitors: list[tuple[Path, str]] = []
    if training.monitor is not None:
        monitors.append((("training", "monitor"), training.monitor))
    if training.plateau is not None:
        place: Path = ("training", "schedule", type(training.plateau).__name__, "monitor")
        monitors.append((place, training.plateau.monitor))
    if training.early_stopping is not None:
        monitors.append((("training", "early_stopping", "monitor"), training.early_stopping.monitor))
    for path, monitor in monitors:
        if monitor not in known:
            report(path, f"unknown metric `{monitor}`{suggestion(monitor, known)}", False)
        elif monitor.startswith("val_") and not data.validation and not data.splits.validation:
            message = f"`{monitor}` needs validation data, but `data.validation` is 0; watch `{monitor[4:]}` instead"
            report(path, message, False)
    if activation is not None:
        _check_objectives(training, activation, report)
    if training.label_smoothing and training.loss is not None:
        _check_smoothing(training.loss, report)
    _check_class_weights(training.class_weights, info, report)
    if training.class_weights is not None and training.loss is not None and not training.loss.is_per_image:
        kind = type(training.loss).__name__
        message = f"`{kind}` is not one number per image, which weights could weigh; give it `axis: [1]`"
        report(("training", "class_weights"), message)


def _check_class_weights(weights: object, info: DataSetInfo, report: Report) -> None:
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


def _check_objectives(training: TrainingConfig, activation: str, report: Report) -> None:
    """Whether losses and metrics go with what the network puts out.

    Keras computes a cross-entropy from what went into the last activation, whichever activation that is: a softmax's
    inputs would be taken for a sigmoid's, or the other way round, and the figure would be wrong.
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


def _check_smoothing(loss: Loss, report: Report) -> None:
    path: Path = ("training", "label_smoothing")
    if loss.ignores_smoothing:
        report(path, f"`{type(loss).__name__}` takes the class number, so that smoothing has no effect; leave it out")
    elif loss.needs_hard_labels:
        report(
            path, f"`{type(loss).__name__}` knows labels of 0 and 1 alone, and smoothed ones are neither; leave it out"
        )
    elif getattr(loss, "label_smoothing", 0):
        report(path, "the loss smooths the labels too; keep one of the two")
