"""What only the whole config can tell: that the data are there, the shapes fit and the names exist."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from cnnkit.augmentation import Augmentation
from cnnkit.config.check_augmentation import check_augmentation, check_epochs, check_sizes
from cnnkit.config.check_networks import check_networks, layers_of
from cnnkit.config.check_stages import check_stages
from cnnkit.config.check_training import check_training
from cnnkit.config.check_weights import check_weight_names
from cnnkit.config.data import ChannelStatistics, DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, DescribedImages, RecordedImages, describe_data_set
from cnnkit.config.reports import Report
from cnnkit.config.run import RunConfig
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import Problem
from cnnkit.format.document import Node
from cnnkit.format.explain import Path, format_path, locate
from cnnkit.format.shapes import Shape
from cnnkit.images.padding import padding_to
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Names
from cnnkit.layers.blocks import BlockConfig, calls_in
from cnnkit.layers.convolution import Conv2D
from cnnkit.layers.resolved import leaves
from cnnkit.layers.stack import StackError, Step, trace
from cnnkit.layers.weight_paths import weight_paths
from cnnkit.task import Task

#: Numbers that a network may have to divide the sides of images by.
_MULTIPLES = (2, 4, 8, 16, 32, 64)

#: Names that the built model gives to what stands before the first layer.
_TAKEN_NAMES = ("image", "text", "normalization")


@dataclass(frozen=True)
class Stack:
    """The layers of a network that a config writes, as far as they are valid.

    Attributes:
        layers: From the first on.
        whole: Whether these are all of them, so that their output can be held against what it should be.
        ending_known: Whether the last activation is what the user meant.
        steps: The layers, resolved, with the shapes around them; None where they are not known.
    """

    layers: Sequence[Layer]
    whole: bool = True
    ending_known: bool = True
    steps: Sequence[Step] | None = None


@dataclass(frozen=True)
class Parts:
    """The sections of a config, as far as they are valid.

    Attributes:
        blocks: The blocks of the model.
        layers: The layers of the network, from the first on; of several networks, those of the one that is kept.
        whole: Whether these are all of them, so that their output can be held against what is to be learned.
        ending_known: Whether the last activation is what the user meant.
        augmentation: Each entry's place in the list, and the entry.
        others: Further networks that the config writes, by name.
        networks: The names of all that it writes; None where that is not known.
    """

    task: Task
    data: DataConfig
    blocks: Mapping[str, BlockConfig]
    layers: Sequence[Layer]
    whole: bool
    ending_known: bool
    augmentation: Sequence[tuple[int, Augmentation]]
    training: TrainingConfig | None
    others: Mapping[str, Stack] = field(default_factory=dict)
    networks: Collection[str] | None = None

    @classmethod
    def of(
        cls,
        task: Task,
        data: DataConfig,
        blocks: Mapping[str, BlockConfig],
        stacks: Mapping[str, Stack] | None,
        augmentation: Sequence[tuple[int, Augmentation]],
        training: TrainingConfig | None,
    ) -> Parts:
        """The sections of a config with these networks, by name; None where it is not known which it writes."""
        known = stacks or {}
        kept = known.get(task.networks[0]) or Stack((), False, False)
        others = {name: stack for name, stack in known.items() if name != task.networks[0]}
        return cls(
            task,
            data,
            blocks,
            kept.layers,
            kept.whole,
            kept.ending_known,
            augmentation,
            training,
            others,
            stacks,
        )


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Attributes:
        info: What is known of the data set; None if nothing is.
        steps: The layers, resolved, with the shapes around them; None where they are unknown.
        others: The same of each network that the task trains beside this one.
    """

    info: DataSetInfo | None
    steps: Sequence[Step] | None
    problems: list[Problem]
    others: Mapping[str, Sequence[Step]] = field(default_factory=dict)


def check_config(config: RunConfig, root: Node, known: RecordedImages | DescribedImages | None = None) -> Checked:
    """Finds what no single section of a valid config can see; see `check_parts`."""
    augmentation = list(enumerate(config.augmentation))
    model = config.model
    stacks = {name: Stack(layers) for name, layers in model.stacks.items()}
    parts = Parts.of(config.task, config.data, model.blocks, stacks, augmentation, config.training)
    return check_parts(parts, root, known)


def check_parts(parts: Parts, root: Node, known: RecordedImages | DescribedImages | None = None) -> Checked:
    """Finds what no single section can see.

    Args:
        parts: The whole config; or, where something in it is broken, what is not.
        root: The tree, for places.
        known: What is known of the images, where the data set is not to be looked at.
    """
    problems: list[Problem] = []

    def report(path: Path, message: str, of_key: bool = True, of_training: bool = False) -> None:
        place = locate(root, path, of_key, of_use=True)
        problems.append(Problem(place, format_path(path), message, of_training, path))

    data = parts.data
    try:
        info = describe_data_set(data, parts.task) if known is None else known.info(data, parts.task)
    except DataProblem as error:
        report(("data", error.argument), error.message, of_key=False)
        return Checked(None, None, problems)
    if info.missing is not None:
        source = "image" if data.picture is not None else "folder" if data.table is None else "table"
        report(("data", source), info.missing, of_key=False, of_training=True)
    channels = info.data_shape[-1]
    if isinstance(data.normalization, ChannelStatistics) and len(data.normalization.mean) not in (1, channels):
        received = len(data.normalization.mean)
        report(("data", "normalization"), f"{received} channels are given, but the images have {channels}")
    steps: list[Step] | None = None

    def report_inside(
        path: Path,
        message: str,
        inside: Sequence[tuple[str, Path]] = (),
        of_training: bool = False,
        of_value: bool = False,
    ) -> None:
        for name, inner in inside:
            block: Path = ("model", "blocks", name, *inner)
            message += f"\n  at {format_path(block)}, {locate(root, block)}"
        report(path, message, of_key=not of_value, of_training=of_training)

    are_sound = _check_blocks(parts.blocks, report)
    if parts.networks is not None:
        check_networks(parts.task, parts.networks, report)
    if are_sound and parts.layers:
        steps = _check_layers(parts, info, report_inside)
    if are_sound:
        others = {
            name: _check_other(name, stack, parts, info, report_inside) if name in parts.task.networks else stack
            for name, stack in parts.others.items()
        }
        parts = replace(parts, others=others)
    sizes_known = check_augmentation(parts.augmentation, data.sample, info, report)
    if parts.task.takes_images and steps and parts.whole and sizes_known:
        check_sizes(parts.augmentation, steps, partial(_traced, parts, info), report_inside)
    if parts.training is not None:
        check_training(parts.training, data, parts.task, report)
        check_epochs(parts.augmentation, parts.training.epochs, report)
        if steps and parts.whole:
            check_weight_names(parts.training, list(weight_paths(steps)), report)
            check_stages(parts.training, steps, report)
    if parts.task.steps_per_epoch() is not None:
        _check_no_images(parts, report)
    parts.task.check(parts, info, steps, report)
    others_known = {name: stack.steps for name, stack in parts.others.items() if stack.steps is not None}
    return Checked(info, steps, problems, others_known)


def _check_no_images(parts: Parts, report: Report) -> None:
    """Reports what is done to images, where none reach the network."""
    if "normalization" in parts.data.model_fields_set and parts.data.normalization != "none":
        report(
            ("data", "normalization"),
            f"the network of the task {parts.task.name} takes no images; leave `normalization` out",
        )
    if "batch_size" in parts.data.model_fields_set and parts.data.batch_size != 1:
        report(("data", "batch_size"), f"the task {parts.task.name} trains on no batches of images; leave it out")
    for index, _ in parts.augmentation[:1]:
        report(("augmentation", index), f"the task {parts.task.name} trains on no images; leave `augmentation` out")


def _check_blocks(blocks: Mapping[str, BlockConfig], report: Report) -> bool:
    """Whether the blocks have names of their own and none contains itself."""
    sound = True
    calls = {name: set(calls_in(block.layers)) for name, block in blocks.items()}
    for name in blocks:
        path: Path = ("model", "blocks", name)
        if name in LAYERS.names():
            report(path, f"`{name}` is a layer already; give the block another name")
        elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            report(path, f"expected a name of letters, digits and `_` for a block, got `{name}`")
        chain = _circle(name, calls)
        if chain:
            report(path, f"the block contains itself: {' -> '.join(chain)}")
            sound = False
    return sound


def _circle(name: str, calls: Mapping[str, set[str]]) -> list[str]:
    """The blocks from one to itself, each calling the next; none if it does not come back."""
    chains = [[name, called] for called in sorted(calls[name])]
    seen: set[str] = set()
    for chain in chains:
        if chain[-1] == name:
            return chain
        if chain[-1] in calls and chain[-1] not in seen:
            seen.add(chain[-1])
            chains += [[*chain, called] for called in sorted(calls[chain[-1]])]
    return []


def _check_layers(parts: Parts, info: DataSetInfo, report: Callable[..., None]) -> list[Step] | None:
    """Reports names, shapes and initial weights that do not fit; the resolved layers, None where they are unknown."""
    place = layers_of(parts.task.networks[0])
    _check_names(parts.layers, place, report)
    try:
        steps = _traced(parts, info, info.shape)
    except StackError as error:
        report((*place, *error.path), error.message + sizes_that_do(parts, info), error.inside, of_value=error.of_value)
        return None
    _check_kernels([step.layer for step in steps], place, info, report, measured=parts.task.takes_images)
    _check_normalization(parts, [step.layer for step in steps], report)
    _check_mixing([step.layer for step in steps], place, report)
    return steps


def _check_other(name: str, stack: Stack, parts: Parts, info: DataSetInfo, report: Callable[..., None]) -> Stack:
    """The same of a network that is trained beside the one that is kept."""
    place = layers_of(name)
    _check_names(stack.layers, place, report)
    if not stack.layers:
        return stack
    try:
        steps = trace(stack.layers, parts.task.other_input(name, info), Names(info.values, parts.blocks))
    except StackError as error:
        report((*place, *error.path), error.message, error.inside, of_value=error.of_value)
        return stack
    _check_kernels([step.layer for step in steps], place, info, report, measured=False)
    _check_normalization(parts, [step.layer for step in steps], report)
    return replace(stack, steps=steps)


def _check_names(layers: Sequence[Layer], place: Path, report: Callable[..., None]) -> None:
    names: dict[str, int] = {}
    automatic = {f"{index}.{layer.kind}" for index, layer in enumerate(layers) if layer.name is None}
    for index, layer in enumerate(layers):
        path: Path = (*place, index, layer.kind, "name")
        if layer.name in automatic or layer.name in _TAKEN_NAMES:
            report(path, f"the name `{layer.name}` is given to another part of the model already; choose another")
        elif layer.name is not None and names.setdefault(layer.name, index) != index:
            report(path, f"layer {names[layer.name]} has the name `{layer.name}` too; names must differ")


def _check_normalization(parts: Parts, layers: Sequence[Layer], report: Callable[..., None]) -> None:
    """Reports images that are normalised before they come to a layer that takes raw ones."""
    raw = next((layer for layer in leaves(layers) if layer.takes_raw_images), None)
    if raw is not None and parts.data.normalization != "none":
        report(
            ("data", "normalization"),
            f"{raw.name} takes raw images, 0..255, and does itself what it expects of them; write "
            "`normalization: none`",
        )


def _check_mixing(layers: Sequence[Layer], place: Path, report: Callable[..., None]) -> None:
    """Reports layers by which what the network that is kept says of an image depends on the images beside it."""
    for index, outer in enumerate(layers):
        mixing = next((layer for layer in leaves([outer]) if layer.mixes_images), None)
        if mixing is not None:
            report(
                (*place, index, outer.kind),
                f"{mixing.kind} looks at the other images of a batch, and what this network says of an image may not "
                "depend on what comes with it; leave it out, it belongs in a discriminator",
                of_training=True,
            )


def sizes_that_do(parts: Parts, info: DataSetInfo) -> str:
    """The end of a message on sizes that do not fit: larger ones that would, where images can be padded."""
    can_be_padded = info.target.per_pixel or info.picture is not None
    if not can_be_padded or any(info.padding):
        return ""
    height, width, channels = info.shape
    for multiple in _MULTIPLES:
        top, bottom, left, right = padding_to(height, width, multiple)
        larger = (height + top + bottom, width + left + right)
        if larger == (height, width):
            continue
        with contextlib.suppress(StackError):
            if _traced(parts, info, (*larger, channels))[-1].output_shape[:2] == larger:
                size = f"{larger[0]}x{larger[1]}"
                return f"; images of {size} would do: `data.pad_to: {multiple}` adds a border that is cut off again"
    return ""


def _traced(parts: Parts, info: DataSetInfo, shape: Shape) -> list[Step]:
    return trace(parts.layers, shape, Names(info.values, parts.blocks))


def _check_kernels(layers: Sequence[Layer], place: Path, info: DataSetInfo, report: Report, *, measured: bool) -> None:
    """Holds initializers that only some convolutions can have against their layer and its place.

    Args:
        measured: Whether the first layer may have one that is measured on the images.
    """
    for index, outer in enumerate(layers):
        for layer in leaves([outer]):
            for name in type(layer).model_fields:
                initializer = type(getattr(layer, name)).__name__
                if initializer not in ("Dirac", "PatchWhitening"):
                    continue
                message = _misplaced_kernel(initializer, layer, measured and index == 0 and layer is outer, info)
                if message is not None:
                    path: Path = (*place, index, outer.kind)
                    report((*path, name) if layer is outer else path, message)


def _misplaced_kernel(initializer: str, layer: Layer, first: bool, info: DataSetInfo) -> str | None:
    """Why this layer cannot have the initializer; None if it can."""
    if not isinstance(layer, Conv2D):
        return f"`{initializer}` starts the kernel of a Conv2D, not of a {layer.kind}; choose another"
    if layer.groups > 1:
        return f"`{initializer}` needs a convolution without groups, got `groups: {layer.groups}`"
    if initializer == "Dirac":
        return None
    if not first:
        return "`PatchWhitening` is measured on the images; only the first layer can have it, where it sees them"
    if layer.data_format == "channels_first" or layer.dilation_rate != (1, 1) or not isinstance(layer.padding, str):
        return "`PatchWhitening` needs a dense window, channels last, and `padding: valid` or `same`"
    height, width = layer.kernel_size
    most = 2 * height * width * info.shape[-1]
    filters = int(layer.filters)
    if filters % 2 or filters > most:
        return (
            f"`PatchWhitening` makes pairs of filters, at most {most} for {height}x{width} windows of "
            f"{info.shape[-1]} channels; got {filters} filters"
        )
    return None
