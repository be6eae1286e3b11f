"""The arithmetic of a whole stack of layers: what arrives at each and what leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.layers.base import Layer, Shape, ShapeError


@dataclass(frozen=True)
class Step:
    """One layer of a stack with the shapes around it, without the batch axis."""

    layer: Layer
    input_shape: Shape
    output_shape: Shape


class StackError(Exception):
    """A layer cannot take what arrives at it.

    Args:
        index: The layer's place in the stack, from 0.
        cause: What is wrong.
    """

    def __init__(self, index: int, cause: ShapeError) -> None:
        super().__init__(cause.message)
        self.index = index
        self.cause = cause


def trace(layers: Sequence[Layer], input_shape: Shape, classes: int) -> list[Step]:
    """Follows one image's shape through the layers, `classes` replaced by the number of classes.

    Raises:
        StackError: at the first layer that cannot take the shape that arrives.
    """
    steps: list[Step] = []
    shape = input_shape
    for index, layer in enumerate(layers):
        resolved = layer.resolve(classes)
        try:
            output_shape = resolved.output_shape(shape)
        except ShapeError as error:
            raise StackError(index, error) from None
        steps.append(Step(resolved, shape, output_shape))
        shape = output_shape
    return steps


def head(layers: Sequence[Layer]) -> str:
    """What the stack puts out: `softmax`, `sigmoid` or `logits`, decided by its last activation."""
    for layer in reversed(layers):
        activation = layer.output_activation
        if activation == "keep":
            continue
        return activation if activation in ("softmax", "sigmoid") else "logits"
    return "logits"
