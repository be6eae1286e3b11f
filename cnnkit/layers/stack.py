"""The arithmetic of a whole stack of layers: what arrives at each and what leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnnkit.format.shapes import Path, Shape, ShapeError
from cnnkit.layers.base import Layer, Names
from cnnkit.layers.geometry import channels_last


@dataclass(frozen=True)
class Step:
    """One layer of a stack with the shapes around it, without the batch axis.

    Attributes:
        fed: What the built layer takes, where images have not one size alone: None along the axes that vary.
    """

    layer: Layer
    input_shape: Shape
    output_shape: Shape
    fed: tuple[int | None, ...] | None = None


class StackError(Exception):
    """A layer cannot take what arrives at it.

    Args:
        path: From the list of layers to what is to blame: the layer's place, its name, and further.
        cause: What is wrong.
    """

    def __init__(self, path: Path, cause: ShapeError) -> None:
        super().__init__(cause.message)
        self.path = path
        self.message = cause.message
        self.inside = cause.inside
        self.blamed = cause.blamed
        self.of_value = cause.of_value


def trace(layers: Sequence[Layer], input_shape: Shape, names: Names) -> list[Step]:
    """Follows one image's shape through the layers, names replaced by what they stand for.

    Raises:
        StackError: at the first layer that cannot take the shape that arrives.
    """
    steps: list[Step] = []
    shape = input_shape
    for index, layer in enumerate(layers):
        if len(names.order) != len(shape):
            names = replace(names, order=channels_last(len(shape)))
        try:
            names.budget.spend()
            resolved = layer.resolve(names, shape)
            output_shape = resolved.output_shape(shape)
            resolved.check_sizes(shape)
        except ShapeError as error:
            if error.blamed is None:
                error.blamed = layer.named_in(error.argument)
            raise StackError((index, layer.kind, *error.path), error) from None
        steps.append(Step(resolved, shape, output_shape))
        shape = output_shape
        names = replace(names, order=resolved.order_behind(names.order))
    return steps


def head(layers: Sequence[Layer]) -> str:
    """What resolved layers output: `softmax`, `sigmoid` or `logits`, decided by their last activation."""
    activation = last_activation(layers)
    return activation if activation in ("softmax", "sigmoid") else "logits"


def last_activation(layers: Sequence[Layer]) -> str | None:
    """The activation that resolved layers apply last; `keep` where none computes anything."""
    activations = (layer.output_activation for layer in reversed(layers))
    return next((activation for activation in activations if activation != "keep"), "keep")
