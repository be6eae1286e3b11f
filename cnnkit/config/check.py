"""What only the whole config can tell: that the data are there, the shapes fit and the names exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnnkit.augmentation import Augmentation
from cnnkit.config.base import suggestion
from cnnkit.config.data import ChannelStatistics, DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, describe_data_set
from cnnkit.config.document import Node
from cnnkit.config.explain import Path, format_path, locate
from cnnkit.config.run import RunConfig
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import Problem
from cnnkit.layers.base import Layer, ShapeError, format_shape
from cnnkit.layers.stack import StackError, head, trace

_Report = Callable[..., None]

#: The columns of metrics.csv that are no metrics.
_OTHER_COLUMNS = ("epoch", "seconds", "images_per_second")


@dataclass(frozen=True)
class Parts:
    """The sections of a config, as far as they are valid.

    Attributes:
        layers: The layers from the first on.
        whole: Whether these are all of them, so that their output can be held against the classes.
        augmentation: Each entry's place in the list, and the entry.
    """

    data: DataConfig
    layers: Sequence[Layer]
    whole: bool
    augmentation: Sequence[tuple[int, Augmentation]]
    training: TrainingConfig | None


def check_config(config: RunConfig, root: Node) -> tuple[DataSetInfo | None, list[Problem]]:
    """Finds what no single section of a valid config can see; see `check_parts`."""
    augmentation = list(enumerate(config.augmentation))
    return check_parts(Parts(config.data, config.model.layers, True, augmentation, config.training), root)


def check_parts(parts: Parts, root: Node) -> tuple[DataSetInfo | None, list[Problem]]:
    """Finds what no single section can see.

    Args:
        parts: The whole config; or, where something in it is broken, what is not.
        root: The tree, for places.

    Returns:
        What is known of the data set (None if nothing is), and the problems.
    """
    problems: list[Problem] = []

    def report(path: Path, message: str, of_key: bool = True) -> None:
        problems.append(Problem(locate(root, path, of_key), format_path(path), message))

    data = parts.data
    try:
        info = describe_data_set(data)
    except DataProblem as error:
        report(("data", error.argument), error.message, of_key=False)
        return None, problems
    channels = info.shape[-1]
    if isinstance(data.normalization, ChannelStatistics) and len(data.normalization.mean) not in (1, channels):
        received = len(data.normalization.mean)
        report(("data", "normalization"), f"{received} channels are given, but the images have {channels}")
    if parts.layers:
        _check_layers(parts.layers, info, parts.whole, report)
    _check_augmentation(parts.augmentation, info, report)
    if parts.training is not None:
        _check_training(parts.training, data, info, report)
    if parts.training is not None and parts.layers and parts.whole:
        _check_cross_entropies(parts.training, head(parts.layers), report)
    return info, problems


def _check_layers(layers: Sequence[Layer], info: DataSetInfo, whole: bool, report: _Report) -> None:
    names: dict[str, int] = {}
    for index, layer in enumerate(layers):
        if layer.name is not None and names.setdefault(layer.name, index) != index:
            path: Path = ("model", "layers", index, type(layer).__name__, "name")
            report(path, f"layer {names[layer.name]} has the name `{layer.name}` too; names must differ")
    try:
        steps = trace(layers, info.shape, info.classes)
    except StackError as error:
        cause = error.cause
        path = ("model", "layers", error.index, type(layers[error.index]).__name__)
        report((*path, cause.argument) if cause.argument else path, cause.message)
        return
    output = steps[-1].output_shape
    if whole and output != (info.classes,):
        index = len(layers) - 1
        fix = (
            "end with `Flatten` or `GlobalAveragePooling2D` and `Dense: {units: classes, activation: softmax}`"
            if len(output) > 1
            else "write `units: classes` in the last layer"
        )
        report(
            ("model", "layers", index, type(layers[index]).__name__),
            f"the network puts out {format_shape(output)}, but the data have {info.classes} classes; {fix}",
        )


def _check_cross_entropies(training: TrainingConfig, activation: str, report: _Report) -> None:
    """Keras computes a cross-entropy from what went into the last activation, whichever activation that is.

    A softmax's inputs would be taken for a sigmoid's, or the other way round, and the figure would be wrong.
    """
    wrong = {"softmax": "Binary", "sigmoid": "Categorical"}.get(activation)
    right = {"softmax": "Categorical", "sigmoid": "Binary"}.get(activation)
    named: list[tuple[Path, object]] = [(("training", "loss"), training.loss)]
    named += [(("training", "metrics", index), metric) for index, metric in enumerate(training.metrics)]
    for path, used in named:
        kind = type(used).__name__
        if wrong is not None and kind.startswith(wrong) and kind.endswith(("Crossentropy", "FocalCrossentropy")):
            report(
                (*path, kind),
                f"`{kind}` does not go with the {activation} at the end of the network; use "
                f"`{kind.replace(wrong, str(right))}`, or another activation",
            )


def _check_augmentation(augmentations: Sequence[tuple[int, Augmentation]], info: DataSetInfo, report: _Report) -> None:
    for index, augmentation in augmentations:
        try:
            augmentation.output_shape(info.shape)
        except ShapeError as error:
            path: Path = ("augmentation", index, type(augmentation).__name__)
            report((*path, error.argument) if error.argument else path, error.message)


def _check_training(training: TrainingConfig, data: DataConfig, info: DataSetInfo, report: _Report) -> None:
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
    known = [*measured, *(f"val_{name}" for name in measured)]
    monitors: list[tuple[Path, str]] = []
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
    _check_class_weights(training.class_weights, info, report)


def _check_class_weights(weights: object, info: DataSetInfo, report: _Report) -> None:
    path: Path = ("training", "class_weights")
    if isinstance(weights, list) and len(weights) != info.classes:
        report(path, f"expected {info.classes} weights, one per class, got {len(weights)}")
    if isinstance(weights, dict):
        names = info.class_names or tuple(str(number) for number in range(info.classes))
        for name in weights:
            if name not in names:
                report((*path, name), f"unknown class `{name}`{suggestion(name, names)}")
