"""The places in a network where one can look at what it computes: layers by name, and the images that leave them.

Without TensorFlow: the names are those that the config's layers get in the Keras model. `taps.py` reads the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit.errors import UsageError
from cnnkit.layers.base import Layer, Shape
from cnnkit.layers.compound import Compound
from cnnkit.layers.geometry import stack_range, stack_steps

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.layers.stack import Step

#: Between the name of a layer and that of a layer inside it.
SEPARATOR = "/"

#: Where height (0), width (1) and channels (2) lie in Keras' usual order.
_CHANNELS = 2


@dataclass(frozen=True, eq=False)
class Place:
    """A layer's output.

    Attributes:
        name: The layer's name in the Keras model, after those of the layers that it is inside of:
            `2.stage/layers.0.basic`.
        layer: The layer of the config.
        input_shape: Without the batch axis, as the layer gets it.
        output_shape: Likewise.
        order: Where height (0), width (1) and channels (2) lie in the output.
        has_kernel: Whether it, or a layer inside it, has weights of two dimensions or more.
    """

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    order: tuple[int, ...]
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
        height, width = (self.output_shape[self.order.index(axis)] for axis in (0, 1))
        return height, width

    @property
    def channels(self) -> int:
        return self.output_shape[self.order.index(_CHANNELS)] if len(self.output_shape) == 3 else self.output_shape[-1]

    def as_images(self, outputs: Any) -> Any:
        """The layer's outputs [batch, ...] as [batch, rows, columns, channels]."""
        return outputs.transpose(0, *(1 + self.order.index(axis) for axis in range(3)))


def places(loaded: LoadedConfig) -> list[Place]:
    """The outputs that the image passes one after the other, from the first layer to the last.

    Layers that only hold others in order, as blocks and repetitions do, stand for those; a residual or branches count
    as one, since what is inside them is not passed by everything.
    """
    info = loaded.info
    steps = loaded.config.model.trace(info.shape, info.classes)
    labels = [f"{index}.{step.layer.kind}" for index, step in enumerate(steps)]
    passed = list(_follow(steps, labels, ""))
    orders = stack_steps([(step.layer, step.input_shape) for _, step in passed])
    return [
        Place(
            name,
            step.layer,
            step.input_shape,
            step.output_shape,
            here.after,
            any(len(weight.shape) > 1 for weight in step.layer.weights(step.input_shape)),
        )
        for (name, step), here in zip(passed, orders, strict=True)
    ]


def _follow(steps: Sequence[Step], labels: Sequence[str], outer: str) -> Iterator[tuple[str, Step]]:
    for step, label in zip(steps, labels, strict=True):
        name = outer + (step.layer.name or label)
        layer = step.layer
        if isinstance(layer, Compound) and layer.merge is None and layer.parts[0].steps:
            part = layer.parts[0]
            yield from _follow(part.steps, part.labels, name + SEPARATOR)
        else:
            yield name, step


def find_place(found: Sequence[Place], name: str) -> Place:
    """The place of a name.

    Raises:
        UsageError: if no layer that puts out an image has it.
    """
    import difflib

    known = [place.name for place in found if place.is_image]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise UsageError(
            f"the network has no layer `{name}` that all of it passes and whose output is an image",
            f"Did you mean `{near[0]}`?" if near else f"Those are {', '.join(known) or 'none'}.",
        )
    return next(place for place in found if place.name == name)


def stages(found: Sequence[Place]) -> list[Place]:
    """From low level to high level: the first layer with a kernel, with its activation, and the last of each size."""
    images = [place for place in found if place.is_image]
    if not images:
        return []
    chosen = [_first_stage(images)]
    for place, after in zip(images, [*images[1:], None], strict=True):
        if after is None or after.size != place.size:
            chosen.append(place)
    return list(dict.fromkeys(chosen))


def _first_stage(images: Sequence[Place]) -> Place:
    """The place before the second layer with a kernel, or the first change of size."""
    first = next((index for index, place in enumerate(images) if place.has_kernel), 0)
    end = images[first]
    for place in images[first + 1 :]:
        if place.size != end.size or place.has_kernel:
            break
        end = place
    return end


def gradcam_place(found: Sequence[Place]) -> Place | None:
    """Where Grad-CAM looks: the last layer with a kernel whose output is an image, its activation included.

    None where no layer puts out an image.
    """
    images = [place for place in found if place.is_image]
    if not images:
        return None
    kernels = [index for index, place in enumerate(images) if place.has_kernel]
    first = kernels[-1] if kernels else 0
    chosen = images[first]
    for place in images[first + 1 :]:
        if place.size != chosen.size:
            break
        chosen = place
    return chosen


def input_window(found: Sequence[Place], place: Place, row: int, column: int) -> tuple[slice, slice]:
    """The rows and columns of the network's input that one position of a place's output sees.

    They may reach beyond the image, where its edges are padded.
    """
    until = found[: found.index(place) + 1]
    steps = stack_steps([(one.layer, one.input_shape) for one in until])
    spatial = [axis for axis in place.order if axis != _CHANNELS]
    rows, columns = (
        stack_range(steps, position, position, spatial.index(axis)) for axis, position in enumerate((row, column))
    )
    return slice(rows[0], rows[1] + 1), slice(columns[0], columns[1] + 1)
