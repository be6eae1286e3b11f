"""What only the whole config can tell: that the data are there, the shapes fit and the names exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.augmentation import Augmentation
from cnnkit.config.check_training import Report, check_training
from cnnkit.config.data import ChannelStatistics, DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, describe_data_set
from cnnkit.config.document import Node
from cnnkit.config.explain import Path, format_path, locate
from cnnkit.config.run import RunConfig
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import Problem
from cnnkit.layers.base import Layer, ShapeError, format_shape
from cnnkit.layers.convolution import Conv2D
from cnnkit.layers.stack import StackError, head, trace

#: Names that the built model gives to what stands before the first layer.
_TAKEN_NAMES = ("image", "normalization")


@dataclass(frozen=True)
class Parts:
    """The sections of a config, as far as they are valid.

    Attributes:
        layers: The layers from the first on.
        whole: Whether these are all of them, so that their output can be held against the classes.
        ending_known: Whether the last activation is what the user meant.
        augmentation: Each entry's place in the list, and the entry.
    """

    data: DataConfig
    layers: Sequence[Layer]
    whole: bool
    ending_known: bool
    augmentation: Sequence[tuple[int, Augmentation]]
    training: TrainingConfig | None


def check_config(config: RunConfig, root: Node) -> tuple[DataSetInfo | None, list[Problem]]:
    """Finds what no single section of a valid config can see; see `check_parts`."""
    augmentation = list(enumerate(config.augmentation))
    return check_parts(Parts(config.data, config.model.layers, True, True, augmentation, config.training), root)


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
        known = bool(parts.layers) and parts.whole and parts.ending_known
        check_training(parts.training, data, info, head(parts.layers) if known else None, report)
    return info, problems


def _check_layers(layers: Sequence[Layer], info: DataSetInfo, whole: bool, report: Report) -> None:
    names: dict[str, int] = {}
    automatic = {f"{index}.{type(layer).__name__}" for index, layer in enumerate(layers) if layer.name is None}
    for index, layer in enumerate(layers):
        if layer.name in automatic or layer.name in _TAKEN_NAMES:
            path: Path = ("model", "layers", index, type(layer).__name__, "name")
            report(path, f"the name `{layer.name}` is given to another part of the model already; choose another")
        elif layer.name is not None and names.setdefault(layer.name, index) != index:
            path = ("model", "layers", index, type(layer).__name__, "name")
            report(path, f"layer {names[layer.name]} has the name `{layer.name}` too; names must differ")
    try:
        steps = trace(layers, info.shape, info.classes)
    except StackError as error:
        cause = error.cause
        path = ("model", "layers", error.index, type(layers[error.index]).__name__)
        report((*path, cause.argument) if cause.argument else path, cause.message)
        return
    _check_kernels(layers, info, report)
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


def _check_kernels(layers: Sequence[Layer], info: DataSetInfo, report: Report) -> None:
    """Holds initializers that only some convolutions can have against their layer and its place."""
    for index, layer in enumerate(layers):
        kind = type(layer).__name__
        for name in type(layer).model_fields:
            initializer = type(getattr(layer, name)).__name__
            if initializer not in ("Dirac", "PatchWhitening"):
                continue
            message = _misplaced_kernel(initializer, layer, index, info)
            if message is not None:
                report(("model", "layers", index, kind, name), message)


def _misplaced_kernel(initializer: str, layer: Layer, index: int, info: DataSetInfo) -> str | None:
    """Why this layer cannot have the initializer; None if it can."""
    if not isinstance(layer, Conv2D):
        return f"`{initializer}` starts the kernel of a Conv2D, not of a {type(layer).__name__}; choose another"
    if layer.groups > 1:
        return f"`{initializer}` needs a convolution without groups, got `groups: {layer.groups}`"
    if initializer == "Dirac":
        return None
    if index > 0:
        return "`PatchWhitening` is measured on the images; only the first layer can have it"
    if layer.data_format == "channels_first" or layer.dilation_rate != (1, 1) or not isinstance(layer.padding, str):
        return "`PatchWhitening` needs a dense window, channels last, and `padding: valid` or `same`"
    height, width = layer.kernel_size
    most = 2 * height * width * info.shape[-1]
    filters = info.classes if layer.filters == "classes" else int(layer.filters)
    if filters % 2 or filters > most:
        return (
            f"`PatchWhitening` makes pairs of filters, at most {most} for {height}x{width} windows of "
            f"{info.shape[-1]} channels; got {filters} filters"
        )
    return None


def _check_augmentation(augmentations: Sequence[tuple[int, Augmentation]], info: DataSetInfo, report: Report) -> None:
    for index, augmentation in augmentations:
        try:
            augmentation.output_shape(info.shape)
        except ShapeError as error:
            path: Path = ("augmentation", index, type(augmentation).__name__)
            report((*path, error.argument) if error.argument else path, error.message)
