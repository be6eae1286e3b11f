"""What only the whole config can tell: that the data are there, the shapes fit and the names exist."""

from __future__ import annotations

from collections.abc import Callable

from cnnkit.config.base import suggestion
from cnnkit.config.data import ChannelStatistics, DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, describe_data_set
from cnnkit.config.document import Node
from cnnkit.config.explain import Path, format_path, locate
from cnnkit.config.run import ModelConfig, RunConfig
from cnnkit.errors import Problem
from cnnkit.layers.base import Layer, ShapeError, format_shape
from cnnkit.layers.stack import StackError, trace

_Report = Callable[..., None]


def check_config(
    data: DataConfig, config: RunConfig | ModelConfig | None, root: Node, whole: bool = True
) -> tuple[DataSetInfo | None, list[Problem]]:
    """Finds what no single section can see.

    Args:
        data: The `data` section.
        config: The whole config; or, where other sections are broken, the model as far as it is known.
        root: The tree, for places.
        whole: Whether the model is complete, so that its output can be held against the classes.

    Returns:
        What is known of the data set (None if nothing is), and the problems.
    """
    problems: list[Problem] = []

    def report(path: Path, message: str, of_key: bool = True) -> None:
        problems.append(Problem(locate(root, path, of_key), format_path(path), message))

    try:
        info = describe_data_set(data)
    except DataProblem as error:
        report(("data", error.argument), error.message, of_key=False)
        return None, problems
    channels = info.shape[-1]
    if isinstance(data.normalization, ChannelStatistics) and len(data.normalization.mean) not in (1, channels):
        received = len(data.normalization.mean)
        report(("data", "normalization"), f"{received} channels are given, but the images have {channels}")
    model = config.model if isinstance(config, RunConfig) else config
    if model is not None:
        _check_layers(model.layers, info, whole, report)
    if isinstance(config, RunConfig):
        _check_augmentation(config, info, report)
        _check_training(config, info, report)
    return info, problems


def _check_layers(layers: list[Layer], info: DataSetInfo, whole: bool, report: _Report) -> None:
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


def _check_augmentation(config: RunConfig, info: DataSetInfo, report: _Report) -> None:
    for index, augmentation in enumerate(config.augmentation):
        try:
            augmentation.output_shape(info.shape)
        except ShapeError as error:
            path: Path = ("augmentation", index, type(augmentation).__name__)
            report((*path, error.argument) if error.argument else path, error.message)


def _check_training(config: RunConfig, info: DataSetInfo, report: _Report) -> None:
    training = config.training
    if training.warmup_epochs and training.warmup_epochs >= training.epochs:
        message = f"a warm-up of {training.warmup_epochs:g} epochs leaves nothing of a run of {training.epochs}"
        report(("training", "warmup_epochs"), message, False)
    measured = ["loss", "accuracy", *(_metric_name(metric) for metric in training.metrics)]
    for index, name in enumerate(measured[2:]):
        if name in measured[: index + 2]:
            report(("training", "metrics", index), f"`{name}` is measured already; give this one another `name`")
    known = [*measured, *(f"val_{name}" for name in measured)]
    monitors: list[tuple[Path, str]] = []
    if training.plateau is not None:
        monitors.append((("training", "schedule", "ReduceLROnPlateau", "monitor"), training.plateau.monitor))
    if training.early_stopping is not None:
        monitors.append((("training", "early_stopping", "monitor"), training.early_stopping.monitor))
    for path, monitor in monitors:
        if monitor not in known:
            report(path, f"unknown metric `{monitor}`{suggestion(monitor, known)}", False)
        elif monitor.startswith("val_") and not config.data.validation and not config.data.splits.validation:
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
