"""Networks for images of two sizes: trained on crops, evaluated on whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnkit.layers.resolved import Resolved, leaf_steps
from cnnkit.layers.stack import Step


def dependence_on_size(steps: Sequence[Step], others: Sequence[Step]) -> int | None:
    """The place of the first layer that is another one in a network for images of another size; None if all are alike.

    A layer that is alike has the same arguments and the same weights, whatever the size.
    """
    for index, pair in enumerate(zip(steps, others, strict=True)):
        ours, theirs = ([_described(step) for step in leaf_steps([one])] for one in pair)
        if ours != theirs:
            return index
    return None


def _described(step: Step) -> tuple[object, ...]:
    layer = step.layer
    return type(layer), layer.calls(), layer.variables(step.input_shape), layer.built_for(step.input_shape)


def for_both(steps: Sequence[Step], others: Sequence[Step]) -> list[Step]:
    """The network to build for images of two sizes.

    Args:
        steps: The network for images of one size.
        others: That for the other size, without `dependence_on_size`.

    Returns:
        The steps of the first, each fed with None along the axes that differ, or did so before.
    """
    return [_for_both(step, other) for step, other in zip(steps, others, strict=True)]


def _for_both(step: Step, other: Step) -> Step:
    pairs = zip(step.fed or step.input_shape, other.input_shape, strict=True)
    fed = tuple(size if size == another else None for size, another in pairs)
    layer = step.layer
    if isinstance(layer, Resolved):
        assert isinstance(other.layer, Resolved)
        parts = [
            replace(part, steps=tuple(for_both(part.steps, beside.steps)))
            for part, beside in zip(layer.parts, other.layer.parts, strict=True)
        ]
        layer = layer.model_copy(update={"parts": tuple(parts)})
    return replace(step, layer=layer, fed=fed)
