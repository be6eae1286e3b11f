"""What a drawing of a network shows: volumes with plates, forks, groups, blocks drawn apart; without matplotlib."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cnnkit.format.shapes import Shape, format_shape
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer
from cnnkit.layers.composite import PaddedChannels
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step
from cnnkit.layers.window import WindowedLayer

#: What a layer is made of but its numbers: blocks of one structure are drawn once.
Structure = tuple[Any, ...]

#: Which kind of layer the classes in a module of `cnnkit.layers` are; `Dense` and `Rescaling` are told apart by name.
_FAMILIES = {
    "convolution": "convolution",
    "pooling": "pooling",
    "normalization": "normalization",
    "activation": "activation",
    "dropout": "dropout",
}
_FAMILY_OF = {name: _FAMILIES.get(module, "reshape") for module, names in LAYERS.modules.items() for name in names}
_FAMILY_OF |= {"Dense": "dense", "Rescaling": "normalization"}

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


Node = Volume | Fork | Group


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


def family(layer: Layer) -> str:
    """The kind of a layer that is not made of others, a key of the drawing's colours."""
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


def _title(layer: Layer) -> tuple[str, ...]:
    """A layer with the arguments that a reader of the drawing looks for."""
    if layer.kind == "Activation":
        return (str(getattr(layer, "activation")),)  # noqa: B009
    if isinstance(layer, PaddedChannels):
        return ("channels of zeros", "appended")
    head, parts = layer.kind, []
    if isinstance(layer, WindowedLayer):
        head += f" {_pair(layer.window, both=True)}"
        if layer.step != (1, 1):
            parts.append(f"stride {_pair(layer.step)}")
        if layer.dilation != (1, 1):
            parts.append(f"dilation {_pair(layer.dilation)}")
    for name in ("rate", "stddev", "size"):
        value = getattr(layer, name, None)
        if value is not None:
            head += f" {_pair(value)}" if isinstance(value, tuple) else f" {value:g}"
    if getattr(layer, "groups", 1) != 1:
        parts.append(f"{layer.groups} groups")  # type: ignore[attr-defined]
    activation = getattr(layer, "activation", None)
    if activation not in (None, "linear"):
        parts.append(str(activation))
    return (head, *parts)


def _pair(pair: tuple[int, int], both: bool = False) -> str:
    return f"{pair[0]}x{pair[1]}" if both or pair[0] != pair[1] else str(pair[0])
