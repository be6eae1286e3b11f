"""The networks of keras.applications as graphs: what each layer makes of an image, without TensorFlow.

`scripts/make_backbones.py` writes a file for each network, which is read when a config names it.
"""

import functools
import gzip
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.format.base import to_plain
from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Layer, Weight
from cnnkit.layers.convolution import Conv2D, DepthwiseConv2D, SeparableConv2D
from cnnkit.layers.core import Dense, Reshape
from cnnkit.layers.normalization import BatchNormalization, LayerNormalization
from cnnkit.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from cnnkit.layers.receptive_field import NOTHING, Pattern, Range, View
from cnnkit.layers.resampling import Cropping2D, ZeroPadding2D
from cnnkit.layers.spatial import spatial

FOLDER = Path(__file__).parent / "backbones"
SUFFIX = ".json.gz"

#: The networks of keras.applications, each with the module there that holds it.
NETWORKS = {
    **dict.fromkeys((f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")), "convnext"),
    **dict.fromkeys((f"DenseNet{depth}" for depth in (121, 169, 201)), "densenet"),
    **dict.fromkeys((f"EfficientNetB{number}" for number in range(8)), "efficientnet"),
    **dict.fromkeys(
        (f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")), "efficientnet_v2"
    ),
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Large": "mobilenet_v3",
    "MobileNetV3Small": "mobilenet_v3",
    **dict.fromkeys(("NASNetLarge", "NASNetMobile"), "nasnet"),
    **dict.fromkeys((f"ResNet{depth}" for depth in (50, 101, 152)), "resnet"),
    **dict.fromkeys((f"ResNet{depth}V2" for depth in (50, 101, 152)), "resnet_v2"),
    "VGG16": "vgg16",
    "VGG19": "vgg19",
    "Xception": "xception",
}  # fmt: skip

#: Colours of what the networks have learned: red, green and blue.
CHANNELS = 3


class Elementwise(Layer):
    """What keeps every value in its place, and has no weights."""


class LayerScale(Layer):
    """ConvNeXt's learned factor for each channel."""

    projection_dim: int

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        return (Weight("gamma", (self.projection_dim,)),)


class Normalization(Layer):
    """Keras' Normalization, whose constants are weights where no config gives them."""

    learned: bool

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        if not self.learned:
            return ()
        shape = input_shape[-1:]
        return Weight("mean", shape, False), Weight("variance", shape, False), Weight("count", (), False)


class SizedPadding(Layer):
    """A ZeroPadding2D that Keras' `correct_pad` makes: before a convolution with strides, one row less above an even
    number of rows, and one column less before an even number of columns."""

    window: tuple[int, int]

    def amounts(self, input_shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        height, width = (
            (window // 2 - 1 + size % 2, window // 2)
            for window, size in zip(self.window, spatial(input_shape, None), strict=True)
        )
        return height, width

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width = map(sum, self.amounts(input_shape))
        return (input_shape[0] + height, input_shape[1] + width, input_shape[2])

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        before = self.amounts(input_shape)[axis][0]
        return low - before, high - before


_KINDS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Conv2D, SeparableConv2D, DepthwiseConv2D, MaxPooling2D, AveragePooling2D, GlobalAveragePooling2D,
        BatchNormalization, LayerNormalization, Normalization, Dense, Reshape, ZeroPadding2D, Cropping2D, LayerScale,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One operation of a network.

    Attributes:
        name: Keras' name for it where nothing else has been built before.
        kind: Its type in Keras.
        arguments: Those that shapes, weights and operations depend on, with Keras' names.
        layers: What it does, one after another; several where Keras has a Sequential.
        inputs: The places of the nodes that it takes; -1 is the image.
    """

    name: str
    kind: str
    arguments: dict[str, Any]
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]


def numbered_by_keras(node: Node) -> bool:
    """Whether Keras made the node's name, by how many operations of its type there were before."""
    return re.sub(r"_\d+$", "", node.name).replace("_", "") == node.kind.lower()


@dataclass(frozen=True)
class WeightFile:
    """Weights that learned ImageNet, as keras.applications downloads them.

    Attributes:
        side: For square images of this side alone; None for all others.
    """

    file: str
    url: str
    md5: str | None
    side: int | None = None


@dataclass(frozen=True)
class Network:
    """A network of keras.applications without its classifier.

    Attributes:
        preprocessing: The mode of `keras.applications.imagenet_utils.preprocess_input`: `caffe`, `tf` or `torch`; None
            where the network itself begins with it.
        smallest: The least height and width of its images.
        files: Its weights.
        nodes: In an order in which each comes after what it takes.
    """

    name: str
    preprocessing: str | None
    smallest: int
    files: tuple[WeightFile, ...]
    nodes: tuple[Node, ...]

    @property
    def module(self) -> str:
        """The module of keras.applications that has it."""
        return NETWORKS[self.name]

    def place(self, name: str) -> int:
        """The place of the node of a name.

        Raises:
            KeyError: if there is none.
        """
        return self._places[name]

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {node.name: place for place, node in enumerate(self.nodes)}

    def file_for(self, input_shape: Shape) -> WeightFile:
        """The weights that Keras chooses for images of a shape."""
        square = input_shape[0] == input_shape[1]
        return next(file for file in self.files if file.side is None or (square and file.side == input_shape[0]))

    def ancestors(self, last: int) -> list[int]:
        """The places of a node and of all that it depends on, in order."""
        needed = {last}
        for place in range(last, -1, -1):
            if place in needed:
                needed.update(self.nodes[place].inputs)
        return sorted(needed - {-1})


def _pairs(value: Any) -> Any:
    return tuple(map(_pairs, value)) if isinstance(value, list) else value


def _layer(kind: str, arguments: dict[str, Any]) -> Layer:
    if "window" in arguments:
        return SizedPadding.model_construct(window=tuple(arguments["window"]))
    cls = _KINDS.get(kind, Elementwise)
    return cls.model_construct(**{name: _pairs(value) for name, value in arguments.items()})


def _node(written: Sequence[Any]) -> Node:
    name, kind, arguments, inputs = written
    if kind == "Sequential":
        layers = tuple(_layer(inner, values) for _, inner, values in arguments["layers"])
    else:
        layers = (_layer(kind, arguments),)
    return Node(name, kind, to_plain(arguments), layers, tuple(inputs))


@functools.lru_cache(maxsize=4)
def read_network(name: str) -> Network:
    """A network of `NETWORKS`."""
    described = json.loads(gzip.decompress((FOLDER / f"{name}{SUFFIX}").read_bytes()))
    files = tuple(WeightFile(**file) for file in described["weights"])
    nodes = tuple(map(_node, described["layers"]))
    return Network(name, described["preprocessing"], described["smallest"], files, nodes)


@dataclass(frozen=True)
class Reach:
    """What the positions along an axis see of the image: position p all of p * step + first .. p * step + last."""

    step: int = 1
    first: int = 0
    last: int = 0

    def behind(self, layer: Layer, axis: int, input_shape: Shape) -> "Reach":
        low, high = layer.input_range(0, 0, axis, input_shape)
        step = layer.turn(axis, input_shape)[1]
        return Reach(step * self.step, low * self.step + self.first, high * self.step + self.last)


#: For height and for width; None where each position sees all of the image.
Reaches = tuple[Reach | None, Reach | None]


@dataclass(frozen=True)
class Traced:
    """A node for images of one size, and what it makes of them. In a `View` it stands for all from the image to it.

    Attributes:
        input_shapes: For each of its layers, what arrives there.
        reaches: What a position after it sees of the image.
        activations: Values that its layers make of one image.
    """

    node: Node
    input_shapes: tuple[Shape, ...]
    shape: Shape
    reaches: Reaches
    activations: int

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def kind(self) -> str:
        return self.node.kind

    @property
    def arguments(self) -> dict[str, Any]:
        return self.node.arguments

    @property
    def macs(self) -> int:
        return sum(layer.macs(shape) for layer, shape in zip(self.node.layers, self.input_shapes, strict=True))

    @property
    def weights(self) -> tuple[Weight, ...]:
        pairs = zip(self.node.layers, self.input_shapes, strict=True)
        return tuple(weight for layer, shape in pairs for weight in layer.variables(shape))

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.shape

    def range_along(self, low: int, high: int, axis: int, input_shape: Shape) -> Range:
        reach = self._reach(axis)
        if reach is None:
            return (low, high) if axis == 2 else NOTHING
        return low * reach.step + reach.first, high * reach.step + reach.last

    def pattern(self, axis: int, input_shape: Shape) -> Pattern:
        reach = self._reach(axis)
        return Pattern(((0, 0),)) if reach is None else Pattern(((reach.first, reach.last),), reach.step)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return axis == 2 or self._reach(axis) is None

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        if len(self.shape) == 3:
            return axis
        return 0 if axis == 2 else None

    def paths_behind(self, view: View) -> tuple[View, ...]:
        return ()

    def _reach(self, axis: int) -> Reach | None:
        return self.reaches[axis] if axis < 2 else None


_IMAGE: Reaches = (Reach(), Reach())


def _joined(node: Node, shapes: Sequence[Shape]) -> Shape:
    """What a node's layers receive: one tensor, or several that are merged."""
    if node.kind == "Concatenate":
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))
    return tuple(map(max, zip(*shapes, strict=True)))


def _union(reaches: Sequence[Reach | None]) -> Reach | None:
    known = [reach for reach in reaches if reach is not None]
    if len(known) < len(reaches):
        return None
    return Reach(known[0].step, min(reach.first for reach in known), max(reach.last for reach in known))


def _trace_node(node: Node, before: Sequence[tuple[Shape, Reaches]]) -> Traced:
    shape = _joined(node, [one for one, _ in before])
    height, width = (_union([reaches[axis] for _, reaches in before]) for axis in (0, 1))
    shapes = []
    values = 0
    for layer in node.layers:
        shapes.append(shape)
        seen = []
        for axis, reach in enumerate((height, width)):
            everything = reach is None or layer.sees_everything(axis, shape)
            seen.append(None if everything or reach is None else reach.behind(layer, axis, shape))
        height, width = seen
        shape = layer.output_shape(shape)
        values += math.prod(shape)
    return Traced(node, tuple(shapes), shape, (height, width), values)


@functools.lru_cache(maxsize=64)
def trace_network(name: str, until: str | None, input_shape: Shape) -> tuple[Traced, ...]:
    """What a network makes of an image, layer by layer; the last is that called `until`, or the network's own last.

    Args:
        input_shape: (height, width, channels) of the image.

    Raises:
        ShapeError: if the image is too small for a layer.
    """
    network = read_network(name)
    last = len(network.nodes) - 1 if until is None else network.place(until)
    known: dict[int, Traced] = {}
    for place in network.ancestors(last):
        node = network.nodes[place]
        before = [
            (input_shape, _IMAGE) if other < 0 else (known[other].shape, known[other].reaches) for other in node.inputs
        ]
        try:
            known[place] = _trace_node(node, before)
        except ShapeError as error:
            raise ShapeError(f"in its layer `{node.name}`, {error.message}") from None
    return tuple(known.values())
