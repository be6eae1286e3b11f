"""The places in a network where one can look at what it computes: layers whose outputs are images, by name.

Without TensorFlow: the names are those that the config's layers get in the Keras model. `taps.py` reads the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnkit.layers.base import Layer, Shape
from cnnkit.layers.compound import Compound

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.layers.stack import Step

#: Between the name of a layer and that of a layer inside it.
SEPARATOR = "/"


@dataclass(frozen=True, eq=False)
class Place:
    """A layer's output.

    Attributes:
        name: The layer's name in the Keras model, after those of the layers that it is inside of:
            `2.stage/layers.0.basic`.
        layer: The layer of the config.
        output_shape: Without the batch axis, in the layer's own order.
        channels_first: Whether the channels come before height and width.
        has_kernel: Whether it, or a layer inside it, has weights of two dimensions or more.
    """

    name: str
    layer: Layer
    output_shape: Shape
    channels_first: bool
    has_kernel: bool

    @property
    def is_image(self) -> bool:
        """Whether the output has rows and columns, more than one position of them."""
        return len(self.output_shape) == 3 and self.size != (1, 1)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns; (1, 1) for a vector."""
        if len(self.output_shape) != 3:
            return 1, 1
        height, width = self.output_shape[1:] if self.channels_first else self.output_shape[:2]
        return height, width

    @property
    def channels(self) -> int:
        return self.output_shape[0] if self.channels_first and len(self.output_shape) == 3 else self.output_shape[-1]


def places(loaded: LoadedConfig) -> list[Place]:
    """The outputs that the image passes one after the other, from the first layer to the last.

    Layers that only hold others in order, as blocks and repetitions do, stand for those; a residual or branches count
    as one, since what is inside them is not passed by everything.
    """
    info = loaded.info
    steps = loaded.config.model.trace(info.shape, info.classes)
    labels = [f"{index}.{step.layer.kind}" for index, step in enumerate(steps)]
    found: list[Place] = []
    _follow(steps, labels, "", False, found)
    return found


def _follow(steps: Sequence[Step], labels: Sequence[str], outer: str, channels_first: bool, found: list[Place]) -> bool:
    for step, label in zip(steps, labels, strict=True):
        name = outer + (step.layer.name or label)
        layer = step.layer
        if isinstance(layer, Compound) and layer.merge is None and layer.parts[0].steps:
            part = layer.parts[0]
            channels_first = _follow(part.steps, part.labels, name + SEPARATOR, channels_first, found)
            continue
        channels_first = channels_first_after(layer, channels_first)
        has_kernel = any(len(weight.shape) > 1 for weight in layer.weights(step.input_shape))
        found.append(Place(name, layer, step.output_shape, channels_first, has_kernel))
    return channels_first


def channels_first_after(layer: Layer, before: bool) -> bool:
    """Whether a layer's output has its channels first; a layer that does not say keeps the order that it gets."""
    if isinstance(layer, Compound):
        order = before
        for step in layer.parts[0].steps:
            order = channels_first_after(step.layer, order)
        return order
    if "data_format" not in type(layer).model_fields:
        return before
    return bool(getattr(layer, "data_format", None) == "channels_first")


def stages(found: Sequence[Place]) -> list[Place]:
    """From low level to high level: the first layer with a kernel, with its activation, and the last of each size."""
    images = [place for place in found if place.is_image]
    if not images:
        return []
    chosen = [images[_first_stage(images)]]
    for place, after in zip(images, [*images[1:], None], strict=True):
        if after is None or after.size != place.size:
            chosen.append(place)
    return list(dict.fromkeys(chosen))


def _first_stage(images: Sequence[Place]) -> int:
    """The place before the second layer with a kernel, or the first change of size."""
    first = next((index for index, place in enumerate(images) if place.has_kernel), 0)
    end = first
    for index in range(first + 1, len(images)):
        if images[index].size != images[first].size or images[index].has_kernel:
            break
        end = index
    return end


def gradcam_place(found: Sequence[Place]) -> Place | None:
    """Where Grad-CAM looks: the last layer with a kernel whose output is an image, its activation included.

    None where no layer puts out an image.
    """
    images = [place for place in found if place.is_image]
    if not images:
        return None
    kernels = [index for index, place in enumerate(images) if place.has_kernel]
    chosen = images[kernels[-1] if kernels else 0]
    for place in images[images.index(chosen) + 1 :]:
        if place.size != chosen.size:
            break
        chosen = place
    return chosen
