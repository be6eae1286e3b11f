"""What a drawing of a network shows: volumes with plates, forks, groups, blocks drawn apart; without matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnkit.format.shapes import Shape, format_shape
from cnnkit.layers import LAYERS, geometry
from cnnkit.layers.base import Layer
from cnnkit.layers.composite import PaddedChannels
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.spectral import SpectralNormalization
from cnnkit.layers.stack import Step
from cnnkit.layers.window import WindowedLayer

#: What a layer is made of but its numbers: blocks of one structure are drawn once.
Structure = tuple[Any, ...]

#: Which kind of layer the classes in a module of `cnnkit.layers` are; some are told apart by name.
_FAMILIES = {
    "convolution": "convolution",
    "pooling": "pooling",
    "normalization": "normalization",
    "activation": "activation",
    "dropout": "dropout",
}
_FAMILY_OF = {name: _FAMILIES.get(module, "reshape") for module, names in LAYERS.modules.items() for name in names}
_FAMILY_OF |= {"Backbone": "convolution", "Dense": "dense", "Rescaling": "normalization"}
# Attention connects positions, and an embedding is a Dense layer on what names one of many.
_FAMILY_OF |= {"MultiHeadAttention": "dense", "Embedding": "dense"}
_FAMILY_OF |= dict.fromkeys(LAYERS.modules["adaptive"], "pooling")
# Those of signals and volumes are drawn as those of images are.
_FAMILY_OF |= {
    name: _FAMILY_OF[name.replace("1D", "2D").replace("3D", "2D")]
    for module in ("signals", "volumes")
    for name in LAYERS.modules[module]
}

#: Kinds of layers that get no volume of their own where they keep the size.
_PLATES = ("normalization", "activation", "dropout")


@dataclass(frozen=True)
class Plate:
    """A layer that keeps the size, attached to the volume before; without a text where that volume names it."""

    family: str
    text: str = ""


@dataclass(frozen=True)
class Volume:
    """What leaves a layer, and the layers after it that keep the size.

    Attributes:
        shape: Without the batch axis, in the layer's own order.
        family: The kind of layer; None where there are only plates.
        title: The layer and its arguments, where a line may be broken between any two.
        notes: Further lines, such as the number of parameters.
        panel: The structure of a block whose inside is drawn elsewhere.
    """

    shape: Shape
    channels_first: bool
    family: str | None
    title: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    plates: tuple[Plate, ...] = ()
    panel: Structure | None = None

    @property
    def size(self) -> str:
        return format_shape(self.shape)


@dataclass(frozen=True)
class Fork:
    """Paths side by side, from top to bottom, and their merge.

    Attributes:
        merge: Its name.
        tail: The merge's name and size as a volume of plates only.
    """

    paths: tuple[tuple[Node, ...], ...]
    merge: str
    tail: Volume

    @property
    def inner(self) -> tuple[tuple[Node, ...], ...]:
        return self.paths

    @property
    def labels(self) -> tuple[Volume, ...]:
        return (self.tail,)


@dataclass(frozen=True)
class Group:
    """What an outline holds: a block, a composite, a repetition.

    Attributes:
        title: The block's name, or the kind of composite; empty for a repetition.
        notes: Further lines, such as the number of parameters.
        outputs: The first and the last output of repetitions that differ in their numbers.
        times: How often it comes in a row.
        is_block: Whether the title is the name of a block.
    """

    title: str
    notes: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()
    times: int = 1
    is_block: bool = False

    @property
    def inner(self) -> tuple[tuple[Node, ...], ...]:
        return (self.nodes,)

    @property
    def labels(self) -> tuple[Volume, ...]:
        return ()


@dataclass(frozen=True)
class Skip:
    """A path across a level, to where it meets what comes up from below.

    Attributes:
        nodes: What is on it; nothing where it hands on what it gets.
        merge: The merge's name.
        tail: The merge's name and size as a volume of plates only.
        notes: The blocks that begin with it.
    """

    nodes: tuple[Node, ...]
    merge: str
    tail: Volume
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Level:
    """One size of a network that goes down and up again.

    Attributes:
        left: What is passed on the way down; at the lowest level all of it.
        right: What is passed on the way up.
        skip: Between the two.
        down: Layers on the arrow that leads here from the level above.
        up: Layers on the arrow that leads here from the level below.
    """

    left: tuple[Node, ...]
    right: tuple[Node, ...] = ()
    skip: Skip | None = None
    down: tuple[Volume, ...] = ()
    up: tuple[Volume, ...] = ()


@dataclass(frozen=True)
class Valley:
    """A network, or a part of one, that goes down through smaller images and up again.

    Attributes:
        levels: From the top to the bottom.
        followed: Whether something comes after it.
    """

    levels: tuple[Level, ...]
    followed: bool

    @property
    def inner(self) -> tuple[tuple[Node, ...], ...]:
        """The nodes that are drawn, in their order on each level."""
        skips = [level.skip.nodes if level.skip else () for level in self.levels]
        return tuple(
            nodes for level, skip in zip(self.levels, skips, strict=True) for nodes in (level.left, skip, level.right)
        )

    @property
    def labels(self) -> tuple[Volume, ...]:
        """What is written, and drawn only as far as it has plates."""
        tails = [level.skip.tail for level in self.levels if level.skip]
        return (*tails, *(volume for level in self.levels for volume in (*level.down, *level.up)))


Node = Volume | Fork | Group | Valley


def all_nodes(nodes: Sequence[Node]) -> Iterator[Node]:
    """Nodes, and those inside them at any depth."""
    for node in nodes:
        yield node
        if not isinstance(node, Volume):
            for inner in node.inner:
                yield from all_nodes(inner)


@dataclass
class Panel:
    """A block that is drawn once, beside the flow.

    Attributes:
        title: Its name, with a letter where blocks of this name have several structures.
        first: Its first use, whose numbers are drawn.
        uses: The shapes that arrive at and leave its uses, in order.
    """

    title: str
    first: Step
    channels_first: bool
    uses: list[Step] = field(default_factory=list)
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Tree:
    """The flow from the image to the last layer, and the blocks that it leaves open."""

    nodes: tuple[Node, ...]
    panels: dict[Structure, Panel]


def extents(shape: Shape, channels_first: bool) -> tuple[int, int, int] | None:
    """Height, width and channels of an image; None for what is drawn as a vector."""
    if len(shape) != 3:
        return None
    return (shape[1], shape[2], shape[0]) if channels_first else (shape[0], shape[1], shape[2])


def channels_first_after(layer: Layer, before: bool) -> bool:
    """Whether the channels come first in a layer's output, where they do or do not in what arrives."""
    order = geometry.channels_first(3) if before else geometry.channels_last(3)
    return layer.order_behind(order)[0] == 2


def family(layer: Layer) -> str:
    """The kind of a layer that is not made of others, a key of the drawing's colours."""
    if isinstance(layer, SpectralNormalization):
        return family(layer.layer)
    return _FAMILY_OF.get(layer.kind, "reshape")


def is_plate(step: Step) -> bool:
    if isinstance(step.layer, Resolved):
        return False
    return family(step.layer) in _PLATES and step.input_shape == step.output_shape


def parameters_text(layer: Layer, input_shape: Shape, after: str = "") -> tuple[str, ...]:
    """`1,234 parameters` as the lines of a label; none where there are none."""
    trainable, fixed = layer.parameters(input_shape)
    count = trainable + fixed
    if count == 0:
        return ()
    lines = [f"{count:,} parameter{'s' if count > 1 else ''}{after}"]
    if not layer.trainable:
        lines.append("not trained")
    return tuple(lines)


def plate_of(step: Step) -> Plate:
    layer = step.layer
    trainable, fixed = layer.parameters(step.input_shape)
    name = ", ".join(_title(layer))
    text = f"{name} ({trainable + fixed:,})" if trainable + fixed else name
    return Plate(family(layer), text)


def volume_of(step: Step, channels_first: bool) -> Volume:
    layer = step.layer
    activation = getattr(layer, "activation", None)
    plates = () if activation in (None, "linear") else (Plate("activation"),)
    notes = parameters_text(layer, step.input_shape)
    return Volume(step.output_shape, channels_first, family(layer), _title(layer), notes, plates)


def merge_of(step: Step, channels_first: bool) -> Volume:
    """A merge's name and its activation as a volume of plates only."""
    layer = step.layer
    assert isinstance(layer, Resolved)
    plates = () if layer.activation == "linear" else (Plate("activation", layer.activation),)
    return Volume(step.output_shape, channels_first, None, (layer.merge,), plates=plates)


def _title(layer: Layer) -> tuple[str, ...]:
    """A layer with the arguments that a reader of the drawing looks for."""
    if layer.kind == "Activation":
        return (str(getattr(layer, "activation")),)  # noqa: B009
    if isinstance(layer, SpectralNormalization):
        return (layer.kind, *_title(layer.layer))
    if isinstance(layer, PaddedChannels):
        return ("channels of zeros", "appended")
    # A network that is one layer is known by its own name.
    head, parts = str(layer.name) if layer.kind == "Backbone" else layer.kind, []
    if isinstance(layer, WindowedLayer):
        head += f" {_sizes(layer.window, each=True)}"
        if max(layer.step) > 1:
            parts.append(f"stride {_sizes(layer.step)}")
        if max(layer.dilation) > 1:
            parts.append(f"dilation {_sizes(layer.dilation)}")
    for name in ("rate", "stddev", "size"):
        value = getattr(layer, name, None)
        if value is not None:
            head += f" {_sizes(value)}" if isinstance(value, tuple) else f" {value:g}"
    if getattr(layer, "groups", 1) != 1:
        parts.append(f"{layer.groups} groups")  # type: ignore[attr-defined]
    activation = getattr(layer, "activation", None)
    if activation not in (None, "linear"):
        parts.append(str(activation))
    return (head, *parts)


def _sizes(sizes: tuple[int, ...], each: bool = False) -> str:
    """One number where all are the same, unless each is to be written."""
    return format_shape(sizes) if each or len(set(sizes)) > 1 else str(sizes[0])
