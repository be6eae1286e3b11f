"""The places in a network where one can look at what it computes: layers by name, and the images that leave them.

Without TensorFlow: the names are those that the config's layers get in the Keras model. `taps.py` reads the outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit.errors import UsageError
from cnnkit.format.shapes import Shape
from cnnkit.layers.base import Layer
from cnnkit.layers.geometry import channels_last
from cnnkit.layers.receptive_field import View
from cnnkit.layers.resolved import Part, Resolved

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.layers.stack import Step

#: Between the name of a layer and that of a layer inside it.
SEPARATOR = "/"


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """A layer's output.

    Attributes:
        name: The layer's name in the Keras model, after those of the layers that it is inside of:
            `2.stage/layers.0.basic`.
        layer: The layer of the config.
        input_shape: Without the batch axis, as the layer gets it.
        output_shape: Likewise.
        order: Where height (0), width (1) and channels (2) lie in the output; of a text, length (0) and channels (1).
        has_kernel: Whether it, or a layer inside it, has weights of two dimensions or more.
        axes: How many axes an output has in which the sample can still be seen: 3 for images, 2 for texts.
    """

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    order: tuple[int, ...]
    has_kernel: bool
    axes: int = 3

    @property
    def is_image(self) -> bool:
        """Whether the output has rows and columns, or places along a text, more than one position of them."""
        return len(self.output_shape) == self.axes and self.size != (1, 1)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns, of which a text has one; (1, 1) for a vector."""
        if len(self.output_shape) != self.axes:
            return 1, 1
        height, width = [*(self.output_shape[self.order.index(axis)] for axis in range(self.axes - 1)), 1][:2]
        return height, width

    @property
    def channels(self) -> int:
        is_whole = len(self.output_shape) == self.axes
        return self.output_shape[self.order.index(self.axes - 1) if is_whole else -1]

    def as_images(self, outputs: Any) -> Any:
        """The layer's outputs [batch, ...] as [batch, rows, columns, channels]."""
        ordered = outputs.transpose(0, *(1 + self.order.index(axis) for axis in range(self.axes)))
        return ordered.reshape(len(outputs), *self.size, self.channels)


def layer_outputs(loaded: LoadedConfig) -> list[LayerOutput]:
    """The outputs that the image passes one after the other, from the first layer to the last.

    Layers that only hold others in order, as blocks and repetitions do, stand for those; a residual or branches count
    as one, since what is inside them is not passed by everything.
    """
    return _outputs(_passed(*_stack(loaded), "", None), loaded.info.sample.axes)


def way_to(loaded: LoadedConfig, name: str) -> list[LayerOutput]:
    """The outputs that the image passes on its way to a layer, which is the last of them.

    Args:
        name: The layer's name, at any depth, also inside a residual or branches: `4.Residual/layers.0.Conv2D`. A block
            or a repetition stands for the last layer in it.

    Raises:
        UsageError: if no layer that outputs an image has that name.
    """
    import difflib

    steps, labels = _stack(loaded)
    known = list(_names(steps, labels, ""))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        outer = ", ".join(one for one in known if SEPARATOR not in one)
        hint = (
            f"Did you mean `{near[0]}`?" if near else f"Its layers are {outer}; `cnnkit inspect` shows what is in them."
        )
        raise UsageError(f"the network has no layer `{name}`", hint)
    way = _outputs(_passed(steps, labels, "", name), loaded.info.sample.axes)
    if not way[-1].is_image:
        what = "no places along a text" if way[-1].axes == 2 else "no image"
        raise UsageError(f"the layer `{name}` outputs {what}", "Name one before it, such as a convolution.")
    return way


def convolutions(loaded: LoadedConfig) -> list[str]:
    """The names of the convolutions, at any depth, in their order."""
    return [name for name, layer in _named(*_stack(loaded), "") if "Conv" in layer.kind]


def _stack(loaded: LoadedConfig) -> tuple[Sequence[Step], Sequence[str]]:
    """The layers of the network, and a name for each that has none of its own."""
    return loaded.steps, [f"{index}.{step.layer.kind}" for index, step in enumerate(loaded.steps)]


def _outputs(passed: Sequence[tuple[str, Step]], axes: int) -> list[LayerOutput]:
    """The outputs of layers, the first of which takes the network's input.

    Args:
        axes: See `LayerOutput`.
    """
    order: tuple[int, ...] = channels_last(len(passed[0][1].input_shape)) if passed else ()
    orders = [order := step.layer.order_behind(order) for _, step in passed]
    return [_output(name, step, here, axes) for (name, step), here in zip(passed, orders, strict=True)]


def _output(name: str, step: Step, order: tuple[int, ...], axes: int = 3) -> LayerOutput:
    has_kernel = any(len(weight.shape) > 1 for weight in step.layer.variables(step.input_shape))
    return LayerOutput(name, step.layer, step.input_shape, step.output_shape, order, has_kernel, axes)


def _passed(steps: Sequence[Step], labels: Sequence[str], outer: str, end: str | None) -> list[tuple[str, Step]]:
    """The layers that the image passes, as far as the one named `end`; into paths only where that is inside one."""
    passed: list[tuple[str, Step]] = []
    for step, label in zip(steps, labels, strict=True):
        name = outer + (step.layer.name or label)
        part = _part(step.layer, name, end)
        passed += [(name, step)] if part is None else _passed(part.steps, part.labels, name + SEPARATOR, end)
        if end is not None and end in _names([step], [label], outer):
            break
    return passed


def _part(layer: Layer, name: str, end: str | None) -> Part | None:
    """The layers that a layer stands for, or that one of its paths which holds the layer named `end`."""
    if not isinstance(layer, Resolved):
        return None
    for part in layer.parts:
        if end is not None and end in _names(part.steps, part.labels, name + SEPARATOR):
            return part
    return layer.parts[0] if layer.merge is None and layer.parts[0].steps else None


def _names(steps: Sequence[Step], labels: Sequence[str], outer: str) -> Iterator[str]:
    """The names of the layers at any depth."""
    return (name for name, _ in _named(steps, labels, outer))


def _named(steps: Sequence[Step], labels: Sequence[str], outer: str) -> Iterator[tuple[str, Layer]]:
    """The layers at any depth with their names."""
    for step, label in zip(steps, labels, strict=True):
        name = outer + (step.layer.name or label)
        yield name, step.layer
        for part in step.layer.parts if isinstance(step.layer, Resolved) else ():
            yield from _named(part.steps, part.labels, name + SEPARATOR)


def stages(outputs: Sequence[LayerOutput]) -> list[LayerOutput]:
    """From low level to high level: the first layer with a kernel, with its activation, and the last of each size."""
    images = [place for place in outputs if place.is_image]
    if not images:
        return []
    first = _first_stage(images)
    # What comes before it, such as a permutation or dropout, shows nothing but the image.
    images = images[images.index(first) :]
    chosen = [first]
    for place, after in zip(images, [*images[1:], None], strict=True):
        if after is None or after.size != place.size:
            chosen.append(place)
    return list(dict.fromkeys(chosen))


def _first_stage(images: Sequence[LayerOutput]) -> LayerOutput:
    """The place before the second layer with a kernel, or the first change of size."""
    first = next((index for index, place in enumerate(images) if place.has_kernel), 0)
    end = images[first]
    for place in images[first + 1 :]:
        if place.size != end.size or place.has_kernel:
            break
        end = place
    return end


def gradcam_layer(loaded: LoadedConfig) -> LayerOutput | None:
    """Where Grad-CAM looks where no layer is named: the last layer with a kernel whose output is an image.

    In a network that answers for each pixel, it is the last one at the smallest size, the bottom of a U; of those that
    only score, with as many channels as the answer has, there it is none as far as there are others. The activation
    that follows is included. In a network that takes texts, it is the first layer with a kernel: the vectors of words.

    Returns:
        None where no layer outputs an image.
    """
    outputs = layer_outputs(loaded)
    if outputs and outputs[-1].is_image:
        return _bottom(_opened(*_stack(loaded), "", channels_last(3)), outputs[-1].channels)
    images = [place for place in outputs if place.is_image]
    if not images:
        return None
    kernels = [index for index, place in enumerate(images) if place.has_kernel]
    if images[0].axes == 2:
        return images[kernels[0]] if kernels else images[0]
    last = kernels[-1] if kernels else 0
    after = itertools.takewhile(lambda place: place.size == images[last].size, images[last:])
    return list(after)[-1]


def _bottom(chains: Sequence[Sequence[LayerOutput]], scores: int) -> LayerOutput | None:
    """The last layer with a kernel at the smallest size, with what follows it there.

    Args:
        scores: How many channels a layer has that only scores.
    """
    images = [(chain, index) for chain in chains for index, place in enumerate(chain) if place.is_image]
    kernels = [(chain, index) for chain, index in images if chain[index].has_kernel] or images
    features = [(chain, index) for chain, index in kernels if chain[index].channels != scores]
    if not kernels:
        return None
    # The first of equals in the reversed order is the last.
    chain, index = min(reversed(features or kernels), key=lambda one: math.prod(one[0][one[1]].size))
    place = chain[index]
    for after in chain[index + 1 :] if features else ():
        if after.size != place.size or after.has_kernel or after.channels == scores:
            break
        place = after
    return place


def _opened(
    steps: Sequence[Step], labels: Sequence[str], outer: str, order: tuple[int, ...]
) -> list[list[LayerOutput]]:
    """All layers as chains, in each of which one passes its output to the next.

    Paths side by side are opened where an image inside them is smaller than what they come to; else they are one layer.
    """
    chains: list[list[LayerOutput]] = [[]]
    for step, label in zip(steps, labels, strict=True):
        name = outer + (step.layer.name or label)
        place = _output(name, step, step.layer.order_behind(order))
        parts = step.layer.parts if isinstance(step.layer, Resolved) else ()
        inner = [_opened(part.steps, part.labels, name + SEPARATOR, order) for part in parts]
        places = [one for part in inner for chain in part for one in chain]
        if len(inner) == 1 and places:
            chains[-1] += inner[0][0]
            chains += inner[0][1:]
        elif any(one.is_image and math.prod(one.size) < math.prod(place.size) for one in places):
            chains += [*itertools.chain(*inner), []]
        else:
            chains[-1].append(place)
        order = place.order
    return chains


def input_window(outputs: Sequence[LayerOutput], place: LayerOutput, row: int, column: int) -> tuple[slice, slice]:
    """The rows and columns of the network's input that one position of a place's output sees.

    They may reach beyond the image, where its edges are padded.
    """
    view = _view(outputs, place)
    rows, columns = (view.trace(axis, position, position) for axis, position in enumerate((row, column)))
    return slice(rows[0], rows[1] + 1), slice(columns[0], columns[1] + 1)


def seen_by_rows(outputs: Sequence[LayerOutput], place: LayerOutput) -> list[tuple[int, int]]:
    """The first and the last position of the network's input that each row of a place's output sees.

    They may lie beyond the input, where its ends are padded.
    """
    view = _view(outputs, place)
    return [view.trace(0, row, row) for row in range(place.size[0])]


def _view(outputs: Sequence[LayerOutput], place: LayerOutput) -> View:
    """What a place's output sees of the network's input."""
    until = outputs[: outputs.index(place) + 1]
    view = View.of(until[0].input_shape)
    for one in until:
        view = view.behind(one.layer, one.input_shape)
    return view
